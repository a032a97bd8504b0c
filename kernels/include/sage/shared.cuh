// Shared memory, by its 32-bit address: swizzled tiles, loads and stores, matrices.
#pragma once

#include "types.h"

namespace sage {

/// Byte offset of 16-byte chunk `chunk` of row `row` in a tile whose rows are ROW_BYTES (64, 128, 256 or 512) long.
/// Eight consecutive rows put one chunk index into eight different groups of four banks, so that ldmatrix, which reads
/// such columns of chunks, meets no bank conflict.
template <int ROW_BYTES>
SAGE_DEVICE u32 swizzled(u32 row, u32 chunk) {
  static_assert(ROW_BYTES == 64 || ROW_BYTES % 128 == 0, "a row is half a line of 128 bytes, or whole lines");
  const u32 key = ROW_BYTES == 64 ? (row >> 1) & 3 : row & 7;
  return row * ROW_BYTES + ((chunk ^ key) << 4);
}

/// The lane's own value, by way of a shuffle that no compiler sees through or moves out of a loop: what is computed from
/// it is computed where it is used, instead of being kept in registers all through the loop. All lanes must take part.
SAGE_DEVICE u32 recomputed(u32 x) { return __shfl_xor_sync(~0u, x, 0); }

/// Four 8x8 matrices of 16-bit elements; lanes 8i to 8i + 7 give the row addresses of matrix i. Lane L receives bytes
/// 4 * (L % 4) to 4 * (L % 4) + 3 of row L / 4 of each (PTX ISA, ldmatrix).
SAGE_DEVICE void ldmatrix_x4(u32 (&d)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

/// The same with each matrix transposed: lane L receives rows 2 * (L % 4) and 2 * (L % 4) + 1 of column L / 4.
SAGE_DEVICE void ldmatrix_x4_trans(u32 (&d)[4], u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

/// Stores four 8x8 matrices of 16-bit elements; lanes and addresses as in ldmatrix_x4 (PTX ISA, stmatrix; sm_90 and newer).
SAGE_DEVICE void stmatrix_x4(u32 address, const u32 (&d)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(d[0]), "r"(d[1]),
               "r"(d[2]), "r"(d[3])
               : "memory");
#endif
}

SAGE_DEVICE uint4 load_shared_16(u32 address) {
  uint4 x;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "r"(address)
               : "memory");
  return x;
}
SAGE_DEVICE void store_shared_16(u32 address, uint4 x) {
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
               : "memory");
}
SAGE_DEVICE void store_shared_4(u32 address, u32 x) {
  asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(x) : "memory");
}

SAGE_DEVICE u32 load_shared_4(u32 address) {
  u32 x;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
  return x;
}

SAGE_DEVICE float load_shared_float(u32 address) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address));
  return v;
}
SAGE_DEVICE float2 load_shared_float2(u32 address) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address));
  return v;
}
SAGE_DEVICE void store_shared_float(u32 address, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(value) : "memory");
}

}  // namespace sage
