// What the kernels that prepare operands share: 16-bit rows read eight columns at a time, the tokens sampled for a mean,
// and scales.
#pragma once

#include "sync.h"
#include "team.cuh"

namespace sage {

/// Whether every row is a whole number of 16-byte pieces that start on 16 bytes.
SAGE_DEVICE bool is_aligned(const Rows& x, int head_dim) {
  return reinterpret_cast<u64>(x.data) % 16 == 0 && (x.batch | x.head | x.token | head_dim) % 8 == 0;
}

/// Eight columns of a row as four packed pairs; zeros past head_dim or where `valid` is false. ALIGNED: one 16-byte load
/// (head_dim is then a multiple of 8); else element by element. A template, so that the choice is made outside of loops
/// and the loads of a loop are issued together.
template <bool ALIGNED>
SAGE_DEVICE uint4 load_columns(const u16* row, int column, int head_dim, bool valid) {
  uint4 piece = make_uint4(0, 0, 0, 0);
  if (!valid || column >= head_dim) return piece;
  if constexpr (ALIGNED) {
    piece = load_global_once_16(row + column);
  } else {
    u32 element[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) element[i] = column + i < head_dim ? row[column + i] : 0;
    piece = make_uint4(element[0] | element[1] << 16, element[2] | element[3] << 16, element[4] | element[5] << 16,
                       element[6] | element[7] << 16);
  }
  return piece;
}

/// Forget what is known of a piece, so that its unpacked values are made again where they are needed next instead of
/// being kept in eight registers for four.
SAGE_DEVICE void keep_packed(uint4& piece) {
  asm volatile("" : "+r"(piece.x), "+r"(piece.y), "+r"(piece.z), "+r"(piece.w));
}

/// The same of an index: what is computed from it is not made before a loop and kept.
SAGE_DEVICE int keep_index(int index) {
  asm volatile("" : "+r"(index));
  return index;
}

/// The eight values of a piece.
template <class T>
SAGE_DEVICE void unpack_columns(const uint4& piece, float (&value)[8]) {
  const u32 pair[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 f = T::unpack(pair[i]);
    value[2 * i] = f.x;
    value[2 * i + 1] = f.y;
  }
}

/// The larger and the smaller of each of eight values; NaN of either stays.
template <class T>
SAGE_DEVICE void widen(uint4& most, uint4& least, const uint4& x) {
  most = make_uint4(T::max(most.x, x.x), T::max(most.y, x.y), T::max(most.z, x.z), T::max(most.w, x.w));
  least = make_uint4(T::min(least.x, x.x), T::min(least.y, x.y), T::min(least.z, x.z), T::min(least.w, x.w));
}

/// Larger of each 16-bit half, as magnitudes: the bits of a half or bfloat without its sign are ordered as integers, with
/// NaN above infinity. `a` has no signs.
SAGE_DEVICE u32 max_magnitude(u32 a, u32 b) { return __vmaxu2(a, b & 0x7fff7fffu); }

/// The sequence a block works on: its first token, length, and first padded row.
struct Sequence {
  i64 first, row;
  int length;
};

SAGE_DEVICE Sequence sequence_of(const int* cu, int index, int length) {
  if (!cu) return {0, 0, length};
  const int first = cu[index];
  return {first, (i64(first) / 128 + index) * 128, cu[index + 1] - first};
}

// The mean of a head is that of at most kSample = 128 of its tokens (any vector leaves the softmax unchanged, so a sample
// serves; what it misses the mean by, times the error of Q, is in the lse). Up to 128 tokens all are taken. Of more,
// sample i is the token
//   ((i << 16) + ((i * 40503 + 32768) & 65535)) * length >> 23,
// one from each 128th of the sequence, at a place that moves by the golden ratio so that no period of the data is met.
// The sum is a binary tree over 128 slots (absent ones are 0): x[i] + x[i + 64], then + 32, ... then + 1; the mean is
// that sum divided by the number of tokens sampled. All in fp32, round to nearest even.
SAGE_DEVICE int sample_count(int length) { return length < kSample ? length : kSample; }

SAGE_DEVICE int sample_token(int i, int length) {
  static_assert(kSample == 1 << 7, "the shift below");
  if (length <= kSample) return i;
  return int(((i64(i) << 16) + ((i * 40503 + 32768) & 65535)) * length >> 23);
}

/// The sampled mean of the 32 columns from `column0` on, by a team: `slots` is shared memory for kSample / 2 x 32 floats
/// and holds the mean in its first 32 when all threads return.
template <class T, bool ALIGNED, class Threads>
SAGE_DEVICE void mean_of_32_columns(const u16* head, i64 token_stride, int length, int column0, int head_dim,
                                    float* slots, Threads team) {
  const int n = sample_count(length);
#pragma unroll 1
  for (int at = team.thread(); at < kSample / 2 * 4; at += kTeam) {
    const int i = at / 4, far = i + kSample / 2, column = column0 + at % 4 * 8;
    const uint4 piece =
        load_columns<ALIGNED>(head + sample_token(i, length) * token_stride, column, head_dim, i < n);
    const uint4 far_piece =
        load_columns<ALIGNED>(head + sample_token(far, length) * token_stride, column, head_dim, far < n);
    float value[8], far_value[8];
    unpack_columns<T>(piece, value);
    unpack_columns<T>(far_piece, far_value);
#pragma unroll
    for (int j = 0; j < 8; ++j) slots[i * 32 + at % 4 * 8 + j] = value[j] + far_value[j];
  }
#pragma unroll 1
  for (int half = kSample / 4; half; half /= 2) {
    team.sync();
#pragma unroll 1
    for (int at = team.thread(); at < half * 32; at += kTeam) slots[at] += slots[at + half * 32];
  }
  team.sync();
  if (team.thread() < 32) slots[team.thread()] = __fdiv_rn(slots[team.thread()], float(n));
  team.sync();
}

}  // namespace sage
