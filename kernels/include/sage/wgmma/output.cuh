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

// O / l in 16 bits, 64 channels at a time through the warp's own shared memory, so that the lanes of a store write whole
// lines. A chunk of 16 bytes lies at its index XORed with the row, as in every swizzled tile here.
template <class T>
SAGE_DEVICE void write_rows(const AttnParams& a, const Consumer& c, const Tile& tile, int row_of_warp, u32 channels,
                            u32 staging, const float (&inverse)[2], const float (&l)[2]) {
  const int lane = c.lane, t = lane & 3;
  // stmatrix takes the addresses of matrix i's eight rows from lanes 8 i on: rows, rows + 8, and the same a chunk on.
  const u32 to = staging + ((lane & 7) + (lane & 8)) * 128 + ((lane >> 4 ^ lane & 7) << 4);
  const u32 from = staging + (lane >> 3) * 128 + ((lane & 7 ^ lane >> 3) << 4);
  const int row0 = row_of_warp + (lane >> 3), rows = tile.q_len - tile.row0 - row0;
  char* const out = output_rows(a, tile) + 2 * (row0 * a.out.token + 8 * (lane & 7));
  // Scale and mean, twice, of the lane's channels in group j of eight; loaded one turn ahead.
  const auto load_channels = [&](int j) { return load_shared_16(channels + 8 * (8 * j + 2 * t)); };
  uint4 next[2] = {load_channels(0), load_channels(1)};
#pragma unroll
  for (int j = 0; j < kD / 8; j += 2) {
    const uint4 now[2] = {next[0], next[1]};
    if (j + 2 < kD / 8) next[0] = load_channels(j + 2), next[1] = load_channels(j + 3);
    u32 words[4];  // channels 8 j + 2 t, + 1 of both rows, and the same 8 channels on
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const uint4 channel = now[i];
      const float scale = __uint_as_float(channel.x), next_scale = __uint_as_float(channel.z);
#pragma unroll
      for (int row = 0; row < 2; row++) {
        const bool empty = kMask && l[row] == 0.0f;  // no key at all: zeros
        const float mean = empty ? 0.0f : __uint_as_float(channel.y), next_mean = empty ? 0.0f : __uint_as_float(channel.w);
        const float* o = c.o + 4 * (j + i) + 2 * row;
        words[2 * i + row] =
            T::pack(__fmaf_rn(o[0] * inverse[row], scale, mean), __fmaf_rn(o[1] * inverse[row], next_scale, next_mean));
      }
    }
    stmatrix_x4(to ^ (j & 7) << 4, words);
    if (j % 8 != 6) continue;
    __syncwarp();
    const int channel = 8 * (j - 6);
    const bool there = channel + 8 * (lane & 7) < a.head_dim;
    uint4 pieces[4];
#pragma unroll
    for (int i = 0; i < 4; i++) pieces[i] = load_shared_16((from ^ (i & 1) << 6) + i * 512);
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (there && 4 * i < rows) *(uint4*)(out + 2 * (4 * i * a.out.token + channel)) = pieces[i];
    if (j + 2 < kD / 8) __syncwarp();
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
    inverse[row] = l[row] == 0.0f ? 0.0f : reciprocal_approx(l[row]);
  }
  if (kLse && a.lse && t == 0) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      float lse = (m[row] + __log2f(l[row]) - kLog2P) * 0.69314718f;
      if (kMeans && a.k_mean) lse += a.sm_scale * load_shared_float(c.smem + kQDot + (turn % kSlots * kM + row_of_tile + 8 * row) * 4);
      if (l[row] == 0.0f) lse = -__int_as_float(0x7f800000);
      if (tile.row0 + row_of_tile + 8 * row < tile.q_len) lse_rows(a, tile)[row_of_tile + 8 * row] = lse;
    }
  }
  const u32 channels = c.smem + kChannels + turn % kSlots * kChannelBytes;
  const int row_of_warp = row_of_tile - (int)(c.lane / 4);
  const u32 staging = c.smem + (kStagedInQ ? kQ + (turn & 1) * kQBytes : kStaging) + row_of_warp * 128;
  if (is_bf16(w)) write_rows<Bfloat>(a, c, tile, row_of_warp, channels, staging, inverse, l);
  else write_rows<Half>(a, c, tile, row_of_warp, channels, staging, inverse, l);
}

// The same for a tile whose sequence has no keys: zeros, and an lse of minus infinity. `thread` of the `threads` that
// share the tile.
SAGE_DEVICE void store_nothing(const AttnParams& a, const Tile& tile, int thread, int threads) {
  const int first = max(0, -tile.row0), rows = min(kM, tile.q_len - tile.row0), pieces = a.head_dim / 8;
  char* const out = output_rows(a, tile);
#pragma unroll 1
  for (int i = first * pieces + thread; i < rows * pieces; i += threads)
    *(uint4*)(out + 2 * (i / pieces * a.out.token + i % pieces * 8)) = make_uint4(0, 0, 0, 0);
  if (kLse && a.lse) {
#pragma unroll 1
    for (int row = first + thread; row < rows; row += threads) lse_rows(a, tile)[row] = -__int_as_float(0x7f800000);
  }
}

}  // namespace sage
