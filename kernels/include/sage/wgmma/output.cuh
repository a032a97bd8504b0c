// The end of a work tile: O normalised and written, and the lse.
#pragma once

#include "consumer.cuh"

namespace sage {

// The first row of this head and sequence.
SAGE_DEVICE char* output_rows(const AttnParams& a, const Tile& tile) {
  return (char*)a.out.data + 2 * (tile.batch * a.out.batch * (a.cu_q ? 0 : 1) + tile.head * a.out.head +
                                  (i64)(tile.q_start + tile.row0) * a.out.token);
}
SAGE_DEVICE float* lse_rows(const AttnParams& a, const Tile& tile) {
  return a.lse + tile.batch * a.lse_batch * (a.cu_q ? 0 : 1) + tile.head * a.lse_head + tile.q_start + tile.row0;
}

// O / l in 16 bits. Lanes exchange words with their neighbour, so that each writes 8 bytes and a quad 32.
template <class T>
SAGE_DEVICE void write_rows(const AttnParams& a, const Consumer& c, const Tile& tile, int row_of_tile, u32 channels,
                            const float (&inverse)[2], const float (&l)[2]) {
  const int t = c.lane & 3, column = 8 * (t & 1) + 2 * (t & 2);  // of this lane's first piece
  char* const out = output_rows(a, tile) + 2 * (row_of_tile * a.out.token + column);
  char* const rows[2] = {out, out + 16 * a.out.token};
  int columns[2];  // how many there are from this lane's first on
#pragma unroll
  for (int row = 0; row < 2; row++)
    columns[row] = tile.row0 + row_of_tile + 8 * row < tile.q_len ? a.head_dim - column : 0;
#pragma unroll
  for (int j = 0; j < kD / 8; j += 2) {
    u32 words[2][2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const uint4 channel = load_shared_16(channels + 8 * (8 * (j + i) + 2 * t));  // scale, mean, twice
      const float scale = __uint_as_float(channel.x), next_scale = __uint_as_float(channel.z);
#pragma unroll
      for (int row = 0; row < 2; row++) {
        const bool empty = kMask && l[row] == 0.0f;  // no key at all: zeros
        const float mean = empty ? 0.0f : __uint_as_float(channel.y), next_mean = empty ? 0.0f : __uint_as_float(channel.w);
        const float* o = c.o + 4 * (j + i) + 2 * row;
        words[row][i] =
            T::pack(__fmaf_rn(o[0] * inverse[row], scale, mean), __fmaf_rn(o[1] * inverse[row], next_scale, next_mean));
      }
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const u32 got = __shfl_xor_sync(~0u, t & 1 ? words[row][0] : words[row][1], 1);
      const uint2 piece = t & 1 ? make_uint2(got, words[row][1]) : make_uint2(words[row][0], got);
      if (8 * j < columns[row]) *(uint2*)(rows[row] + 16 * j) = piece;
    }
  }
}

// Normalises O by the sums `l` and writes 16 rows of this warp. `m` is what l is relative to.
SAGE_DEVICE void store_output(const AttnWgmmaParams& w, const Consumer& c, const Tile& tile, int row_of_tile, u32 turn,
                              float (&l)[2], const float (&m)[2]) {
  const AttnParams& a = w.attn;
  const int t = c.lane & 3;
  float inverse[2];
#pragma unroll
  for (int row = 0; row < 2; row++) {
    if constexpr (!kOnes) l[row] = lanes_sum<4>(l[row]);
    inverse[row] = l[row] == 0.0f ? 0.0f : __frcp_rn(l[row]);
  }
  const u32 channels = c.smem + kChannels + turn % kSlots * kChannelBytes;
  if (w.bf16) write_rows<Bfloat>(a, c, tile, row_of_tile, channels, inverse, l);
  else write_rows<Half>(a, c, tile, row_of_tile, channels, inverse, l);
  if (kLse && a.lse && t == 0) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      float lse = (m[row] + __log2f(l[row]) - kLog2P) * 0.69314718f;
      if (a.k_mean) lse += a.sm_scale * load_shared_float(c.smem + kQDot + (turn % kSlots * kM + row_of_tile + 8 * row) * 4);
      if (l[row] == 0.0f) lse = -__int_as_float(0x7f800000);
      if (tile.row0 + row_of_tile + 8 * row < tile.q_len) lse_rows(a, tile)[row_of_tile + 8 * row] = lse;
    }
  }
}

// The same for a tile whose sequence has no keys: zeros, and an lse of minus infinity. `thread` of the `threads` that
// share the tile.
SAGE_DEVICE void store_nothing(const AttnParams& a, const Tile& tile, int thread, int threads) {
  const int rows = min(kM, tile.q_len - tile.row0), pieces = a.head_dim / 8;
  char* const out = output_rows(a, tile);
#pragma unroll 1
  for (int i = thread; i < rows * pieces; i += threads)
    *(uint4*)(out + 2 * (i / pieces * a.out.token + i % pieces * 8)) = make_uint4(0, 0, 0, 0);
  if (kLse && a.lse) {
#pragma unroll 1
    for (int row = thread; row < rows; row += threads) lse_rows(a, tile)[row] = -__int_as_float(0x7f800000);
  }
}

}  // namespace sage
