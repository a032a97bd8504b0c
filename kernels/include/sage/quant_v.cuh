// V to e4m3, transposed, for one block of a grid (sage2/quant_kv.cu, sage2/quant_v.cu), with steps that serve
// quant_resident.cuh too. sm_89 and newer; FUSED from sm_90.
//
// Definition, fp32 throughout, round to nearest even:
//   mean    smooth ? the sampled mean of rows.h : 0          one vector for a (batch, head) or sequence
//   y       float(v) - mean, 0 for padding tokens and columns
//   amax    largest |y| of a channel, over all tokens
//   scale   amax * fp32(1 / vmax)                             0 for an all-zero channel
//   v8      e4m3(y * (vmax / amax)), saturated at 448         NaN stays NaN, in its channel
// v8 is [channel][token]; byte 4w + i of 16 tokens is token 2w + {0, 1, 8, 9}[i].
//
// A block of 256 threads stages up to 1024 tokens of 32 channels in shared memory, 16 tokens of 8 channels to a thread; a
// thread reads back only what it copied itself, and threads past the chunk only keep the others company. The maximum over all
// tokens: FUSED exchanges it in the cluster that holds the whole sequence, so V is read once; AMAX writes the block's share to
// `partial`, and APPLY reads V again and folds the shares. Each 16-byte store completes 128-byte lines together with seven neighbours.
#pragma once

#include <sage/rows.h>

namespace sage::quant_v {

enum Mode { FUSED = 0, AMAX = 1, APPLY = 2 };
constexpr int COLUMNS = 32;  // channels of a block: four 16-byte pieces
constexpr int TOKENS = 16;   // of a thread
// Blocks to a multiprocessor: as many as fit, on sm_12x two, because shared memory holds no more.
constexpr int RESIDENT = __CUDA_ARCH__ < 1100 ? 3 : 2;

/// Copy this thread's tokens to its pieces of shared memory, `step` apart, zeros where there are none.
SAGE_DEVICE void stage(uint4* piece, int step, const u16* head, const QuantVParams& p, int token, int length, int column,
                       bool aligned) {
  const u32 to = shared_address(piece);
  if (aligned && column < p.head_dim && token + TOKENS <= length) {
    const u16* from = head + token * p.v.token + column;
#pragma unroll
    for (int i = 0; i < TOKENS; ++i, from += p.v.token) cp_async_16(to + i * step * 16, from, true);
    cp_async_commit();
  } else if (aligned) {
#pragma unroll 1
    for (int i = 0; i < TOKENS; ++i) {
      const bool there = column < p.head_dim && token + i < length;
      cp_async_16(to + i * step * 16, there ? head + (token + i) * p.v.token + column : head, there);
    }
    cp_async_commit();
  } else {
#pragma unroll 1
    for (int i = 0; i < TOKENS; ++i)
      piece[i * step] =
          load_columns<false>(head + (token + i) * p.v.token, column, p.head_dim, token + i < length);
  }
}

/// The magnitudes of a thread's tokens by channel; `there(i)` says whether the sequence has token i.
template <bool CENTRED, int COUNT, class There>
SAGE_DEVICE void magnitudes(const uint4* piece, int step, const float* mean, const There& there, float (&amax)[8]) {
  if constexpr (CENTRED) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      float value[8];
      unpack_columns<Input>(piece[i * step], value);
#pragma unroll
      for (int j = 0; j < 8; ++j) amax[j] = max_abs(amax[j], there(i) ? value[j] - mean[j] : 0.0f);
    }
  } else {
    uint4 top = make_uint4(0, 0, 0, 0);  // as bits, two channels to an instruction from sm_90 on
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      const uint4 x = piece[i * step];
      top.x = max_magnitude(top.x, x.x), top.y = max_magnitude(top.y, x.y);
      top.z = max_magnitude(top.z, x.z), top.w = max_magnitude(top.w, x.w);
    }
    float value[8];
    unpack_columns<Input>(top, value);
#pragma unroll
    for (int j = 0; j < 8; ++j) amax[j] = max_abs(amax[j], value[j]);
  }
}

/// Quantize 16 tokens of 8 channels; `out` is the first channel's byte of the first token.
template <bool CENTRED>
SAGE_DEVICE void convert(const uint4* piece, int step, const float* mean, const float* inverse, int count, unsigned char* out,
                         i64 rows) {
#pragma unroll 1
  for (int half = 0; half < 2; ++half) {  // four channels at a time, for the registers' sake
    const uint2* halves = reinterpret_cast<const uint2*>(piece) + half;
    u32 word[4][4];  // of each channel: its 16 bytes
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      const int tokens[4] = {2 * w, 2 * w + 1, 2 * w + 8, 2 * w + 9};
      float y[4][4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint2 packed = halves[2 * tokens[i] * step];
        const float2 low = Input::unpack(packed.x), high = Input::unpack(packed.y);
        y[i][0] = low.x, y[i][1] = low.y, y[i][2] = high.x, y[i][3] = high.y;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if constexpr (CENTRED) y[i][j] = tokens[i] < count ? y[i][j] - mean[j] : 0.0f;
          y[i][j] *= inverse[j];
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) word[j][w] = pack_e4m3(y[0][j], y[1][j], y[2][j], y[3][j]);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
      *reinterpret_cast<uint4*>(out + j * rows) = make_uint4(word[j][0], word[j][1], word[j][2], word[j][3]);
    mean += 4, inverse += 4, out += 4 * rows;
  }
}

/// Shared memory of a team beside its pieces.
struct Scratch {
  float warp_amax[8][COLUMNS];
  float amax[COLUMNS];  // of this block, for its cluster
  float inverse[COLUMNS];
};

/// 32 channels of a head, and a thread's place in them.
struct Slice {
  int head_batch, column0, length, padded;
  const u16* head;     // the first token
  unsigned char* out;  // the first of the thread's channels at the first token
  int column;
  bool aligned, centred;

  SAGE_DEVICE Slice(const QuantVParams& p, int index, int lane) {
    const int groups = p.D / COLUMNS;
    head_batch = index / groups;
    column0 = index % groups * COLUMNS, column = column0 + lane % 4 * 8;
    const int h = head_batch % p.H, b = head_batch / p.H;
    const Sequence sequence = sequence_of(p.cu, b, p.S);
    length = sequence.length, padded = (length + 127) / 128 * 128;
    head = static_cast<const u16*>(p.v.data) + (p.cu ? 0 : b * p.v.batch) + h * p.v.head + sequence.first * p.v.token;
    out = p.v8 + (i64(p.cu ? h : head_batch) * p.D + column) * p.rows + sequence.row;
    aligned = is_aligned(p.v, p.head_dim), centred = p.smooth && length > 0;
  }
  /// Makes the mean in the first 32 of `slots`, if there is to be one.
  template <class Threads>
  SAGE_DEVICE void make_mean(const QuantVParams& p, float* slots, Threads team) const {
    if (!centred) return;
    if (aligned) mean_of_32_columns<Input, true>(head, p.v.token, length, column0, p.head_dim, slots, team);
    else mean_of_32_columns<Input, false>(head, p.v.token, length, column0, p.head_dim, slots, team);
  }
  SAGE_DEVICE void add_magnitudes(const uint4* piece, int step, const float* mean, int token, float (&amax)[8]) const {
    const auto there = [count = length - token](int i) { return i < count; };
    if (centred) magnitudes<true, TOKENS>(piece, step, mean, there, amax);
    else magnitudes<false, TOKENS>(piece, step, mean, there, amax);
  }
  /// Quantize the thread's 16 tokens from `token` on.
  SAGE_DEVICE void store(const uint4* piece, int step, const float* mean, const float* inverse, int token, i64 rows) const {
    if (centred) convert<true>(piece, step, mean, inverse, length - token, out + token, rows);
    else convert<false>(piece, step, mean, inverse, length - token, out + token, rows);
  }
};

/// The maxima of a warp's channels, for max_of_warps() after a barrier.
SAGE_DEVICE void show_warp(Scratch& scratch, int warp, int lane, float (&amax)[8]) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    amax[j] = lanes_max_abs<8, 4>(amax[j]);
    if (lane < 4) scratch.warp_amax[warp][lane * 8 + j] = amax[j];
  }
}
SAGE_DEVICE float max_of_warps(const Scratch& scratch, int warps, int channel) {
  float amax = 0;
  for (int w = 0; w < warps; ++w) amax = max_abs(amax, scratch.warp_amax[w][channel]);
  return amax;
}

/// What the maximum of a channel gives: its inverse scale for the team and, from one of the teams, scale and mean, at
/// `first` and following.
SAGE_DEVICE void conclude(const QuantVParams& p, i64 first, Scratch& scratch, int channel, float amax, float mean,
                          bool writes) {
  const bool zero = is_zero_group(amax);
  scratch.inverse[channel] = zero ? 0.0f : __fdiv_rn(p.vmax, amax);
  if (!writes) return;
  p.scale[first + channel] = zero ? 0.0f : amax * __fdiv_rn(1.0f, p.vmax);
  p.mean[first + channel] = mean;
}

/// Block `index` of those that prepare V; `pieces` is shared memory for [16][threads], and with smooth for the
/// kSample / 2 x 32 floats of the mean after it.
template <Mode PHASE>
SAGE_DEVICE void run(const QuantVParams& p, int index, uint4* pieces) {
  __shared__ Scratch scratch;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int part = index % p.chunks;
  const Slice slice(p, index / p.chunks, lane);
  const int threads = p.chunk / 4;  // a multiple of 32
  const bool busy = threadIdx.x < threads;
  const int token = part * p.chunk + threadIdx.x / 4 * TOKENS;

  uint4* piece = pieces + threadIdx.x;
  if (busy) stage(piece, threads, slice.head, p, token, slice.length, slice.column, slice.aligned);
  float* mean_smem = reinterpret_cast<float*>(pieces + TOKENS * threads);
  slice.make_mean(p, mean_smem, Block{});
  const float* mean = mean_smem + lane % 4 * 8;
  cp_async_wait<0>();

  if (PHASE != APPLY) {
    if (busy) {
      float amax[8] = {};
      slice.add_magnitudes(piece, threads, mean, token, amax);
      show_warp(scratch, warp, lane, amax);
    }
    __syncthreads();
    if (threadIdx.x < COLUMNS) {
      const float of_block = max_of_warps(scratch, threads / 32, threadIdx.x);
      if (PHASE == AMAX) p.partial[(i64(slice.head_batch) * p.chunks + part) * p.D + slice.column0 + threadIdx.x] = of_block;
      if (PHASE == FUSED) scratch.amax[threadIdx.x] = of_block;
    }
  }

  if (PHASE != AMAX) {
#if __CUDA_ARCH__ >= 900
    if (PHASE == FUSED) cluster_sync();
#endif
    if (threadIdx.x < COLUMNS) {
      float amax = 0;
#if __CUDA_ARCH__ >= 900
      if (PHASE == FUSED)
        for (int rank = 0; rank < p.chunks; ++rank)
          amax = max_abs(amax, cluster_load(shared_address(&scratch.amax[threadIdx.x]), rank));
#endif
      if (PHASE == APPLY)
        for (int i = 0; i < p.chunks; ++i)
          amax = max_abs(amax, p.partial[(i64(slice.head_batch) * p.chunks + i) * p.D + slice.column0 + threadIdx.x]);
      conclude(p, i64(slice.head_batch) * p.D + slice.column0, scratch, threadIdx.x, amax,
               slice.centred ? mean_smem[threadIdx.x] : 0.0f, part == 0);
    }
#if __CUDA_ARCH__ >= 900
    if (PHASE == FUSED) cluster_arrive();  // nobody leaves while its shared memory may be read
#endif
    __syncthreads();

    if (busy && token < slice.padded) slice.store(piece, threads, mean, scratch.inverse + lane % 4 * 8, token, p.rows);
#if __CUDA_ARCH__ >= 900
    if (PHASE == FUSED) cluster_wait();
#endif
  }
}

}  // namespace sage::quant_v
