// NVFP4 on the device: E2M1 and E4M3 conversions and the block-scaled mma, each as the sm_12x instruction and in ordinary
// instructions. The second form lets the same kernels run, and be checked, on GPUs from sm_90 on that have no FP4;
// no wheel contains it (no matrix lists those architectures for sageattn3). SAGE_FP4_EMULATED=1 forces it on sm_12x.
#pragma once

#include "types.h"

#ifndef SAGE_FP4_EMULATED
#define SAGE_FP4_EMULATED (__CUDA_ARCH__ < 1200)
#endif

namespace sage {

constexpr float kE2M1Max = 6.0f;
constexpr float kE4M3Max = 448.0f;
constexpr float kE4M3Smallest = 0.001953125f;  // 2^-9, the least subnormal

// Two E4M3 bytes, round to nearest even, saturating; `low` goes to the low byte. (PTX cvt.rn.satfinite.e4m3x2.f32)
SAGE_DEVICE u32 e4m3x2(float low, float high) {
  u16 pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}

// The exact values of two E4M3 bytes. (PTX cvt.rn.f16x2.e4m3x2; E4M3 is a subset of f16)
SAGE_DEVICE void e4m3x2_values(u32 pair, float& low, float& high) {
  u32 halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<u16>(pair)));
  asm("{ .reg .f16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }"
    : "=f"(low), "=f"(high)
    : "r"(halves));
}

#if SAGE_FP4_EMULATED

// One E2M1 code: magnitudes 0 .5 1 1.5 2 3 4 6, ties to the even code, saturating; NaN becomes +6, as the
// instruction's .satfinite has it.
SAGE_DEVICE u32 e2m1_code(float x) {
  float a = fabsf(x);
  if (a != a) return 7u;
  u32 code = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) + (a >= 3.5f) + (a > 5.0f);
  return code | ((__float_as_uint(x) >> 28) & 8u);
}

SAGE_DEVICE u32 e2m1x8(const float (&x)[8]) {
  u32 word = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) word |= e2m1_code(x[i]) << (4 * i);
  return word;
}

// Two f16 holding nibbles 2i and 2i + 1 of `word`, each times the f16 in both halves of `scale`. Exact: E2M1 has two
// significant bits and E4M3 four, and 6 * 448 fits. An E2M1 pattern moved to bits 9..11 of an f16 is 2^-14 of its value.
SAGE_DEVICE u32 e2m1_pair_scaled(u32 word, int i, u32 scale) {
  u32 nibbles = word >> (8 * i);
  u32 low = ((nibbles & 7u) << 9) | ((nibbles & 8u) << 12);
  u32 high = ((nibbles & 0x70u) << 5) | ((nibbles & 0x80u) << 8);
  u32 values = low | (high << 16);
  u32 result;
  asm("{ .reg .b32 v; mul.rn.f16x2 v, %1, %3; mul.rn.f16x2 %0, v, %2; }"
    : "=r"(result)
    : "r"(values), "r"(scale), "r"(0x74007400u));  // 0x7400 = 2^14
  return result;
}

// Byte `index` of a scale word as an f16 in both halves.
SAGE_DEVICE u32 e4m3_halves(u32 word, int index) {
  u32 byte = (word >> (8 * index)) & 0xffu;
  u32 halves;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(static_cast<u16>(byte | (byte << 8))));
  return halves;
}

SAGE_DEVICE void mma_16x8x16_f16(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3,
                        u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
    : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// D += (A * scale_a)(B * scale_b), as below, from the PTX fragment maps.
//
// Scales are taken only from the lanes that thread-id 0 names: row g from lane 4g, row g + 8 from lane 4g + 1, column g
// from lane 4g. A lane's 16 values of k meet the same 16 values in the lanes that hold B, so any order that is the same
// for both is right: the words are spread over four m16n8k16 whose four values of k per lane are the next four of ours.
SAGE_DEVICE void mma_16x8x64_nvfp4(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1,
                                                  u32 scale_a, u32 scale_b) {
  int lane = threadIdx.x % 32;
  int quad = lane & ~3;
  u32 scale_row = __shfl_sync(0xffffffffu, scale_a, quad);
  u32 scale_row8 = __shfl_sync(0xffffffffu, scale_a, quad + 1);
  u32 scale_column = __shfl_sync(0xffffffffu, scale_b, quad);
  int pair = (lane % 4) / 2;  // k 8t..8t+7 lies in block t / 2 of its half
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    u32 row = e4m3_halves(scale_row, 2 * half + pair);
    u32 row8 = e4m3_halves(scale_row8, 2 * half + pair);
    u32 column = e4m3_halves(scale_column, 2 * half + pair);
    u32 b = half ? b1 : b0;
#pragma unroll
    for (int i = 0; i < 4; i += 2)
      mma_16x8x16_f16(d, e2m1_pair_scaled(a[2 * half], i, row), e2m1_pair_scaled(a[2 * half + 1], i, row8),
              e2m1_pair_scaled(a[2 * half], i + 1, row), e2m1_pair_scaled(a[2 * half + 1], i + 1, row8),
              e2m1_pair_scaled(b, i, column), e2m1_pair_scaled(b, i + 1, column));
  }
}

#else

// Eight E2M1 codes, x[0] in the lowest nibble. (PTX cvt.rn.satfinite.e2m1x2.f32: the first source is the upper nibble)
SAGE_DEVICE u32 e2m1x8(const float (&x)[8]) {
  u32 word;
  asm("{ .reg .b8 b0, b1, b2, b3;\n"
    "  cvt.rn.satfinite.e2m1x2.f32 b0, %2, %1;\n"
    "  cvt.rn.satfinite.e2m1x2.f32 b1, %4, %3;\n"
    "  cvt.rn.satfinite.e2m1x2.f32 b2, %6, %5;\n"
    "  cvt.rn.satfinite.e2m1x2.f32 b3, %8, %7;\n"
    "  mov.b32 %0, {b0, b1, b2, b3}; }"
    : "=r"(word)
    : "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]), "f"(x[4]), "f"(x[5]), "f"(x[6]), "f"(x[7]));
  return word;
}

// D += (A * scale_a)(B * scale_b), m16n8k64, one E4M3 scale for 16 values of k (PTX ISA, "Block scaling for mma").
//
// scale_a: lane (g, t) holds the four scales of row g + 8 (t % 2), byte b for k 16b..16b+15; scale_b: those of column g.
// The selectors name byte 0 and thread 0, that is lanes t = 0, 1 of a quad for A and t = 0 for B. The callers fill all
// lanes by the rule above, so the other thread-ids would read the same scales.
SAGE_DEVICE void mma_16x8x64_nvfp4(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1,
                                                  u32 scale_a, u32 scale_b) {
  asm("mma.sync.aligned.kind::mxf4nvf4.block_scale.scale_vec::4X.m16n8k64.row.col.f32.e2m1.e2m1.f32.ue4m3 "
    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3}, %10, {0, 0}, %11, {0, 0};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(scale_a), "r"(scale_b));
}

#endif

// The exponent e of the least power of two with amax <= 2688 * 2^e (2688 = 6 * 448: the largest NVFP4 value), kept in
// -100..100 so that 2^e and 2^-e are normal; 0 for amax 0.
SAGE_DEVICE int power_of_two_scale(float amax) {
  if (amax == 0.0f) return 0;
  u32 bits = __float_as_uint(__fdiv_rn(amax, kE2M1Max * kE4M3Max));
  int exponent = static_cast<int>(bits >> 23) - 127 + ((bits & 0x7fffffu) != 0);
  return max(-100, min(100, exponent));
}

SAGE_DEVICE float exp2_int(int exponent) { return __uint_as_float((exponent + 127) << 23); }

// The E4M3 byte for a block whose largest magnitude is amax, and the reciprocal to multiply its values with (0 when the
// scale rounds to zero). Not finite: the byte is NaN, which the mma carries into every sum that the block enters.
SAGE_DEVICE u32 block_scale(float amax, float& reciprocal) {
  u32 byte = e4m3x2(__fdiv_rn(amax, kE2M1Max), 0.0f) & 0xffu;
  float scale, unused;
  e4m3x2_values(byte, scale, unused);
  reciprocal = scale > 0.0f ? __fdiv_rn(1.0f, scale) : 0.0f;
  if (!(amax <= 3.0e38f)) byte = 0x7fu;
  return byte;
}

}  // namespace sage
