// V to e4m3, transposed, for one block of a grid (sage2/quant_kv.cu, sage2/quant_v.cu). sm_89 and newer; fused from sm_90.
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
// thread reads back only what it copied itself, and threads past the chunk only keep the others company. The maximum over
// all tokens: FUSED exchanges it in the cluster that holds the whole sequence, so V is read once; AMAX writes the block's
// share to `partial`, and APPLY reads V again and folds the shares. Each 16-byte store completes 128-byte lines together
// with seven neighbours.
#pragma once

#include <sage/rows.h>

namespace sage::quant_v {

enum Mode { FUSED = 0, AMAX = 1, APPLY = 2 };
constexpr int COLUMNS = 32;  // channels of a block: four 16-byte pieces
constexpr int TOKENS = 16;   // of a thread

/// Copy this thread's tokens to its pieces of shared memory, `step` apart, zeros where there are none.
SAGE_DEVICE void stage(uint4* piece, int step, const u16* head, const QuantVParams& p, int token, int length, int column,
                       bool aligned) {
  if (aligned) {
    const bool column_there = column < p.head_dim;
#pragma unroll
    for (int i = 0; i < TOKENS; ++i) {
      const bool there = column_there && token + i < length;
      cp_async_16(shared_address(piece + i * step), there ? head + (token + i) * p.v.token + column : head, there);
    }
    cp_async_commit();
  } else {
#pragma unroll 1
    for (int i = 0; i < TOKENS; ++i)
      piece[i * step] =
          load_columns<false>(head + (token + i) * p.v.token, column, p.head_dim, token + i < length);
  }
}

/// The magnitudes of `count` tokens (all 16 unless the sequence ends among them), by channel.
template <bool CENTRED>
SAGE_DEVICE void magnitudes(const uint4* piece, int step, const float* mean, int count, float (&amax)[8]) {
#pragma unroll
  for (int i = 0; i < TOKENS; ++i) {
    float value[8];
    unpack_columns<Input>(piece[i * step], value);
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if constexpr (CENTRED) amax[j] = max_abs(amax[j], i < count ? value[j] - mean[j] : 0.0f);
      else amax[j] = max_abs(amax[j], value[j]);
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

/// Block `index` of those that prepare V; `pieces` is shared memory for [16][threads], and with smooth for the
/// kSample / 2 x 32 floats of the mean after it.
template <Mode PHASE>
SAGE_DEVICE void run(const QuantVParams& p, int index, uint4* pieces) {
  __shared__ float warp_amax[8][COLUMNS];
  __shared__ float block_amax[COLUMNS];
  __shared__ float inverse_smem[COLUMNS];

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int part = index % p.chunks;
  const int groups = p.D / COLUMNS;
  const int column0 = index / p.chunks % groups * COLUMNS, column = column0 + lane % 4 * 8;
  const int head_batch = index / p.chunks / groups;
  const int h = head_batch % p.H, b = head_batch / p.H;
  const Sequence sequence = sequence_of(p.cu, b, p.S);
  const int padded = (sequence.length + 127) / 128 * 128;
  const u16* head = static_cast<const u16*>(p.v.data) + (p.cu ? 0 : b * p.v.batch) + h * p.v.head + sequence.first * p.v.token;
  const int threads = p.chunk / 4;  // a multiple of 32
  const bool busy = threadIdx.x < threads;
  const int token = part * p.chunk + threadIdx.x / 4 * TOKENS;
  const int count = sequence.length - token;

  const bool aligned = is_aligned(p.v, p.head_dim);

  uint4* piece = pieces + threadIdx.x;
  if (busy) stage(piece, threads, head, p, token, sequence.length, column, aligned);

  const bool centred = p.smooth && sequence.length > 0;
  float* mean_smem = reinterpret_cast<float*>(pieces + TOKENS * threads);
  if (centred) {
    if (aligned) mean_of_32_columns<Input, true>(head, p.v.token, sequence.length, column0, p.head_dim, mean_smem);
    else mean_of_32_columns<Input, false>(head, p.v.token, sequence.length, column0, p.head_dim, mean_smem);
  }
  const float* mean = mean_smem + lane % 4 * 8;
  cp_async_wait<0>();

  if (PHASE != APPLY) {
    if (busy) {
      float amax[8] = {};
      if (centred) magnitudes<true>(piece, threads, mean, count, amax);
      else magnitudes<false>(piece, threads, mean, count, amax);
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        amax[j] = lanes_max_abs<8, 4>(amax[j]);
        if (lane < 4) warp_amax[warp][lane * 8 + j] = amax[j];
      }
    }
    __syncthreads();
    if (threadIdx.x < COLUMNS) {
      float of_block = 0;
      for (int w = 0; w < threads / 32; ++w) of_block = max_abs(of_block, warp_amax[w][threadIdx.x]);
      if (PHASE == AMAX) p.partial[(i64(head_batch) * p.chunks + part) * p.D + column0 + threadIdx.x] = of_block;
      if (PHASE == FUSED) block_amax[threadIdx.x] = of_block;
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
          amax = max_abs(amax, cluster_load(shared_address(&block_amax[threadIdx.x]), rank));
#endif
      if (PHASE == APPLY)
        for (int i = 0; i < p.chunks; ++i)
          amax = max_abs(amax, p.partial[(i64(head_batch) * p.chunks + i) * p.D + column0 + threadIdx.x]);
      const bool zero = is_zero_group(amax);
      inverse_smem[threadIdx.x] = zero ? 0.0f : __fdiv_rn(p.vmax, amax);
      if (part == 0) {
        const i64 at = i64(head_batch) * p.D + column0 + threadIdx.x;
        p.scale[at] = zero ? 0.0f : amax * __fdiv_rn(1.0f, p.vmax);
        p.mean[at] = centred ? mean_smem[threadIdx.x] : 0.0f;
      }
    }
#if __CUDA_ARCH__ >= 900
    if (PHASE == FUSED) cluster_arrive();  // nobody leaves while its shared memory may be read
#endif
    __syncthreads();

    if (busy && token < padded) {
      unsigned char* out = p.v8 + (i64(p.cu ? h : head_batch) * p.D + column) * p.rows + sequence.row + token;
      if (centred) convert<true>(piece, threads, mean, inverse_smem + lane % 4 * 8, count, out, p.rows);
      else convert<false>(piece, threads, mean, inverse_smem + lane % 4 * 8, count, out, p.rows);
    }
#if __CUDA_ARCH__ >= 900
    if (PHASE == FUSED) cluster_wait();
#endif
  }
}

}  // namespace sage::quant_v
