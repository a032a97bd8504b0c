// PTX instructions. Warp-wide matrix products, one wrapper each, are named arch_MxNxK_types: D = A * B + C.
//
// Lane L has g = L / 4 and t = L % 4. Fragment maps (PTX ISA, "Matrix Fragments for mma.m16n8k16 / m16n8k32"):
//   C, D 16x8   value i: row g + 8 * (i / 2), column 2 * t + i % 2. As f16x2 registers: register r holds i = 2r, 2r + 1.
//   A 16x16 f16 register r: row g + 8 * (r % 2), columns 8 * (r / 2) + 2 * t + {0, 1}
//   B 16x8  f16 register r: rows 8 * r + 2 * t + {0, 1}, column g
//   A 16x32 8-bit register r: row g + 8 * (r % 2), columns 16 * (r / 2) + 4 * t + {0, 1, 2, 3}
//   B 32x8  8-bit register r: rows 16 * r + 4 * t + {0, 1, 2, 3}, column g
#pragma once

#include "../types.h"

namespace sage {

// int8 x int8 -> int32, C given apart from D: starting from a constant costs nothing.
SAGE_DEVICE void sm80_16x8x32_s32s8s8(u32 (&d)[4], const uint4& a, u32 b0, u32 b1, u32 c) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %10, %10, %10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1), "r"(c));
}

SAGE_DEVICE void sm80_16x8x32_s32s8s8(u32 (&d)[4], const uint4& a, u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

SAGE_DEVICE void sm80_16x8x16_f32f16f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

SAGE_DEVICE void sm80_16x8x16_f32bf16bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

SAGE_DEVICE void sm80_16x8x16_f16f16f16(u32 (&d)[2], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"
      : "+r"(d[0]), "+r"(d[1])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// e4m3 x e4m3. Native on sm_89 and sm_12x; elsewhere the assembler emulates it with f16 matrix instructions.
SAGE_DEVICE void sm89_16x8x32_f32e4m3e4m3(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The f16-accumulator form needs PTX ISA 8.7 (CUDA 12.8).
SAGE_DEVICE void sm89_16x8x32_f16e4m3e4m3(u32 (&d)[2], const u32 (&a)[4], u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16 {%0, %1}, {%2, %3, %4, %5}, {%6, %7}, {%0, %1};"
      : "+r"(d[0]), "+r"(d[1])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two fp16 sums.
SAGE_DEVICE u32 add_f16x2(u32 a, u32 b) {
  u32 y;
  asm("add.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
  return y;
}

/// Two fp16 products.
SAGE_DEVICE u32 multiply_f16x2(u32 a, u32 b) {
  u32 y;
  asm("mul.f16x2 %0, %1, %2;" : "=r"(y) : "r"(a), "r"(b));
  return y;
}

/// The block's index in the grid. Volatile: what is computed from a second reading is computed again, instead of being
/// kept in registers since the first.
SAGE_DEVICE u32 block_index() {
  u32 x;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
  return x;
}

}  // namespace sage
