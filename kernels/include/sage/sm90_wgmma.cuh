// wgmma on sm_90a: shared memory descriptors, fences, and one wrapper per instruction. PTX ISA 9.7.15.
//
// D[64][N] (+)= A[64][32] B[N][32]^T for 8-bit operands, A[64][16] B[N][16]^T for 16-bit ones. Both are K-major; B always
// lies in shared memory, A in shared memory (_ss) or registers (_rs).
//
// Fragments, for warp w of the warpgroup and lane = 4 g + t:
//   D 32-bit: d[4 j + 2 r + c] is row 16 w + g + 8 r, column 8 j + 2 t + c          (N / 2 registers)
//   D f16:    d[2 j + r] holds columns 8 j + 2 t (low half) and + 1 of row 16 w + g + 8 r    (N / 4 registers)
//   A:        a[2 h + r] is row 16 w + g + 8 r, k = 16 h + 4 t .. + 3, lowest k in the lowest byte
//
// D is written asynchronously: it may be read only after wgmma_wait, and A registers may be overwritten only then.
#pragma once
#include "types.h"

namespace sage {

// Descriptor of a K-major operand whose rows are ROW_BYTES wide (128 or 64) and swizzled over that width. The tile must
// start on an 8-row boundary of the swizzle pattern (1024 or 512 bytes). Adding 2 to the descriptor advances k by 32 bytes.
template <int ROW_BYTES>
SAGE_DEVICE u64 wgmma_descriptor(u32 address_smem) {
  static_assert(ROW_BYTES == 128 || ROW_BYTES == 64, "rows of 128 or 64 bytes");
  constexpr u64 swizzle = ROW_BYTES == 128 ? 1 : 2;
  constexpr u64 stride = 8 * ROW_BYTES;  // between groups of 8 rows
  return (u64)((address_smem & 0x3FFFF) >> 4) | (1ull << 16) | (stride >> 4 << 32) | (swizzle << 62);
}

// Byte offset of byte `offset` of a row-major tile with ROW_BYTES per row after the hardware's swizzle: 16-byte chunks
// are XORed with the row number modulo 8 (128 bytes) or the row pair modulo 4 (64 bytes).
template <int ROW_BYTES>
SAGE_DEVICE u32 swizzled(u32 offset) {
  static_assert(ROW_BYTES == 128 || ROW_BYTES == 64, "rows of 128 or 64 bytes");
  return offset ^ ((offset >> 7 & (ROW_BYTES == 128 ? 7 : 3)) << 4);
}

// Orders register and shared memory accesses of this warpgroup before the wgmmas that follow.
SAGE_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

SAGE_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most PENDING committed groups are unfinished.
template <int PENDING>
SAGE_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

// The results of a wgmma are outputs of its own statement, not of the wait: this keeps their uses behind the wait.
template <int COUNT>
SAGE_DEVICE void pin_registers(u32 (&values)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+r"(values[i]));
}
template <int COUNT>
SAGE_DEVICE void pin_registers(float (&values)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(values[i]));
}

// Keeps what comes after behind the last of the first COUNT values, which are floats of at most 1e38; which others it puts
// before is the assembler's choice. It moves a wait above register work it does not order; a store that never happens, to any
// `address_smem`, stops it.
template <int COUNT, int ALL>
SAGE_DEVICE void hold_behind(u32 (&values)[ALL], u32 address_smem) {
#pragma unroll
  for (int i = 0; i < COUNT; i++) asm volatile("" : "+r"(values[i]));
  asm volatile("{ .reg .pred p; setp.gt.f32 p, %0, %1; @p st.volatile.shared.u32 [%2], %3; }" ::"f"(
                   __uint_as_float(values[COUNT - 1]) + __uint_as_float(values[COUNT - 2]) + __uint_as_float(values[COUNT - 3])),
               "f"(1e38f), "r"(address_smem), "r"(0)
               : "memory");
}

// 64 rows by 128 columns of 32 bits, both operands in shared memory.
#define SAGE_WGMMA_M64N128_SS(name, instruction, modifiers)                                                            \
SAGE_DEVICE void name(u32 (&d)[64], u64 a, u64 b, bool accumulate) {                                                   \
  asm volatile(                                                                                                        \
      "{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"                                                                       \
      "wgmma.mma_async.sync.aligned." instruction " {"                                                                 \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                         \
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                               \
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                               \
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "                              \
      "%64, %65, p" modifiers "; }"                                                                                    \
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]),                \
        "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]),          \
        "+r"(d[16]), "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]),        \
        "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31]),        \
        "+r"(d[32]), "+r"(d[33]), "+r"(d[34]), "+r"(d[35]), "+r"(d[36]), "+r"(d[37]), "+r"(d[38]), "+r"(d[39]),        \
        "+r"(d[40]), "+r"(d[41]), "+r"(d[42]), "+r"(d[43]), "+r"(d[44]), "+r"(d[45]), "+r"(d[46]), "+r"(d[47]),        \
        "+r"(d[48]), "+r"(d[49]), "+r"(d[50]), "+r"(d[51]), "+r"(d[52]), "+r"(d[53]), "+r"(d[54]), "+r"(d[55]),        \
        "+r"(d[56]), "+r"(d[57]), "+r"(d[58]), "+r"(d[59]), "+r"(d[60]), "+r"(d[61]), "+r"(d[62]), "+r"(d[63])         \
      : "l"(a), "l"(b), "r"((u32)accumulate));                                                                         \
}
SAGE_WGMMA_M64N128_SS(wgmma_m64n128k32_s32_s8_s8_ss, "m64n128k32.s32.s8.s8", "")
SAGE_WGMMA_M64N128_SS(wgmma_m64n128k16_f32_f16_f16_ss, "m64n128k16.f32.f16.f16", ", 1, 1, 0, 0")
SAGE_WGMMA_M64N128_SS(wgmma_m64n128k16_f32_bf16_bf16_ss, "m64n128k16.f32.bf16.bf16", ", 1, 1, 0, 0")
#undef SAGE_WGMMA_M64N128_SS

SAGE_DEVICE void wgmma_m64n64k32_f32_e4m3_e4m3_rs(float (&d)[32], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1; }"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

SAGE_DEVICE void wgmma_m64n72k32_f32_e4m3_e4m3_rs(float (&d)[36], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %41, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n72k32.f32.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35}, "
      "{%36, %37, %38, %39}, %40, p, 1, 1; }"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

SAGE_DEVICE void wgmma_m64n64k32_f16_e4m3_e4m3_rs(u32 (&d)[16], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %21, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k32.f16.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
      "{%16, %17, %18, %19}, %20, p, 1, 1; }"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]),
        "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

SAGE_DEVICE void wgmma_m64n72k32_f16_e4m3_e4m3_rs(u32 (&d)[18], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %23, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n72k32.f16.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17}, "
      "{%18, %19, %20, %21}, %22, p, 1, 1; }"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]),
        "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]),
        "+r"(d[16]), "+r"(d[17])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

SAGE_DEVICE void wgmma_m64n128k32_f16_e4m3_e4m3_rs(u32 (&d)[32], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f16.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, p, 1, 1; }"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]),
        "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]),
        "+r"(d[16]), "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]),
        "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

SAGE_DEVICE void wgmma_m64n136k32_f16_e4m3_e4m3_rs(u32 (&d)[34], const u32* a, u64 b, bool accumulate) {
  asm volatile(
      "{ .reg .pred p; setp.ne.b32 p, %39, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n136k32.f16.e4m3.e4m3 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33}, "
      "{%34, %35, %36, %37}, %38, p, 1, 1; }"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]),
        "+r"(d[8]), "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]),
        "+r"(d[16]), "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]),
        "+r"(d[24]), "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31]),
        "+r"(d[32]), "+r"(d[33])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"((u32)accumulate));
}

}  // namespace sage
