// One consumer warpgroup's state in registers, and the steps of attention on it: QK, softmax, PV, and the sum.
//
// R = P V is summed by the tensor core over a few tiles of keys and then added to O in fp32 (two levels): the tensor core
// aligns FP8 products at 13 bits, so that a long sum in it drifts toward zero. R is added early when the maximum that P is
// relative to has to be raised.
//
// Register arrays follow the fragments of sm90_wgmma.cuh: element i of S or O is row g + 8 * (i / 2 % 2), column
// 8 * (i / 4) + 2 t + i % 2.
#pragma once

#include "keys.cuh"

namespace sage {

SAGE_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

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

// R[64][ROWS] (+)= P V for one k32 step, P in registers.
template <int ROWS>
SAGE_DEVICE void multiply_pv(Partial* partial, const u32* p, u64 v, bool add) {
  auto& r = *reinterpret_cast<Partial(*)[ROWS / (PV_F16 ? 4 : 2)]>(partial);
#if PV_F16
  if constexpr (ROWS == 64) wgmma_m64n64k32_f16_e4m3_e4m3_rs(r, p, v, add);
  else if constexpr (ROWS == 72) wgmma_m64n72k32_f16_e4m3_e4m3_rs(r, p, v, add);
  else if constexpr (ROWS == 128) wgmma_m64n128k32_f16_e4m3_e4m3_rs(r, p, v, add);
  else wgmma_m64n136k32_f16_e4m3_e4m3_rs(r, p, v, add);
#else
  if constexpr (ROWS == 64) wgmma_m64n64k32_f32_e4m3_e4m3_rs(r, p, v, add);
  else wgmma_m64n72k32_f32_e4m3_e4m3_rs(r, p, v, add);
#endif
}

struct Consumer {
  u32 s[kN / 2];        // logits: int32, then P in fp32
  u32 p[kN / 8];        // P in e4m3, A fragments
  float o[kD / 2];
  Partial r[kPartials];
  float m[2], l[2];             // of each row: what P is relative to (log2), and the sum of P
  float alpha[2], next_alpha[2];  // takes O to R's maximum; takes sums so far to the next tile's maximum
  float k_scale, bias[2], sum[2][2], correction[2];
  bool raised;  // some row of this warp got a higher maximum
  Place place;  // of the V tile that P belongs to; K is one ahead
  bool k_ready, v_ready;
  u32 smem, lane;

  SAGE_DEVICE void issue_qk(Place at, u32 q_smem) {
    const u64 query = wgmma_descriptor<kD>(q_smem), key = wgmma_descriptor<kD>(smem + kK + at.stage * kKBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kD / 32; k++) wgmma_m64n128k32_s32_s8_s8_ss(s, query + 2 * k, key + 2 * k, k > 0);
    wgmma_commit();
  }

  // R (+)= P V, for the rows of V from FROM on. FRESH: R is overwritten.
  template <bool FRESH, int FROM = 0, int ROWS = kHalf>
  SAGE_DEVICE void issue_pv() {
    const u64 v = wgmma_descriptor<kN>(smem + kV + place.stage * kVBytes + FROM * kN);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kN / 32; k++) multiply_pv<ROWS>(r, p + 4 * k, v + 2 * k, !FRESH || k > 0);
    wgmma_commit();
  }

  SAGE_DEVICE void load_k_scale(Place at, float q_scale) {
    k_scale = __fmaf_rn(q_scale, load_shared_float(smem + kKScale + at.stage * 16 + (lane & 3) * 4), kSmallestScale);
  }
  SAGE_DEVICE void release_k(Place at) {
    if (lane == 0) mbarrier_arrive(smem + kKEmpty + 8 * at.stage);
  }
  SAGE_DEVICE void release_v(Place at) {
    if (lane == 0) mbarrier_arrive(smem + kVEmpty + 8 * at.stage);
  }

  // Gives a tile of keys back that nobody here looks at. Only once it is there: the barrier counts phases.
  SAGE_DEVICE void pass_over(Place at) {
    mbarrier_wait(smem + kKFull + 8 * at.stage, at.parity);
    release_k(at);
    mbarrier_wait(smem + kVFull + 8 * at.stage, at.parity);
    release_v(at);
  }

  // Masks the columns from limit[row] on, counted from this lane's first.
  SAGE_DEVICE void hide(const int (&limit)[2]) {
#pragma unroll
    for (int i = 0; i < kN / 2; i++)
      if (8 * (i >> 2) + (i & 1) >= limit[i >> 1 & 1]) s[i] = (u32)kHidden;
  }

  // Raises each row's maximum to that of the tile, if it is over the headroom; `top` is this lane's part of it.
  SAGE_DEVICE void raise_maxima(float (&top)[2]) {
    bool over = false;
#pragma unroll
    for (int row = 0; row < 2; row++) {
      top[row] = fmaxf(top[row], __shfl_xor_sync(~0u, top[row], 1));
      top[row] = fmaxf(top[row], __shfl_xor_sync(~0u, top[row], 2));
      const bool higher = top[row] > m[row] + kWgmmaHeadroom;
      over |= higher;
      const float next = higher ? top[row] : m[row];
      next_alpha[row] = exp2_approx(m[row] - next);
      m[row] = next;
    }
    raised = __any_sync(~0u, over);
  }

  // The row maxima of S, taken on the integers (three-input max). EDGE: there are masked elements.
  template <bool EDGE>
  SAGE_DEVICE void find_maxima() {
    float top[2];
    int high[2][2];
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1;
      high[row][i & 1] = i < 4 ? (int)s[i] : max(high[row][i & 1], (int)s[i]);
    }
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int highest = max(high[row][0], high[row][1]);
      top[row] = !EDGE || highest != kHidden ? (float)highest * k_scale : -__int_as_float(0x7f800000);
    }
    raise_maxima(top);
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const float wanted = kLog2P - m[row];
      bias[row] = __fmaf_rn(-kMagic, k_scale, wanted);
      sum[row][0] = sum[row][1] = 0.0f;
      // The bias is rounded; what that does to the sum, which the lse must not show.
      if constexpr (!kOnes) correction[row] = __fmaf_rn(wanted - __fmaf_rn(kMagic, k_scale, bias[row]), 0.69314718f, 1.0f);
    }
  }

  // S to P, still in fp32, for elements FROM to TO: one FMA dequantizes, subtracts the maximum and scales.
  template <int FROM, int TO>
  SAGE_DEVICE void exponentiate() {
#pragma unroll
    for (int i = FROM; i < TO; i++) {
      const int row = i >> 1 & 1;
      const float y = exp2_approx(__fmaf_rn(__uint_as_float(s[i] + 0x4B400000u), k_scale, bias[row]));
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
      p[i] = pack_e4m3(__uint_as_float(s[e]), __uint_as_float(s[e + 1]), __uint_as_float(s[e + 4]),
                       __uint_as_float(s[e + 5]));
    }
  }

  SAGE_DEVICE float partial(int i) const {
#if PV_F16
    const float2 pair = Half::unpack(r[i >> 1]);
    return i & 1 ? pair.y : pair.x;
#else
    return r[i];
#endif
  }

  // O = O * alpha + R for the columns FROM to TO and, with the last of them, the row sums; R then counts as empty.
  template <int FROM = 0, int TO = kD>
  SAGE_DEVICE void accumulate() {
#pragma unroll
    for (int i = FROM / 2; i < TO / 2; i++) o[i] = __fmaf_rn(o[i], alpha[i >> 1 & 1], partial(i - FROM / 2));
    if constexpr (TO == kD) {
#pragma unroll
      for (int row = 0; row < 2; row++) {
        if constexpr (kOnes) l[row] = __fmaf_rn(l[row], alpha[row], partial((kD - FROM) / 2 + 2 * row));
        alpha[row] = next_alpha[row];
      }
    }
  }

  // Looks at the barriers of the next step before the work that comes first, so that their latency is hidden.
  SAGE_DEVICE void look_ahead() {
    const Place ahead = place.next();
    k_ready = mbarrier_test_wait(smem + kKFull + 8 * ahead.stage, ahead.parity);
    v_ready = mbarrier_test_wait(smem + kVFull + 8 * place.stage, place.parity);
  }

  SAGE_DEVICE void clear_output() {
#pragma unroll
    for (int i = 0; i < kD / 2; i++) o[i] = 0.0f;
  }

  // Keeps what comes after behind the first COUNT exponentials: the assembler moves a wait above register work it does
  // not order; a store that never happens stops it.
  template <int COUNT>
  SAGE_DEVICE void hold() {
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+r"(s[i]));
    asm volatile("{ .reg .pred p; setp.gt.f32 p, %0, %1; @p st.volatile.shared.u32 [%2], %3; }" ::"f"(
                     __uint_as_float(s[COUNT - 1]) + __uint_as_float(s[COUNT - 2]) + __uint_as_float(s[COUNT - 3])),
                 "f"(1e38f), "r"(smem + kQ), "r"(0)
                 : "memory");
  }

  // The rest of a step, once S is there: its softmax while PV runs, O += R, and P of the next PV. KEEP: R is added to O
  // only if a maximum had to be raised; else the next step goes on with it. `release`: V was really there.
  template <bool EDGE, bool KEEP>
  SAGE_DEVICE void finish_step(Place next, bool release = true) {
    find_maxima<EDGE>();
    constexpr int kBefore = KEEP || kSplit ? 32 : kN / 2;  // exponentials before the wait for PV
    exponentiate<0, kBefore>();
    hold<kBefore>();
    wgmma_wait<0>();
    pin_registers(r);
    if constexpr (kSplit) {
      accumulate<0, kHalf>();
      issue_pv<true, kHalf, kRest>();
      exponentiate<kBefore, kN / 2>();
      hold<kN / 2>();
      wgmma_wait<0>();
      pin_registers(r);
      if (release) release_v(place);
      place = next;
      look_ahead();
      accumulate<kHalf>();
    } else {
      if (release) release_v(place);
      place = next;
      look_ahead();
      if constexpr (KEEP) {
        if (raised) {
          accumulate();
#pragma unroll
          for (int i = 0; i < kPartials; i++) r[i] = 0;
        }
      } else {
        accumulate();
      }
      exponentiate<kBefore, kN / 2>();
    }
    add_sums();
  }

  // QK of the next key tile beside PV of this one, without masks. FRESH: R is empty before.
  template <bool FRESH, bool KEEP>
  SAGE_DEVICE void step(u32 q_smem, float q_scale) {
    const Place ahead = place.next();
    if (!k_ready) mbarrier_wait(smem + kKFull + 8 * ahead.stage, ahead.parity);
    if (!v_ready) mbarrier_wait(smem + kVFull + 8 * place.stage, place.parity);
    load_k_scale(ahead, q_scale);
    issue_qk(ahead, q_smem);
    issue_pv<FRESH>();
    wgmma_wait<1>();
    pin_registers(s);
    release_k(ahead);
    finish_step<false, KEEP>(ahead);
    pack();
  }

  // PV and O += R by themselves.
  SAGE_DEVICE void multiply_alone() {
    mbarrier_wait(smem + kVFull + 8 * place.stage, place.parity);
    issue_pv<true>();
    wgmma_wait<0>();
    pin_registers(r);
    if constexpr (kSplit) {
      accumulate<0, kHalf>();
      issue_pv<true, kHalf, kRest>();
      wgmma_wait<0>();
      pin_registers(r);
    }
    release_v(place);
    place = place.next();
    accumulate<kSplit ? kHalf : 0>();
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
