// Rows to int8 in their own shape: sage2_quant_int8_{f16,bf16}.
//
// Definition as in quant_k.cuh, with a given mean (or none), and a scale for `block` consecutive tokens or for each of its
// four residue groups (token mod 8) / 2. A block of 128 threads takes one block of tokens and reads it twice, the second
// time from cache.
#include <sage/rows.h>

using namespace sage;

namespace {

template <bool ALIGNED>
SAGE_DEVICE void quantize(const QuantInt8Params& p) {
  __shared__ int group_bits[4];
  const int blocks = (p.S + p.block - 1) / p.block;
  const int part = blockIdx.x % blocks;
  const int h = blockIdx.x / blocks % p.H, b = blockIdx.x / blocks / p.H;
  const int first = part * p.block, last = min(first + p.block, p.S);
  const u16* head = static_cast<const u16*>(p.x.data) + b * p.x.batch + h * p.x.head;
  const float* mean = p.mean ? p.mean + (i64(b) * p.H + h) * p.head_dim : nullptr;
  const int chunks = (p.head_dim + 7) / 8, pieces = (last - first) * chunks;
  const auto group_of = [&](int token) { return p.groups == 1 ? 0 : token % 8 / 2; };
  const auto read = [&](int at, float (&value)[8]) {
    const int token = first + at / chunks, column = at % chunks * 8;
    unpack_columns<Input>(load_columns<ALIGNED>(head + token * p.x.token, column, p.head_dim, true), value);
#pragma unroll
    for (int j = 0; j < 8; ++j)
      if (mean && column + j < p.head_dim) value[j] -= mean[column + j];
  };

  if (threadIdx.x < 4) group_bits[threadIdx.x] = 0;
  __syncthreads();
  float amax[4] = {};
  for (int at = threadIdx.x; at < pieces; at += 128) {
    float value[8], largest = 0;
    read(at, value);
#pragma unroll
    for (int j = 0; j < 8; ++j) largest = max_abs(largest, value[j]);
    const int group = group_of(first + at / chunks);
#pragma unroll
    for (int g = 0; g < 4; ++g)
      if (g == group) amax[g] = max_abs(amax[g], largest);
  }
#pragma unroll
  for (int g = 0; g < 4; ++g) {  // bits of non-negative floats order like the floats, NaN above all
    const float largest = lanes_max_abs<32>(amax[g]);
    if (threadIdx.x % 32 == 0 && g < p.groups) atomicMax(&group_bits[g], __float_as_int(largest) & 0x7fffffff);
  }
  __syncthreads();
  if (threadIdx.x < p.groups) {
    const float largest = __int_as_float(group_bits[threadIdx.x]);
    p.scale[((i64(b) * p.H + h) * blocks + part) * p.groups + threadIdx.x] =
        is_zero_group(largest) ? 0.0f : largest * (1.0f / 127.0f);
  }
  const bool whole = p.head_dim % 8 == 0;  // x8 is contiguous, so its rows then start on 8 bytes
  signed char* out = p.x8 + b * p.x8_batch + h * p.x8_head;
  for (int at = threadIdx.x; at < pieces; at += 128) {
    const int token = first + at / chunks, column = at % chunks * 8;
    const float largest = __int_as_float(group_bits[group_of(token)]);
    const float inverse = is_zero_group(largest) ? 0.0f : __fdiv_rn(127.0f, largest);
    float value[8];
    read(at, value);
    uint2 packed;
    packed.x = pack_scaled_s8(value[0], value[1], value[2], value[3], inverse);
    packed.y = pack_scaled_s8(value[4], value[5], value[6], value[7], inverse);
    signed char* row = out + token * p.x8_token + column;
    if (whole) {
      *reinterpret_cast<uint2*>(row) = packed;
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (column + j < p.head_dim) row[j] = static_cast<signed char>((j < 4 ? packed.x : packed.y) >> (j % 4 * 8));
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128) ENTRY(const __grid_constant__ QuantInt8Params p) {
  if (is_aligned(p.x, p.head_dim)) quantize<true>(p);
  else quantize<false>(p);
}
