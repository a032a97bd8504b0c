#pragma once
#include "../emulator.h"
#include "params.h"
namespace sage {
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define SAGE_DEVICE inline
template <class T, class Pick>
inline u32 by_halves(u32 a, u32 b, Pick pick) {
  const float2 x = T::unpack(a), y = T::unpack(b);
  return T::pack(x.x != x.x || y.x != y.x ? NAN : pick(x.x, y.x), x.y != x.y || y.y != y.y ? NAN : pick(x.y, y.y));
}
struct Half {
  static u32 max(u32 a, u32 b) { return by_halves<Half>(a, b, [](float x, float y) { return x > y ? x : y; }); }
  static u32 min(u32 a, u32 b) { return by_halves<Half>(a, b, [](float x, float y) { return x < y ? x : y; }); }
  static u32 fma(u32 a, u32 b, u32 c) {
    const float2 x = unpack(a), y = unpack(b), z = unpack(c);
    return pack(x.x * y.x + z.x, x.y * y.y + z.y);  // the product is exact in fp32
  }
  static float2 unpack(u32 pair) {
    _Float16 x[2];
    std::memcpy(x, &pair, 4);
    return {static_cast<float>(x[0]), static_cast<float>(x[1])};
  }
  static u32 pack(float lo, float hi) {
    const _Float16 x[2] = {static_cast<_Float16>(lo), static_cast<_Float16>(hi)};
    u32 pair;
    std::memcpy(&pair, x, 4);
    return pair;
  }
};
struct Bfloat {
  static u32 max(u32 a, u32 b) { return by_halves<Bfloat>(a, b, [](float x, float y) { return x > y ? x : y; }); }
  static u32 min(u32 a, u32 b) { return by_halves<Bfloat>(a, b, [](float x, float y) { return x < y ? x : y; }); }
  static float2 unpack(u32 pair) { return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)}; }
  static u32 round(float x) {
    const u32 bits = __float_as_uint(x);
    return x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  }
  static u32 pack(float lo, float hi) { return round(lo) | round(hi) << 16; }
};
#ifdef DTYPE_BF16
template <int> struct SelectInput { typedef Half type; };
template <> struct SelectInput<1> { typedef Bfloat type; };
typedef SelectInput<DTYPE_BF16>::type Input;
#endif
inline float e4m3_value(u32 byte) {
  const int exponent = byte >> 3 & 15, mantissa = byte & 7;
  const float x = exponent ? std::ldexp(8.0f + mantissa, exponent - 10) : std::ldexp(static_cast<float>(mantissa), -9);
  return (byte & 127) == 127 ? NAN : byte & 128 ? -x : x;
}
inline u32 e4m3(float x) {
  if (x != x) return 127;
  const float size = std::fmin(std::fabs(x), 448.0f);
  const int exponent = size < 0.015625f ? -6 : std::ilogb(size);
  const float steps = std::nearbyint(std::ldexp(size, 3 - exponent));  // to nearest even
  const u32 code = static_cast<u32>(steps) + (exponent + 6) * 8;  // a carry moves into the exponent by itself
  return (code > 126 ? 126 : code) | (x < 0 ? 128 : 0);
}
inline u32 pack_e4m3(float a, float b, float c, float d) { return e4m3(a) | e4m3(b) << 8 | e4m3(c) << 16 | e4m3(d) << 24; }
inline u32 pack_e4m3(u32 ab, u32 cd) {
  const float2 low = Half::unpack(ab), high = Half::unpack(cd);
  return pack_e4m3(low.x, low.y, high.x, high.y);
}
inline u32 s8(float x, float scale) {
  const double product = std::nearbyint(static_cast<double>(x) * scale);
  return product != product ? 0xff : static_cast<u32>(static_cast<int>(product)) & 255;
}
inline u32 pack_scaled_s8(float a, float b, float c, float d, float scale) {
  return s8(a, scale) | s8(b, scale) << 8 | s8(c, scale) << 16 | s8(d, scale) << 24;
}
inline bool is_zero_group(float amax) { return amax < 7.888609e-31f; }
inline float max_or_nan(float a, float b) { return a != a || b != b ? NAN : std::fmax(a, b); }
inline float max_abs(float a, float b) { return max_or_nan(a, std::fabs(b)); }
inline float fma_saturate(float a, float b, float c) {
  const float sum = std::fma(a, b, c);
  return sum > 0.0f ? std::fmin(sum, 1.0f) : 0.0f;
}
inline float exp2_approx(float x) { return std::exp2(x); }
inline float reciprocal_approx(float x) { return 1.0f / x; }
}  // namespace sage
