// What smoothing Q takes out of the logits: delta[r, key] = q_mean[r] . (K[key] - k_mean) * sm_scale * log2(e).
//
// The product runs on 16-bit mma with q_mean split into a high and a low part, so that it has at least 16 significant
// bits on the query side and exact K on the other. Each warp: 32 mean rows x 32 keys; a thread block: 32 x 128.
//
// Parameters: ENTRY; HEAD_DIM 64 or 128; DTYPE_BF16 0 or 1. Grid: x = key tiles * ceil(rows / 32) * pairs; 128 threads.
#include "sage/sage3_layout.cuh"
#include "sage/sage3_params.h"
#include "sage/sage3_tile.cuh"

using namespace sage;

namespace {

constexpr int D = HEAD_DIM;
constexpr int kWarpKeys = 32;
constexpr int kWarpRows = 32;

SAGE_DEVICE void mma_16x8x16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if DTYPE_BF16
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
#endif
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
    : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two means as 16-bit high and low parts.
SAGE_DEVICE void split(float2 x, u32& high, u32& low) {
  high = Input::pack(x.x, x.y);
  float2 rounded = Input::unpack(high);
  low = Input::pack(x.x - rounded.x, x.y - rounded.y);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128) ENTRY(const __grid_constant__ Sage3DeltaParams p) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int g = lane / 4, t = lane % 4;
  int key_tile = blockIdx.x % p.k_tiles;
  int row_groups = (p.rows + kWarpRows - 1) / kWarpRows;
  int first_row = blockIdx.x / p.k_tiles % row_groups * kWarpRows;
  int local_pair = blockIdx.x / p.k_tiles / row_groups;
  int first_key = key_tile * kTile + warp * kWarpKeys;
  if (p.causal && key_tile >= first_row + kWarpRows) return;  // query tile r sees key tiles 0..r

  i64 pair = p.first_pair + static_cast<i64>(local_pair);
  i64 batch = pair / p.heads_q;
  i64 kv_head = pair % p.heads_q / p.heads_per_kv;
  const float* k_mean = p.k_mean + (batch * (p.heads_q / p.heads_per_kv) + kv_head) * D;
  const float* q_mean = p.q_mean + pair * p.rows * D;
  const u16* k_gmem = row_of(p.k, batch, kv_head, 0);

  float acc[2][4][4] = {};
  float dot[2][2] = {};  // q_mean . k_mean of rows g and g + 8 of each m16 tile
#pragma unroll
  for (int step = 0; step < D / 16; ++step) {
    u32 b[4][2];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      int key = first_key + n * 8 + g;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int channel = step * 16 + half * 8 + 2 * t;
        u32 bits = 0;
        if (key < p.length) {
          const u16* row = k_gmem + key * p.k.token;
          if (channel < p.head_dim) bits = row[channel];
          if (channel + 1 < p.head_dim) bits |= static_cast<u32>(row[channel + 1]) << 16;
        }
        b[n][half] = bits;
      }
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      u32 high[4], low[4];
#pragma unroll
      for (int reg = 0; reg < 4; ++reg) {
        int row = first_row + m * 16 + g + 8 * (reg % 2);
        int channel = step * 16 + (reg / 2) * 8 + 2 * t;
        float2 mean = make_float2(0.0f, 0.0f);
        if (row < p.rows) mean = *reinterpret_cast<const float2*>(q_mean + static_cast<i64>(row) * D + channel);
        dot[m][reg % 2] += mean.x * k_mean[channel] + mean.y * k_mean[channel + 1];
        split(mean, high[reg], low[reg]);
      }
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        mma_16x8x16(acc[m][n], high, b[n]);
        mma_16x8x16(acc[m][n], low, b[n]);
      }
    }
  }

  i64 stride = static_cast<i64>(p.k_tiles) * kTile;
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      dot[m][r] += __shfl_xor_sync(0xffffffffu, dot[m][r], 1);
      dot[m][r] += __shfl_xor_sync(0xffffffffu, dot[m][r], 2);
      int row = first_row + m * 16 + g + 8 * r;
      if (row >= p.rows) continue;
      float* out = p.delta + (static_cast<i64>(local_pair) * p.rows + row) * stride + first_key + 2 * t;
#pragma unroll
      for (int n = 0; n < 4; ++n)
        *reinterpret_cast<float2*>(out + n * 8) =
          make_float2((acc[m][n][2 * r] - dot[m][r]) * p.scale_log2,
                (acc[m][n][2 * r + 1] - dot[m][r]) * p.scale_log2);
    }
  }
}
