#pragma once
#include "types.h"
namespace sage {
template <int ROW_BYTES>
inline u32 swizzled(u32 row, u32 chunk) {
  const u32 key = ROW_BYTES == 64 ? (row >> 1) & 3 : row & 7;
  return row * ROW_BYTES + ((chunk ^ key) << 4);
}
inline u32 recomputed(u32 x) { return __shfl_xor_sync(~0u, x, 0); }
/// Byte b of row r of matrix i, from the addresses that the lanes gave.
inline u8 matrix_byte(unsigned (*lanes)[16], int i, int row, int byte) { return shared[lanes[8 * i + row][0] + byte]; }
inline void ldmatrix_x4(u32 (&d)[4], u32 address) {
  auto lanes = emulator::exchange(&address, 1);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; i++) {
    d[i] = 0;
    for (int b = 0; b < 4; b++) d[i] |= matrix_byte(lanes, i, lane / 4, lane % 4 * 4 + b) << 8 * b;
  }
}
inline void ldmatrix_x4_trans(u32 (&d)[4], u32 address) {
  auto lanes = emulator::exchange(&address, 1);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; i++) {
    d[i] = 0;
    for (int b = 0; b < 4; b++) d[i] |= matrix_byte(lanes, i, lane % 4 * 2 + b / 2, lane / 4 * 2 + b % 2) << 8 * b;
  }
}
template <class T> T load_shared(u32 address) {
  T x;
  std::memcpy(&x, shared + address, sizeof x);
  return x;
}
inline uint4 load_shared_16(u32 address) { return load_shared<uint4>(address); }
inline u32 load_shared_4(u32 address) { return load_shared<u32>(address); }
inline void store_shared_16(u32 address, uint4 x) { std::memcpy(shared + address, &x, 16); }
inline void store_shared_4(u32 address, u32 x) { std::memcpy(shared + address, &x, 4); }
inline float load_shared_float(u32 address) { return load_shared<float>(address); }
inline float2 load_shared_float2(u32 address) { return load_shared<float2>(address); }
inline void store_shared_float(u32 address, float x) { std::memcpy(shared + address, &x, 4); }
inline void stmatrix_x4(u32 address, const u32 (&d)[4]) {
  auto lanes = emulator::exchange(&address, 1);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < 4; i++) store_shared_4(lanes[8 * i + lane / 4][0] + lane % 4 * 4, d[i]);
}
}  // namespace sage
