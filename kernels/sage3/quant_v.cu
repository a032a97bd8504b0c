// V to NVFP4, transposed: V / 2^e in blocks of 16 tokens of one channel, one thread block for each tile of 128 tokens.
//
// Parameters: ENTRY; HEAD_DIM 64 or 128; DTYPE_BF16 0 or 1. Grid: x = tiles * heads * batches; 256 threads.
#include "sage/nvfp4.cuh"
#include "sage/sage3_layout.cuh"
#include "sage/sage3_params.h"
#include "sage/sage3_tile.cuh"

using namespace sage;

namespace {

constexpr int D = HEAD_DIM;
constexpr int kChunks = D / 8;
constexpr int kRowsPerPass = kQuantizeThreads / kChunks;
constexpr int kBlocks = kTile / 16;
constexpr int kSteps = kTile / 64;

}  // namespace

extern "C" __global__ void __launch_bounds__(kQuantizeThreads) ENTRY(const __grid_constant__ Sage3ChannelsParams p) {
  __shared__ __align__(16) u16 tile_smem[kTile * D];
  __shared__ __align__(16) u8 record[Record<D>::kBytes];

  int tile = blockIdx.x % p.tiles;
  int pair = blockIdx.x / p.tiles;
  int head = pair % p.heads;
  int batch = pair / p.heads;
  int valid = min(kTile, p.length - tile * kTile);
  const u16* x_gmem = row_of(p.x, batch, head, static_cast<i64>(tile) * kTile);

  int chunk = threadIdx.x % kChunks;
#pragma unroll
  for (int row = threadIdx.x / kChunks; row < kTile; row += kRowsPerPass) {
    uint4 words = make_uint4(0, 0, 0, 0);
    if (row < valid) words = load8(x_gmem + row * p.x.token, chunk * 8, p.head_dim, p.aligned);
    *reinterpret_cast<uint4*>(tile_smem + row * D + chunk * 8) = words;
  }
  __syncthreads();

  // Neighbouring threads take neighbouring channels: two of them share a bank and the same word of it.
  int channel = threadIdx.x % D;
  float amax = channel < p.head_dim ? p.amax[static_cast<i64>(pair) * p.head_dim + channel] : 0.0f;
  int exponent = power_of_two_scale(amax);
  float down = exp2_int(-exponent);
  if (tile == 0 && threadIdx.x < D) p.scale_out[static_cast<i64>(pair) * D + channel] = exp2_int(exponent);

  u32* values = reinterpret_cast<u32*>(record);
  u8* scales = record + Record<D>::kValueBytes;
#pragma unroll
  for (int block = threadIdx.x / D; block < kBlocks; block += kQuantizeThreads / D) {
    float x[2][8];
    u32 block_amax = 0;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float value = Input::unpack(tile_smem[(block * 16 + i) * D + channel]).x * down;
      x[i / 8][i % 8] = value;
      block_amax = max(block_amax, magnitude(value));
    }
    float reciprocal;
    u32 byte = block_scale(__uint_as_float(block_amax), reciprocal);
#pragma unroll
    for (int i = 0; i < 16; ++i) x[i / 8][i % 8] *= reciprocal;
    values[OperandB<kSteps>::value_word(channel, 2 * block)] = e2m1x8(x[0]);
    values[OperandB<kSteps>::value_word(channel, 2 * block + 1)] = e2m1x8(x[1]);
    scales[OperandB<kSteps>::scale_byte(channel, block)] = static_cast<u8>(byte);
  }
  __syncthreads();
  store_record<Record<D>::kBytes>(p.out + static_cast<i64>(blockIdx.x) * Record<D>::kBytes, record);
}
