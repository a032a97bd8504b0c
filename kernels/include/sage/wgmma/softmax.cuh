// One consumer warpgroup's registers, and the softmax on them: row maxima, exponentials, sums, and P for the next product.
//
// Arrays follow the fragments of sm90_wgmma.cuh: element i of S or O is row g + 8 * (i / 2 % 2), column
// 8 * (i / 4) + 2 t + i % 2.
#pragma once

#include "exp2_lines.cuh"
#include "keys.cuh"

namespace sage {

constexpr int kHalf = kSplit ? 64 : kVRows;   // rows of V in the first product
constexpr int kRest = kVRows - kHalf;         // and in the second
constexpr int kPartialColumns = kSplit ? kRest : kVRows;
#if PV_F16
typedef u32 Partial;  // R in packed halves
constexpr int kPartials = kPartialColumns / 4;
#else
typedef float Partial;
constexpr int kPartials = kPartialColumns / 2;
#endif

// Words of p from kFirstLine on get their exponentials from lines, as measured; not where P is summed for the lse.
constexpr bool kLines = kOnes;
constexpr int kFirstLine = kQK16 ? 11 : 8;
SAGE_DEVICE constexpr bool by_lines(int i) {  // element i of S
  return kLines && 4 * (i >> 4) + 2 * (i >> 3 & 1) + (i >> 1 & 1) >= kFirstLine;
}

struct State {
  u32 s[kN / 2];        // logits: int32, or fp32 with QK16; then P in fp32, or two of it in f16 (by_lines)
  u32 p[kN / 8];        // P in e4m3, A fragments
  float o[kD / 2];
  Partial r[kPartials];
  float m[2], l[2];               // of each row: what P is relative to (log2), and the sum of P
  float alpha[2], next_alpha[2];  // takes O to R's maximum; takes sums so far to the next tile's maximum
  float k_scale, bias[2], sum[2][2], correction[2];
  bool raised;  // some row of this warp got a higher maximum
  Place place;  // of the V tile that P belongs to; K is one ahead
  bool k_ready, v_ready;
  u32 smem, lane;
};

#if QK16
typedef float Logit;
SAGE_DEVICE Logit logit(u32 s) { return __uint_as_float(s); }
SAGE_DEVICE Logit higher(Logit a, Logit b) { return max_or_nan(a, b); }
#else
typedef int Logit;
SAGE_DEVICE Logit logit(u32 s) { return (int)s; }
SAGE_DEVICE Logit higher(Logit a, Logit b) { return max(a, b); }
#endif

struct Softmax : State {
  // Masks the columns from limit[row] on, counted from this lane's first.
  SAGE_DEVICE void hide(const int (&limit)[2]) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int count = min(max((limit[row] >> 3) * 2 + min(limit[row] & 7, 2), 0), kN / 4);
      const u32 seen = count == 32 ? ~0u : (1u << count) - 1;  // a bit for each of the lane's columns
#pragma unroll
      for (int j = 0; j < kN / 4; j++)
        if (!(seen >> j & 1)) s[4 * (j / 2) + 2 * row + j % 2] = (u32)kHidden;
    }
  }

  // Raises each row's maximum to that of the tile, if it is over the headroom; `top` is this lane's part of it.
  SAGE_DEVICE void raise_maxima(float (&top)[2]) {
    bool over = false;
#pragma unroll
    for (int row = 0; row < 2; row++) {
      top[row] = max_or_nan(top[row], __shfl_xor_sync(~0u, top[row], 1));
      top[row] = max_or_nan(top[row], __shfl_xor_sync(~0u, top[row], 2));
      const bool higher = !(top[row] <= m[row] + kWgmmaHeadroom);  // or NaN
      over |= higher;
      // Lines hide NaN and infinity; so the row becomes NaN.
      const float next = !higher ? m[row] : kLines ? __fmaf_rn(top[row], 0.0f, top[row]) : top[row];
      next_alpha[row] = exp2_approx(m[row] - next);
      m[row] = next;
    }
    raised = __any_sync(~0u, over);
  }

  // The row maxima of S, which for int8 is taken on the integers (three-input max). EDGE: there are masked elements.
  template <bool EDGE>
  SAGE_DEVICE void find_maxima() {
    float top[2];
    Logit high[2][2];
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1;
      high[row][i & 1] = i < 4 ? logit(s[i]) : higher(high[row][i & 1], logit(s[i]));
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const Logit highest = higher(high[row][0], high[row][1]);
      top[row] = kQK16 || !EDGE || highest != kHidden ? (float)highest * k_scale : -__int_as_float(0x7f800000);
    }
    raise_maxima(top);
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const float wanted = kLog2P - m[row];
      bias[row] = kQK16 ? wanted : __fmaf_rn(-kMagic, k_scale, wanted);
      sum[row][0] = sum[row][1] = 0.0f;
      // The bias is rounded; what that does to the sum, which the lse must not show.
      if constexpr (!kOnes && !kQK16)
        correction[row] = __fmaf_rn(wanted - __fmaf_rn(kMagic, k_scale, bias[row]), 0.69314718f, 1.0f);
      else correction[row] = 1.0f;
    }
  }

  // S to P, still in fp32, for elements FROM to TO: one FMA dequantizes, subtracts the maximum and scales.
  template <int FROM, int TO>
  SAGE_DEVICE void exponentiate() {
#pragma unroll
    for (int i = FROM; i < TO; i++) {
      const int row = i >> 1 & 1;
      const float x = __uint_as_float(kQK16 ? s[i] : s[i] + 0x4B400000u);
      if (by_lines(i)) {
        s[i] = line_argument(x, k_scale, bias[row]);
        if (i & 1) s[i - 1] = exp2_lines(s[i - 1], s[i]);
        continue;
      }
      const float y = exp2_approx(__fmaf_rn(x, k_scale, bias[row]));
      if constexpr (!kOnes) sum[row][i & 1] += y;
      s[i] = __float_as_uint(y);
    }
  }
  SAGE_DEVICE void add_sums() {
    if constexpr (!kOnes) {
#pragma unroll
      for (int row = 0; row < 2; row++)
        l[row] = __fmaf_rn(l[row], next_alpha[row], (sum[row][0] + sum[row][1]) * correction[row]);
    }
  }

  SAGE_DEVICE void pack() {
#pragma unroll
    for (int i = 0; i < kN / 8; i++) {  // p[4 k + 2 h + row]: k32 step k, its half h
      const int e = 16 * (i >> 2) + 8 * (i >> 1 & 1) + 2 * (i & 1);
      if (by_lines(e)) p[i] = pack_e4m3(s[e], s[e + 4]);
      else p[i] = pack_e4m3(__uint_as_float(s[e]), __uint_as_float(s[e + 1]), __uint_as_float(s[e + 4]),
                            __uint_as_float(s[e + 5]));
    }
  }

  // S to P with a mask on every element: dequantized logits plus the mask's value, in base 2.
  SAGE_DEVICE void exponentiate_masked(const AttnParams& a, const char* const (&mask)[2], const int (&limit)[2]) {
    const float hidden = -__int_as_float(0x7f800000);
    float top[2] = {hidden, hidden};
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1, column = 8 * (i >> 2) + (i & 1);
      float x = hidden;
      if (column < limit[row]) {
        const i64 at = column * a.mask_stride[3];
        float added = 0.0f;
        if (a.mask_kind == MASK_BOOL) {
          if (!*((const u8*)mask[row] + at)) added = hidden;
        } else if (a.mask_kind == MASK_F32) {
          added = *((const float*)mask[row] + at);
        } else {
          added = unpack_16(*((const u16*)mask[row] + at), a.mask_kind == MASK_BF16).x;
        }
        x = __fmaf_rn((float)(int)s[i], k_scale, added * 1.44269504f);
      }
      top[row] = fmaxf(top[row], x);
      s[i] = __float_as_uint(x);
    }
    raise_maxima(top);
#pragma unroll
    for (int row = 0; row < 2; row++) sum[row][0] = sum[row][1] = 0.0f, correction[row] = 1.0f;
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1;
      const float y = exp2_approx(__uint_as_float(s[i]) - m[row] + kLog2P);
      sum[row][i & 1] += y;
      s[i] = __float_as_uint(y);
    }
    add_sums();
  }
};

}  // namespace sage
