// Scalar types and conversions without any CUDA header: 16-bit floats are raw bits, conversions are PTX.
#pragma once

#include "params.h"

namespace sage {

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SAGE_DEVICE __device__ __forceinline__

/// The 16-bit input types, as tags. `unpack` turns two packed elements into floats (low half first), exactly.
struct Half {
  static constexpr int mask_kind = MASK_F16;
  static SAGE_DEVICE float2 unpack(u32 pair) {
    float2 f;
    asm("{.reg .b16 lo, hi; mov.b32 {lo, hi}, %2; cvt.f32.f16 %0, lo; cvt.f32.f16 %1, hi;}"
        : "=f"(f.x), "=f"(f.y)
        : "r"(pair));
    return f;
  }
  static SAGE_DEVICE u32 pack(float lo, float hi) {  // round to nearest even
    u32 pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
    return pair;
  }
  /// a * b + c of each half, rounded once.
  static SAGE_DEVICE u32 fma(u32 a, u32 b, u32 c) {
    u32 sum;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
    return sum;
  }
  /// The larger and the smaller of each half; NaN of either stays.
  static SAGE_DEVICE u32 max(u32 a, u32 b) {
    u32 m;
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
  }
  static SAGE_DEVICE u32 min(u32 a, u32 b) {
    u32 m;
    asm("min.NaN.f16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
  }
};

struct Bfloat {
  static constexpr int mask_kind = MASK_BF16;
  static SAGE_DEVICE float2 unpack(u32 pair) {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
  }
  static SAGE_DEVICE u32 pack(float lo, float hi) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(hi), "f"(lo));
    return pair;
  }
  static SAGE_DEVICE u32 max(u32 a, u32 b) {
    u32 m;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
  }
  static SAGE_DEVICE u32 min(u32 a, u32 b) {
    u32 m;
    asm("min.NaN.bf16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
  }
};

/// The instance's input type: -DDTYPE_BF16=0 or 1.
#ifdef DTYPE_BF16
template <int>
struct SelectInput {
  typedef Half type;
};
template <>
struct SelectInput<1> {
  typedef Bfloat type;
};
typedef SelectInput<DTYPE_BF16>::type Input;
#endif

/// Four floats to four e4m3 bytes, `a` lowest; round to nearest even, saturating at 448, NaN stays NaN. sm_89 and newer.
SAGE_DEVICE u32 pack_e4m3(float a, float b, float c, float d) {
  u32 word;
  asm("{.reg .b16 lo, hi; cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1; cvt.rn.satfinite.e4m3x2.f32 hi, %4, %3; "
      "mov.b32 %0, {lo, hi};}"
      : "=r"(word)
      : "f"(a), "f"(b), "f"(c), "f"(d));
  return word;
}

/// The same of four halves, in two pairs.
SAGE_DEVICE u32 pack_e4m3(u32 ab, u32 cd) {
  u32 word;
  asm("{.reg .b16 lo, hi; cvt.rn.satfinite.e4m3x2.f16x2 lo, %1; cvt.rn.satfinite.e4m3x2.f16x2 hi, %2; "
      "mov.b32 %0, {lo, hi};}"
      : "=r"(word)
      : "r"(ab), "r"(cd));
  return word;
}

/// Four floats to four int8, `a` lowest; round to nearest even, saturating, NaN to 0.
SAGE_DEVICE u32 pack_s8(float a, float b, float c, float d) {
  int ia, ib, ic, id;
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(ia) : "f"(a));
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(ib) : "f"(b));
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(ic) : "f"(c));
  asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(id) : "f"(d));
  return __byte_perm(__byte_perm(ia, ib, 0x0040), __byte_perm(ic, id, 0x0040), 0x5410);
}

/// Four products a * scale .. d * scale as int8, `a` lowest: the exact product rounded to the nearest integer, ties to even
/// (one FMA onto 1.5 * 2^23 leaves the integer in the low bits). |product| must be at most 127.5; NaN gives any byte.
SAGE_DEVICE u32 pack_scaled_s8(float a, float b, float c, float d, float scale) {
  const u32 ia = __float_as_uint(__fmaf_rn(a, scale, 12582912.0f)), ib = __float_as_uint(__fmaf_rn(b, scale, 12582912.0f));
  const u32 ic = __float_as_uint(__fmaf_rn(c, scale, 12582912.0f)), id = __float_as_uint(__fmaf_rn(d, scale, 12582912.0f));
  return __byte_perm(__byte_perm(ia, ib, 0x0040), __byte_perm(ic, id, 0x0040), 0x5410);
}

/// The larger; NaN of either stays.
SAGE_DEVICE float max_or_nan(float a, float b) {
  float m;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
  return m;
}

/// max(a, |b|) that keeps a NaN of either.
SAGE_DEVICE float max_abs(float a, float b) { return max_or_nan(a, fabsf(b)); }

/// a * b + c, rounded once and clamped to 0 .. 1; NaN to 0.
SAGE_DEVICE float fma_saturate(float a, float b, float c) {
  float sum;
  asm("fma.rn.sat.f32 %0, %1, %2, %3;" : "=f"(sum) : "f"(a), "f"(b), "f"(c));
  return sum;
}

/// Groups whose largest magnitude is below 2^-100 count as all zero: scale 0 and zeros, never a division by zero. NaN and
/// infinity pass through and stay in their group.
SAGE_DEVICE bool is_zero_group(float amax) { return amax < 7.888609e-31f; }

/// 2^x; subnormal results are zero.
SAGE_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// 1 / x within one unit in the last place; infinity for subnormal x.
SAGE_DEVICE float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace sage
