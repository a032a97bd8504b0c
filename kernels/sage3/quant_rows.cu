// Q and K to NVFP4: (x - mean) / 2^e in blocks of 16 channels, one thread block for each tile of 128 tokens.
//
// Parameters: ENTRY the kernel's name; HEAD_DIM 64 or 128; OPERAND_A 1 for Q, 0 for K, whose tokens are permuted;
// DTYPE_BF16 0 or 1. Grid: x = tiles * heads * batches; 256 threads.
#include "sage/nvfp4.cuh"
#include "sage/sage3_layout.cuh"
#include "sage/sage3_params.h"
#include "sage/sage3_tile.cuh"

using namespace sage;

namespace {

constexpr int D = HEAD_DIM;
constexpr int kChunks = D / 8;                           // 8 channels of one row: what one thread loads
constexpr int kRowsPerPass = kQuantizeThreads / kChunks;
constexpr int kPasses = kTile / kRowsPerPass;
constexpr int kSteps = D / 64;

SAGE_DEVICE int value_word(int row, int chunk) {
#if OPERAND_A
  return OperandA<kSteps>::value_word(row, chunk);
#else
  return OperandB<kSteps>::value_word(row / 32 * 32 + permuted_row(row % 32), chunk);
#endif
}

SAGE_DEVICE int scale_byte(int row, int block) {
#if OPERAND_A
  return OperandA<kSteps>::scale_byte(row, block);
#else
  return OperandB<kSteps>::scale_byte(row / 32 * 32 + permuted_row(row % 32), block);
#endif
}

// The mean over the tile's valid rows of this thread's eight channels. Sums run in a fixed order.
SAGE_DEVICE void tile_mean(float (&mean)[8], const float (&x)[kPasses][8], float* sums_smem, int chunk,
                                          int first_row, int valid, float* mean_out) {
  float sum[8] = {};
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass)
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += x[pass][i];
#pragma unroll
  for (int i = 0; i < 8; ++i) sums_smem[first_row * D + chunk * 8 + i] = sum[i];
  __syncthreads();
  if (threadIdx.x < D) {
    float total = 0.0f;
    for (int row = 0; row < kRowsPerPass; ++row) total += sums_smem[row * D + threadIdx.x];
    total = __fdiv_rn(total, static_cast<float>(valid));
    sums_smem[threadIdx.x] = total;  // row 0 of this column was read by this thread alone
    mean_out[threadIdx.x] = total;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 8; ++i) mean[i] = sums_smem[chunk * 8 + i];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kQuantizeThreads) ENTRY(const __grid_constant__ Sage3RowsParams p) {
  __shared__ __align__(16) u8 record[Record<D>::kScaledBytes];
  __shared__ float sums[kRowsPerPass * D];
  __shared__ u32 scratch[kQuantizeThreads / 32];

  int tile = blockIdx.x % p.tiles;
  int pair = blockIdx.x / p.tiles;
  int head = pair % p.heads;
  int batch = pair / p.heads;
  int chunk = threadIdx.x % kChunks;
  int first_row = threadIdx.x / kChunks;
  int valid = min(kTile, p.length - tile * kTile);
  const u16* x_gmem = row_of(p.x, batch, head, static_cast<i64>(tile) * kTile);
  i64 kv_pair = batch * (p.heads / p.heads_per_kv) + head / p.heads_per_kv;

  float x[kPasses][8];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    int row = first_row + pass * kRowsPerPass;
    uint4 words = make_uint4(0, 0, 0, 0);
    if (row < valid) words = load8(x_gmem + row * p.x.token, chunk * 8, p.head_dim, p.aligned);
    const u32 pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float2 two = Input::unpack(pairs[i]);
      x[pass][2 * i] = two.x, x[pass][2 * i + 1] = two.y;
    }
  }

  if (p.k_mean_dot != nullptr) {
    float k_mean[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) k_mean[i] = p.k_mean[kv_pair * D + chunk * 8 + i];
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      float dot = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; ++i) dot += x[pass][i] * k_mean[i];
#pragma unroll
      for (int offset = kChunks / 2; offset > 0; offset /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, offset);
      int row = first_row + pass * kRowsPerPass;
      if (chunk == 0 && row < valid)
        p.k_mean_dot[static_cast<i64>(pair) * p.length + tile * kTile + row] = dot;
    }
  }

  float mean[8];
  if (p.mean == nullptr) {
    tile_mean(mean, x, sums, chunk, first_row, valid, p.mean_out + (static_cast<i64>(pair) * p.tiles + tile) * D);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) mean[i] = p.mean[static_cast<i64>(pair) * D + chunk * 8 + i];
  }

  u32 amax = 0;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    bool inside = first_row + pass * kRowsPerPass < valid;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      x[pass][i] = inside ? x[pass][i] - mean[i] : 0.0f;
      amax = max(amax, magnitude(x[pass][i]));
    }
  }
  int exponent = power_of_two_scale(__uint_as_float(block_max(amax, scratch)));
  float down = exp2_int(-exponent);

  u32* values = reinterpret_cast<u32*>(record);
  u8* scales = record + Record<D>::kValueBytes;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    u32 block_amax = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      x[pass][i] *= down;
      block_amax = max(block_amax, magnitude(x[pass][i]));
    }
    block_amax = max(block_amax, __shfl_xor_sync(0xffffffffu, block_amax, 1));  // two threads share a block of 16
    float reciprocal;
    u32 byte = block_scale(__uint_as_float(block_amax), reciprocal);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[pass][i] *= reciprocal;
    int row = first_row + pass * kRowsPerPass;
    values[value_word(row, chunk)] = e2m1x8(x[pass]);
    if (chunk % 2 == 0) scales[scale_byte(row, chunk / 2)] = static_cast<u8>(byte);
  }
  if (threadIdx.x < 4)
    reinterpret_cast<float*>(scales + Record<D>::kScaleBytes)[threadIdx.x] =
      threadIdx.x == 0 ? exp2_int(exponent) : 0.0f;
  __syncthreads();
  store_record<Record<D>::kScaledBytes>(p.out + static_cast<i64>(blockIdx.x) * Record<D>::kScaledBytes, record);
}
