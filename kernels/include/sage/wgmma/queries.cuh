// Warps 1 to 3 of the producer: the next work tile's Q, brought as it is by TMA and quantized to int8 into one of two
// buffers (with QK16 it comes there at once, and stays as it is), with what the epilogue needs for each channel.
//
// A warp takes 16 rows at a time, those of one consumer warp. Lane 4 g + t holds channels 64 j + 16 t .. + 15 of rows g
// and g + 8: the rows one consumer lane owns, so that the largest magnitude of a pair is two shuffles away. The swizzle
// lets the eight lanes of a phase read from different banks.
#pragma once

#include <sage/rows.h>

#include "tiles.cuh"

namespace sage {

static_assert(kM % 16 == 0, "Q is quantized in groups of 16 rows, those of one consumer warp");

// Starts the copy of a tile's rows of Q to a buffer that is empty; rows and channels that are not there become zeros, but
// rows of the next packed sequence do not.
SAGE_DEVICE void copy_q(const AttnWgmmaParams& w, const TensorMap& q_map, const Tile& tile, u32 to, u32 full) {
  mbarrier_arrive_expect(full, kM * kD * 2);
#pragma unroll
  for (int j = 0; j < kD / 64; j++)
    tma_load_4d(to + j * kM * 128, q_map, full, 64 * j, tile.q_start + tile.row0, w.attn.q.head ? tile.head : 0,
                w.attn.q.batch ? tile.batch : 0);
}

// Eight channels of a raw row, at the lane's own address `at` and an offset that all lanes share.
template <bool TAIL>
SAGE_DEVICE uint4 load_raw(u32 at, int offset, bool valid) {
  uint4 x = make_uint4(0, 0, 0, 0);
  if (!TAIL || valid) x = load_shared_16(at + offset);
  return x;
}

// Quantizes this warp's share of the tile. scale = amax * (1 / 127) and q8 = round(q * (127 / amax)), the exact product to
// nearest even, with the sign of sm_scale, so that the softmax sees a positive scale. amax is that of a row pair, or of
// all 16 rows with per_warp; below 2^-100 it counts as zero. TAIL: rows from `rows` on belong to another sequence.
template <class T, bool TAIL>
SAGE_DEVICE void quantize_q(const AttnWgmmaParams& w, int rows, u32 smem, u32 turn, int warp, int lane) {
  const AttnParams& p = w.attn;
  const int g = lane / 4, t = lane % 4;
  const u32 buffer = turn & 1, slot = turn % kSlots;
#pragma unroll 1
  for (int group = warp; group < kM / 16; group += kQuantizers) {
    const int row = group * 16 + g;
    const u32 even = smem + kRaw + row * 128 + (2 * t ^ g) * 16, odd = even ^ 16;  // channels 16 t .. + 7, and the next 8
    u32 top = 0;
#pragma unroll
    for (int j = 0; j < kD / 64; j++) {
      uint4 x[4];
#pragma unroll
      for (int i = 0; i < 4; i++)
        x[i] = load_raw<TAIL>(i & 1 ? odd : even, j * kM * 128 + (i & 2) * 512, row + (i & 2) * 4 < rows);
#pragma unroll
      for (int i = 0; i < 4; i++)
        top = max_magnitude(max_magnitude(max_magnitude(max_magnitude(top, x[i].x), x[i].y), x[i].z), x[i].w);
    }
    top = __vmaxu2(top, top >> 16 | top << 16);
    top = __vmaxu2(top, __shfl_xor_sync(~0u, top, 1));
    top = __vmaxu2(top, __shfl_xor_sync(~0u, top, 2));
    if (w.per_warp) {
#pragma unroll
      for (int i = 4; i < 32; i *= 2) top = __vmaxu2(top, __shfl_xor_sync(~0u, top, i));
    }
    const float amax = T::unpack(top).x;
    const bool zero = is_zero_group(amax);
    const float inverse = zero ? 0.0f : __fdiv_rn(p.scale_log2 < 0.0f ? -127.0f : 127.0f, amax);
    if (t == 0)
      store_shared_float(smem + kQScale + (buffer * kM / 2 + group * 8 + g) * 4, zero ? 0.0f : amax * (1.0f / 127.0f));
    const u32 out = smem + kQ + buffer * kQBytes + swizzled<kD>(row * kD + 16 * t);
#pragma unroll 1
    for (int half = 0; half < 2; half++) {
      float dot = 0.0f;
      uint4 x[kD / 32];
#pragma unroll
      for (int i = 0; i < kD / 32; i++)
        x[i] = load_raw<TAIL>(i & 1 ? odd : even, i / 2 * kM * 128 + half * 1024, row + 8 * half < rows);
#pragma unroll
      for (int j = 0; j < kD / 64; j++) {
        u32 words[4];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const uint4 y = x[2 * j + i];
          const float2 a = T::unpack(y.x), b = T::unpack(y.y), c = T::unpack(y.z), d = T::unpack(y.w);
          words[2 * i] = pack_scaled_s8(a.x, a.y, b.x, b.y, inverse);
          words[2 * i + 1] = pack_scaled_s8(c.x, c.y, d.x, d.y, inverse);
          if constexpr (kMeans) {
            const u32 mean = smem + kChannels + slot * kChannelBytes + 4 * (2 * kD + 64 * j + 16 * t + 8 * i);
            const float2 m = load_shared_float2(mean), n = load_shared_float2(mean + 8);
            const float2 o = load_shared_float2(mean + 16), u = load_shared_float2(mean + 24);
            dot += a.x * m.x + a.y * m.y + b.x * n.x + b.y * n.y + c.x * o.x + c.y * o.y + d.x * u.x + d.y * u.y;
          }
        }
        // Eight rows on, the swizzle repeats; 64 channels on, it differs in one bit.
        store_shared_16((out ^ 64 * j) + half * 8 * kD, make_uint4(words[0], words[1], words[2], words[3]));
      }
      if constexpr (kMeans) {
        dot = lanes_sum<4>(dot);
        if (t == 0) store_shared_float(smem + kQDot + (slot * kM + row + 8 * half) * 4, dot);
      }
    }
  }
}

template <class T>
SAGE_DEVICE void quantize_q(const AttnWgmmaParams& w, const Tile& tile, u32 smem, u32 turn, int warp, int lane) {
  const int rows = tile.q_len - tile.row0;
  if (w.attn.cu_q && rows < kM) quantize_q<T, true>(w, rows, smem, turn, warp, lane);
  else quantize_q<T, false>(w, rows, smem, turn, warp, lane);
}

// This warp's share of the channels' v_scale and v_mean, and for the lse all of k_mean.
SAGE_DEVICE void load_channels(const AttnParams& p, const Tile& tile, u32 smem, u32 turn, int warp, int lane) {
  const i64 first = (i64)(tile.batch * p.Hkv + tile.head / (p.Hq / p.Hkv)) * kD;
  const u32 at = smem + kChannels + turn % kSlots * kChannelBytes;
  // Every warp writes all of k_mean (the same values), because it reads them itself.
  if constexpr (kMeans)
    for (int c = lane; c < kD; c += 32) store_shared_float(at + 4 * (2 * kD + c), p.k_mean ? p.k_mean[first + c] : 0.0f);
  for (int c = warp * 32 + lane; c < kD; c += 32 * kQuantizers) {
    store_shared_float(at + 8 * c, p.v_scale[first + c]);
    store_shared_float(at + 8 * c + 4, p.v_mean ? p.v_mean[first + c] : 0.0f);
  }
  __syncwarp();
}

#if QK16

SAGE_DEVICE void produce_queries(const AttnWgmmaParams& w, const TensorMap& q_map, u32 smem) {
  const int warp = threadIdx.x / 32 - 1, lane = threadIdx.x % 32;
  Tile tile = await_tile(smem, 0);
  for (u32 turn = 0; tile.kv_tiles >= 0; turn++) {
    const u32 buffer = turn & 1;
    if (warp == 0 && lane == 0) {
      mbarrier_wait(smem + kQEmpty + 8 * buffer, turn / 2 & 1 ^ 1);
      copy_q(w, q_map, tile, smem + kQ + buffer * kQBytes, smem + kQFull + 8 * buffer);
    }
    await_operands(w, tile, turn == 0);
    load_channels(w.attn, tile, smem, turn, warp, lane);
    if (lane == 0) {
      mbarrier_arrive(smem + kChannelsFull + 8 * (turn % kSlots));
      release_tile(smem, turn);
    }
    tile = await_tile(smem, turn + 1);
  }
}

#else

SAGE_DEVICE void produce_queries(const AttnWgmmaParams& w, const TensorMap& q_map, u32 smem) {
  const AttnParams& p = w.attn;
  // The shuffle tells the compiler that the warp is the same in every lane, so that shuffles below need no guards.
  const int warp = __shfl_sync(~0u, threadIdx.x / 32 - 1, 0), lane = threadIdx.x % 32;
  const bool copies = warp == 0 && lane == 0;
  Tile tile = await_tile(smem, 0);
  if (copies && tile.kv_tiles >= 0) copy_q(w, q_map, tile, smem + kRaw, smem + kRawFull);
  for (u32 turn = 0; tile.kv_tiles >= 0; turn++) {
    const u32 buffer = turn & 1;
    mbarrier_wait(smem + kQEmpty + 8 * buffer, turn / 2 & 1 ^ 1);
    if constexpr (kMeans) {  // k_mean is needed at once
      await_operands(w, tile, turn == 0);
      load_channels(p, tile, smem, turn, warp, lane);
    }
    mbarrier_wait(smem + kRawFull, turn & 1);
    if (w.bf16) quantize_q<Bfloat>(w, tile, smem, turn, warp, lane);
    else quantize_q<Half>(w, tile, smem, turn, warp, lane);
    fence_async_shared();
    __syncwarp();
    if (lane == 0) mbarrier_arrive(smem + kRawEmpty);
    if constexpr (!kMeans) {
      await_operands(w, tile, turn == 0);
      load_channels(p, tile, smem, turn, warp, lane);
    }
    if (lane == 0) {
      mbarrier_arrive(smem + kQFull + 8 * buffer);
      release_tile(smem, turn);
    }
    tile = await_tile(smem, turn + 1);
    if (copies && tile.kv_tiles >= 0) {
      mbarrier_wait(smem + kRawEmpty, turn & 1);
      copy_q(w, q_map, tile, smem + kRaw, smem + kRawFull);
    }
  }
}

#endif

}  // namespace sage
