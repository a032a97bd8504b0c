// V to e4m3, transposed: sage2_quant_v_{fused,amax,apply}_{f16,bf16}. sm_89 and newer; fused from sm_90.
//
// Definition, fp32 throughout, round to nearest even:
//   mean    smooth ? the sampled mean of rows.h : 0          one vector for a (batch, head) or sequence
//   y       float(v) - mean, 0 for padding tokens and columns
//   amax    largest |y| of a channel, over all tokens
//   scale   amax * fp32(1 / vmax)                             0 for an all-zero channel
//   v8      e4m3(y * (vmax / amax)), saturated at 448         NaN stays NaN, in its channel
// v8 is [channel][token]; byte 4w + i of 16 tokens is token 2w + {0, 1, 8, 9}[i].
//
// A thread holds 16 tokens of 8 channels in registers, a block up to 1024 tokens of 32 channels. The maximum over all
// tokens: MODE 0 (fused) exchanges it in the cluster that holds the whole sequence, so V is read once; MODE 1 (amax)
// writes the block's share to `partial`, and MODE 2 (apply) reads V again and folds the shares. Each 16-byte store
// completes 128-byte lines together with seven neighbours.
#include <sage/rows.h>

using namespace sage;

namespace {

constexpr int FUSED = 0, AMAX = 1, APPLY = 2;
constexpr int COLUMNS = 32;  // channels of a block: four 16-byte pieces

template <bool ALIGNED>
SAGE_DEVICE void load_tokens(uint4 (&piece)[16], const u16* head, i64 stride, int token, int length, int column,
                             int head_dim) {
#pragma unroll
  for (int i = 0; i < 16; ++i)
    piece[i] = load_columns<ALIGNED>(head + (token + i) * stride, column, head_dim, token + i < length);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 2) ENTRY(const __grid_constant__ QuantVParams p) {
  __shared__ float warp_amax[8][COLUMNS];
  __shared__ float block_amax[COLUMNS];
  __shared__ float inverse_smem[COLUMNS];
  extern __shared__ float slots[];  // for the mean: 128 x 32, only with smooth
  allow_dependents();

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int part = blockIdx.x % p.chunks;
  const int groups = p.D / COLUMNS;
  const int column0 = blockIdx.x / p.chunks % groups * COLUMNS, column = column0 + lane % 4 * 8;
  const int head_batch = blockIdx.x / p.chunks / groups;
  const int h = head_batch % p.H, b = head_batch / p.H;
  const Sequence sequence = sequence_of(p.cu, b, p.S);
  const int padded = (sequence.length + 127) / 128 * 128;
  const u16* head = static_cast<const u16*>(p.v.data) + (p.cu ? 0 : b * p.v.batch) + h * p.v.head + sequence.first * p.v.token;
  const int token = part * p.chunk + threadIdx.x / 4 * 16;

  uint4 piece[16];
  if (p.aligned) load_tokens<true>(piece, head, p.v.token, token, sequence.length, column, p.head_dim);
  else load_tokens<false>(piece, head, p.v.token, token, sequence.length, column, p.head_dim);

  float mean[8] = {};
  if (p.smooth && sequence.length > 0) {
    if (p.aligned) mean_of_32_columns<Input, true>(head, p.v.token, sequence.length, column0, p.head_dim, slots);
    else mean_of_32_columns<Input, false>(head, p.v.token, sequence.length, column0, p.head_dim, slots);
#pragma unroll
    for (int j = 0; j < 8; ++j) mean[j] = slots[lane % 4 * 8 + j];
  }

  if (MODE != APPLY) {
    float amax[8] = {};
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float value[8];
      unpack_columns<Input>(piece[i], value);
      const bool there = token + i < sequence.length;
#pragma unroll
      for (int j = 0; j < 8; ++j) amax[j] = max_abs(amax[j], there ? value[j] - mean[j] : 0.0f);
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      amax[j] = lanes_max_abs<8, 4>(amax[j]);
      if (lane < 4) warp_amax[warp][lane * 8 + j] = amax[j];
    }
    __syncthreads();
    if (threadIdx.x < COLUMNS) {
      float of_block = 0;
      for (int w = 0; w < int(blockDim.x) / 32; ++w) of_block = max_abs(of_block, warp_amax[w][threadIdx.x]);
      if (MODE == AMAX) p.partial[(i64(head_batch) * p.chunks + part) * p.D + column0 + threadIdx.x] = of_block;
      block_amax[threadIdx.x] = of_block;
    }
  }

#pragma unroll
  for (int i = 0; i < 16; ++i) keep_packed(piece[i]);
  const int left = sequence.length - token;  // tokens of this thread that are there

  if (MODE != AMAX) {
#if __CUDA_ARCH__ >= 900
    if (MODE == FUSED) cluster_sync();
#endif
    if (threadIdx.x < COLUMNS) {
      float amax = 0;
#if __CUDA_ARCH__ >= 900
      if (MODE == FUSED)
        for (int rank = 0; rank < p.chunks; ++rank)
          amax = max_abs(amax, cluster_load(shared_address(&block_amax[threadIdx.x]), rank));
#endif
      if (MODE == APPLY)
        for (int i = 0; i < p.chunks; ++i)
          amax = max_abs(amax, p.partial[(i64(head_batch) * p.chunks + i) * p.D + column0 + threadIdx.x]);
      const bool zero = is_zero_group(amax);
      inverse_smem[threadIdx.x] = zero ? 0.0f : __fdiv_rn(p.vmax, amax);
      if (part == 0) {
        const i64 at = i64(head_batch) * p.D + column0 + threadIdx.x;
        p.scale[at] = zero ? 0.0f : amax * __fdiv_rn(1.0f, p.vmax);
        p.mean[at] = p.smooth && sequence.length > 0 ? slots[threadIdx.x] : 0.0f;
      }
    }
    __syncthreads();

    if (token < padded) {
      unsigned char* out = p.v8 + (i64(p.cu ? h : head_batch) * p.D + column) * p.rows + sequence.row + token;
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {  // channels 2 * pair and 2 * pair + 1 of the eight
        uint4 low, high;
        const float mean_low = mean[2 * pair], mean_high = mean[2 * pair + 1];
        const float scale_low = inverse_smem[lane % 4 * 8 + 2 * pair], scale_high = inverse_smem[lane % 4 * 8 + 2 * pair + 1];
        float2 y[16];
#pragma unroll
        for (int i = 0; i < 16; ++i) {
          const u32 word = pair == 0 ? piece[i].x : pair == 1 ? piece[i].y : pair == 2 ? piece[i].z : piece[i].w;
          const float2 value = Input::unpack(word);
          const bool there = i < left;
          y[i].x = there ? (value.x - mean_low) * scale_low : 0.0f;
          y[i].y = there ? (value.y - mean_high) * scale_high : 0.0f;
        }
        low = make_uint4(pack_e4m3(y[0].x, y[1].x, y[8].x, y[9].x), pack_e4m3(y[2].x, y[3].x, y[10].x, y[11].x),
                         pack_e4m3(y[4].x, y[5].x, y[12].x, y[13].x), pack_e4m3(y[6].x, y[7].x, y[14].x, y[15].x));
        high = make_uint4(pack_e4m3(y[0].y, y[1].y, y[8].y, y[9].y), pack_e4m3(y[2].y, y[3].y, y[10].y, y[11].y),
                          pack_e4m3(y[4].y, y[5].y, y[12].y, y[13].y), pack_e4m3(y[6].y, y[7].y, y[14].y, y[15].y));
        *reinterpret_cast<uint4*>(out + i64(2 * pair) * p.rows) = low;
        *reinterpret_cast<uint4*>(out + i64(2 * pair + 1) * p.rows) = high;
      }
    }
#if __CUDA_ARCH__ >= 900
    if (MODE == FUSED) cluster_sync();  // nobody leaves while its shared memory may be read
#endif
  }
  // A kernel that waits for this one thereby waits for K's too.
  wait_for_producers();
}
