// One tile of S in registers: Q K^T, masks, row maxima.
#pragma once

#include "config.cuh"
#include "instructions.cuh"
#include "load.cuh"

namespace sage {

/// S = Q K^T in int8. The sums start at the bits of 1.5 * 2^23, so that each, read as a float, is 1.5 * 2^23 + S, and
/// dequantization is one multiply-add without a conversion.
SAGE_DEVICE void multiply_qk(u32 smem, STile& s) {
  const u32 lane = recomputed(threadIdx.x) % 32, row = lane / 16 * 8 + lane % 8, half = lane / 8 % 2;
#pragma unroll
  for (int j = 0; j < QK_STEPS; j++) {
    uint4 a[M_TILES];
#pragma unroll
    for (int i = 0; i < M_TILES; i++) a[i] = load_shared_16(q_fragment(smem, i, j));
#pragma unroll
    for (int n = 0; n < S_TILES; n += 2) {
      // Matrices: tokens from 8n, channels from 32j and from 32j + 16; then the same of tokens from 8(n + 1).
      u32 b[4];
      ldmatrix_x4(b, smem + K_SMEM + swizzled<HEAD_DIM>(n * 8 + row, 2 * j + half));
#pragma unroll
      for (int i = 0; i < M_TILES; i++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          if (j == 0)
            sm80_16x8x32_s32s8s8(s[i][n + h], a[i], b[2 * h], b[2 * h + 1], kMagicBits);
          else
            sm80_16x8x32_s32s8s8(s[i][n + h], a[i], b[2 * h], b[2 * h + 1]);
        }
      }
    }
  }
}

/// Take columns from limit[i] on out of row i.
SAGE_DEVICE void mask_columns(STile& s, const int (&limit)[ROWS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++)
#pragma unroll
    for (int n = 0; n < S_TILES; n++)
#pragma unroll
      for (int c = 0; c < 2; c++)
        if (n * 8 + c >= limit[i]) s[i / 2][n][i % 2 * 2 + c] = kNegInfinity;
}

#if MASK
/// Turn S into base-2 logits with the attention mask added. `row` and `column` are the lane's first of each; elements
/// outside the mask read its last row or column, and are masked or not stored later.
template <class T, class Apply>
SAGE_DEVICE void apply_mask(const AttnParams& p, const Position& block, int row, int column, float scale, STile& s,
                            Apply apply) {
  const T* mask = static_cast<const T*>(p.mask) + block.batch * p.mask_stride[0] + block.q_head * p.mask_stride[1];
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    const T* line = mask + min_int(row + 8 * i, block.q_len - 1) * p.mask_stride[2];
#pragma unroll
    for (int n = 0; n < S_TILES; n++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        u32& x = s[i / 2][n][i % 2 * 2 + c];
        const float logit = __fmaf_rn(__uint_as_float(x), scale, -kMagic * scale);
        x = __float_as_uint(apply(logit, __ldg(line + min_int(column + n * 8 + c, block.k_len - 1) * p.mask_stride[3])));
      }
  }
}

SAGE_DEVICE void apply_mask(const AttnParams& p, const Position& block, int row, int column, float scale, STile& s) {
  constexpr float log2e = 1.4426950408889634f;
  switch (p.mask_kind) {
    case MASK_BOOL:
      apply_mask<u8>(p, block, row, column, scale, s,
                     [](float x, u8 keep) { return keep ? x : __uint_as_float(kNegInfinity); });
      break;
    case MASK_F32:
      apply_mask<float>(p, block, row, column, scale, s, [](float x, float add) { return __fmaf_rn(add, log2e, x); });
      break;
    default:
      apply_mask<u16>(p, block, row, column, scale, s, [&](float x, u16 add) {
        return __fmaf_rn(unpack16(add, p.mask_kind == MASK_BF16).x, log2e, x);
      });
  }
}
#endif

/// Largest base-2 logit of each row of the tile, the same in the four lanes that share the row.
SAGE_DEVICE void row_maxima(const STile& s, float scale, float (&maximum)[ROWS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
#if MASK
    float x = __uint_as_float(kNegInfinity);
#pragma unroll
    for (int n = 0; n < S_TILES; n++)
#pragma unroll
      for (int c = 0; c < 2; c++) x = fmaxf(x, __uint_as_float(s[i / 2][n][i % 2 * 2 + c]));
#else
    int sum = static_cast<int>(kNegInfinity);  // integers: from sm_90 one instruction takes two maxima
#pragma unroll
    for (int n = 0; n < S_TILES; n++)
#pragma unroll
      for (int c = 0; c < 2; c++) sum = max(sum, static_cast<int>(s[i / 2][n][i % 2 * 2 + c]));
    float x = __fmaf_rn(__int_as_float(sum), scale, -kMagic * scale);
#endif
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    maximum[i] = fmaxf(x, __shfl_xor_sync(~0u, x, 2));
  }
}

}  // namespace sage
