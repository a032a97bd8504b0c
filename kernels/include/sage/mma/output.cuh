// The accumulator O: rescaling, the product with V, and the way out.
#pragma once

#include "config.cuh"
#include "instructions.cuh"
#include "load.cuh"

namespace sage {

using PStep = u32[M_TILES][4];
using PTile = PStep[PV_STEPS];

SAGE_DEVICE void scale_o(OTile& o, const float (&alpha)[ROWS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++)
#pragma unroll
    for (int n = 0; n < O_TILES; n++) {
#if PV == PV_ACC16
      o[i / 2][n][i % 2] = multiply_f16x2(o[i / 2][n][i % 2], Half::pack(alpha[i], alpha[i]));
#else
      o[i / 2][n][i % 2 * 2] *= alpha[i];
      o[i / 2][n][i % 2 * 2 + 1] *= alpha[i];
#endif
    }
}

/// P = 2^(S - m) of k step k as the A operand of the second product; its row sums, before rounding, are added to l. Two
/// neighbouring tiles of S are one 16-bit A fragment as they lie; in 8 bits four are, in the token order that v8 has.
SAGE_DEVICE void exponentials(const STile& s, int k, float scale, const float (&bias)[ROWS], float (&l)[ROWS], PStep& a) {
  constexpr int width = PV_K / 16;  // tiles of S in one register of A
#pragma unroll
  for (int i = 0; i < M_TILES; i++)
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const int row = 2 * i + r % 2, n = (2 * k + r / 2) * width;
      float e[2 * width];
#pragma unroll
      for (int x = 0; x < 2 * width; x++) {
        const float logit = __uint_as_float(s[i][n + x / 2][r % 2 * 2 + x % 2]);
        e[x] = exp2_approx(MASK ? logit + bias[row] : __fmaf_rn(logit, scale, bias[row]));
        l[row] += e[x];
      }
#if PV >= PV_F8
      a[i][r] = pack_e4m3(e[0], e[1], e[2], e[3]);
#else
      a[i][r] = pack16(e[0], e[1], PV == PV_BF16);
#endif
    }
}

/// Softmax of the whole tile: P as A operands, row sums into their parking place.
SAGE_DEVICE void exponentials(u32 smem, const STile& s, float scale, const float (&m)[ROWS], PTile& a) {
  float bias[ROWS], l[ROWS];
  parked_rows(smem, SUM, l);
#pragma unroll
  for (int i = 0; i < ROWS; i++) bias[i] = MASK ? kLog2PMax - m[i] : __fmaf_rn(-kMagic, scale, kLog2PMax - m[i]);
#pragma unroll
  for (int k = 0; k < PV_STEPS; k++) exponentials(s, k, scale, bias, l, a[k]);
  park_rows(smem, SUM, l);
}

/// O += P V.
SAGE_DEVICE void multiply_pv(u32 smem, const PTile& a, OTile& o) {
  const u32 lane = recomputed(threadIdx.x) % 32;
#if PV == PV_F16 || PV == PV_BF16
#pragma unroll
  for (int k = 0; k < PV_STEPS; k++)
#pragma unroll
    for (int n = 0; n < O_TILES; n += 2) {
      // Matrices: channels from 8n, tokens from 16k and from 16k + 8; then the same of channels from 8(n + 1).
      u32 b[4];
      ldmatrix_x4_trans(b, smem + V_SMEM + swizzled<2 * HEAD_DIM>(k * 16 + lane % 16, n + lane / 16));
#pragma unroll
      for (int i = 0; i < M_TILES; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
#if PV == PV_F16
          sm80_16x8x16_f32f16f16(o[i][n + h], a[k][i], b[2 * h], b[2 * h + 1]);
#else
          sm80_16x8x16_f32bf16bf16(o[i][n + h], a[k][i], b[2 * h], b[2 * h + 1]);
#endif
        }
    }
#elif PV == PV_ACC16 || PV == PV_FLUSH16
#pragma unroll
  for (int n = 0; n < O_TILES; n++) {
    if (n % 4 == 0) __syncwarp();  // keeps the next channels from coming too early
    u32 tile[M_TILES][2] = {};
#pragma unroll
    for (int k = 0; k < PV_STEPS; k += 2) {
      // Matrices: channels from 8n, tokens from 16k, 16k + 8, 16k + 16 and 16k + 24: two k steps.
      u32 b[4];
      ldmatrix_x4_trans(b, smem + V_SMEM + swizzled<2 * HEAD_DIM>(k * 16 + lane, n));
#pragma unroll
      for (int i = 0; i < M_TILES; i++) {
        sm80_16x8x16_f16f16f16(tile[i], a[k][i], b[0], b[1]);
        sm80_16x8x16_f16f16f16(tile[i], a[k + 1][i], b[2], b[3]);
      }
    }
    // One rounding of O a tile, where sums that start from O would round it at every step.
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#if PV == PV_ACC16
      o[i / 2][n][i % 2] = add_f16x2(o[i / 2][n][i % 2], tile[i / 2][i % 2]);
#else
      const float2 y = Half::unpack(tile[i / 2][i % 2]);
      o[i / 2][n][i % 2 * 2] += y.x;
      o[i / 2][n][i % 2 * 2 + 1] += y.y;
#endif
    }
  }
#else
#pragma unroll
  for (int n = 0; n < O_TILES; n++) {
    // Matrices: channels from 8n, tokens from 0, 16, 32 and 48: both k steps.
    u32 b[4];
    ldmatrix_x4(b, smem + V_SMEM + swizzled<BLOCK_N>(n * 8 + lane % 8, lane / 8));
#pragma unroll
    for (int i = 0; i < M_TILES; i++) {
#if PV == PV_F8
      float tile[4] = {};
      sm89_16x8x32_f32e4m3e4m3(tile, a[0][i], b[0], b[1]);
      sm89_16x8x32_f32e4m3e4m3(tile, a[1][i], b[2], b[3]);
#pragma unroll
      for (int c = 0; c < 4; c++) o[i][n][c] += tile[c];
#else
      u32 tile[2] = {};
      sm89_16x8x32_f16e4m3e4m3(tile, a[0][i], b[0], b[1]);
      sm89_16x8x32_f16e4m3e4m3(tile, a[1][i], b[2], b[3]);
#pragma unroll
      for (int r = 0; r < 2; r++) {
        const float2 y = Half::unpack(tile[r]);
        o[i][n][2 * r] += y.x;
        o[i][n][2 * r + 1] += y.y;
      }
#endif
    }
  }
#endif
}

/// Normalise, and store O and lse. O passes through shared memory, where K, V and Q were, to leave in pieces of 16 bytes.
SAGE_DEVICE void store(const AttnParams& p, u32 smem, const float* dots, const OTile& o) {
  const Lane at = this_lane();
  Position block;
  locate(p, block);
  const int first = block.q_tile * BLOCK_M + at.warp * WARP_M;
  const u32 stage = smem + at.warp * WARP_M * HEAD_DIM * 2;
  const i64 channels = statistics(p, block) + 2 * at.t;
  float inverse[ROWS], m[ROWS], l[ROWS];
  parked_rows(smem, MAXIMUM, m);
  parked_rows(smem, SUM, l);
  __syncthreads();  // nobody reads K, V or Q any more
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    l[i] = lanes_sum<4>(l[i]);
    const bool empty = l[i] == 0.0f;
    inverse[i] = empty ? 0.0f : __frcp_rn(l[i]);
    const int row = at.g + 8 * i;
    if (p.lse && at.t == 0 && first + row < block.q_len) {
      const float shift = p.k_mean ? dots[at.warp * WARP_M + row] * p.scale_log2 : 0.0f;
      p.lse[block.batch * p.lse_batch + block.q_head * p.lse_head + block.q_first + first + row] =
          empty ? __uint_as_float(kNegInfinity) : (m[i] + (__log2f(l[i]) - kLog2PMax) + shift) * 0.6931471806f;
    }
  }
#pragma unroll
  for (int n = 0; n < O_TILES; n++) {
    float2 scale = make_float2(1.0f, 1.0f), mean = make_float2(0.0f, 0.0f);
    if (kF8) scale = __ldg(reinterpret_cast<const float2*>(p.v_scale + channels + n * 8));
    if (p.v_mean) mean = __ldg(reinterpret_cast<const float2*>(p.v_mean + channels + n * 8));
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#if PV == PV_ACC16
      const float2 x = Half::unpack(o[i / 2][n][i % 2]);
#else
      const float2 x = make_float2(o[i / 2][n][i % 2 * 2], o[i / 2][n][i % 2 * 2 + 1]);
#endif
      const bool empty = inverse[i] == 0.0f;
      const float a = __fmaf_rn(x.x * inverse[i], scale.x, empty ? 0.0f : mean.x);
      const float b = __fmaf_rn(x.y * inverse[i], scale.y, empty ? 0.0f : mean.y);
      store_shared_4(stage + swizzled<2 * HEAD_DIM>(at.g + 8 * i, n) + 4 * at.t, pack16(a, b, p.bf16));
    }
  }
  __syncwarp();
  constexpr int chunks = HEAD_DIM / 8;
  const int chunk = at.lane % chunks;
  u16* out = static_cast<u16*>(p.out.data) + block.batch * p.out.batch + block.q_head * p.out.head +
             static_cast<i64>(block.q_first + first) * p.out.token + chunk * 8;
#pragma unroll 4
  for (int row = at.lane / chunks; row < WARP_M; row += 32 / chunks) {
    if (first + row < block.q_len && chunk * 8 < p.head_dim)
      *reinterpret_cast<uint4*>(out + row * p.out.token) = load_shared_16(stage + swizzled<2 * HEAD_DIM>(row, chunk));
  }
}

}  // namespace sage
