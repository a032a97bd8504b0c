#pragma once
#include "../types.h"
namespace sage {
/// D = A B + C of one warp from the fragment maps of the PTX ISA: A and B as words with 4 / BYTES values each; each lane
/// gets its four sums.
template <int BYTES, class T, class Decode>
inline void product(T (&d)[4], const u32* a, u32 b0, u32 b1, const T (&c)[4], Decode decode) {
  const u32 words[6] = {a[0], a[1], a[2], a[3], b0, b1};
  auto lanes = emulator::exchange(words, 6);
  const int lane = threadIdx.x % 32;
  constexpr int values = 4 / BYTES;  // of one word
  for (int i = 0; i < 4; i++) {
    const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    T sum = c[i];
    for (int half = 0; half < 2; half++)
      for (int t = 0; t < 4; t++) {
        const u32 x = lanes[row % 8 * 4 + t][row / 8 + 2 * half], y = lanes[column * 4 + t][4 + half];
        for (int v = 0; v < values; v++) sum += decode(x >> 8 * BYTES * v) * decode(y >> 8 * BYTES * v);
      }
    d[i] = sum;
  }
}
inline float f16_value(u32 x) { return Half::unpack(x & 0xffff).x; }
inline float bf16_value(u32 x) { return Bfloat::unpack(x & 0xffff).x; }
inline void sm80_16x8x32_s32s8s8(u32 (&d)[4], const uint4& a, u32 b0, u32 b1, u32 c) {
  const u32 words[4] = {a.x, a.y, a.z, a.w};
  const int start[4] = {static_cast<int>(c), static_cast<int>(c), static_cast<int>(c), static_cast<int>(c)};
  int sums[4];
  product<1>(sums, words, b0, b1, start, [](u32 x) { return static_cast<int>(static_cast<signed char>(x)); });
  std::memcpy(d, sums, 16);
}
inline void sm80_16x8x32_s32s8s8(u32 (&d)[4], const uint4& a, u32 b0, u32 b1) {
  const u32 words[4] = {a.x, a.y, a.z, a.w};
  int start[4], sums[4];
  std::memcpy(start, d, 16);
  product<1>(sums, words, b0, b1, start, [](u32 x) { return static_cast<int>(static_cast<signed char>(x)); });
  std::memcpy(d, sums, 16);
}
inline void sm80_16x8x16_f32f16f16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<2>(d, a, b0, b1, d, f16_value); }
inline void sm80_16x8x16_f32bf16bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { product<2>(d, a, b0, b1, d, bf16_value); }
inline void sm89_16x8x32_f32e4m3e4m3(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  product<1>(d, a, b0, b1, d, [](u32 x) { return e4m3_value(x & 255); });
}
template <int BYTES, class Decode>
inline void product_f16(u32 (&d)[2], const u32 (&a)[4], u32 b0, u32 b1, Decode decode) {
  const float2 x = Half::unpack(d[0]), y = Half::unpack(d[1]);
  float sums[4] = {x.x, x.y, y.x, y.y};
  product<BYTES>(sums, a, b0, b1, sums, decode);
  d[0] = Half::pack(sums[0], sums[1]);
  d[1] = Half::pack(sums[2], sums[3]);
}
inline void sm80_16x8x16_f16f16f16(u32 (&d)[2], const u32 (&a)[4], u32 b0, u32 b1) { product_f16<2>(d, a, b0, b1, f16_value); }
inline void sm89_16x8x32_f16e4m3e4m3(u32 (&d)[2], const u32 (&a)[4], u32 b0, u32 b1) {
  product_f16<1>(d, a, b0, b1, [](u32 x) { return e4m3_value(x & 255); });
}
inline u32 add_f16x2(u32 a, u32 b) {
  const float2 x = Half::unpack(a), y = Half::unpack(b);
  return Half::pack(x.x + y.x, x.y + y.y);
}
inline u32 multiply_f16x2(u32 a, u32 b) {
  const float2 x = Half::unpack(a), y = Half::unpack(b);
  return Half::pack(x.x * y.x, x.y * y.y);
}
inline u32 block_index() { return blockIdx.x; }
}  // namespace sage
