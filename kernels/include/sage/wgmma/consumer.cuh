// One consumer warpgroup's state in registers, and the steps of attention on it: QK, softmax, PV, and the sum.
//
// R = P V is summed by the tensor core over a few tiles of keys and then added to O in fp32 (two levels): the tensor core
// aligns FP8 products at 13 bits, so that a long sum in it drifts toward zero. R is added early when the maximum that P is
// relative to has to be raised. O's elements lie as those of S (softmax.cuh).
#pragma once

#include "keys.cuh"
#include "softmax.cuh"

namespace sage {

// S[64][128] (+)= Q K^T for 32 bytes of a row.
SAGE_DEVICE void multiply_qk(u32 (&s)[64], u64 query, u64 key, bool add) {
#if !QK16
  wgmma_m64n128k32_s32_s8_s8_ss(s, query, key, add);
#elif DTYPE_BF16
  wgmma_m64n128k16_f32_bf16_bf16_ss(s, query, key, add);
#else
  wgmma_m64n128k16_f32_f16_f16_ss(s, query, key, add);
#endif
}

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

struct Consumer : Softmax {
  SAGE_DEVICE void issue_qk(Place at, u32 q_smem) {
    constexpr int kRowBytes = kQK16 ? 128 : kD, kSteps = kRowBytes / 32;  // of a block of channels
    const u64 query = wgmma_descriptor<kRowBytes>(q_smem);
    const u64 key = wgmma_descriptor<kRowBytes>(smem + kK + at.stage * kKBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kD * kOperandBytes / 32; k++) {
      const int block = k / kSteps, step = 2 * (k % kSteps);
      multiply_qk(s, query + block * (kM * 128 >> 4) + step, key + block * (kN * 128 >> 4) + step, k > 0);
    }
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
    if constexpr (kQK16) k_scale = q_scale;
    else k_scale = __fmaf_rn(q_scale, load_shared_float(smem + kKScale + at.stage * 16 + (lane & 3) * 4), kSmallestScale);
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

  // The same of all columns, but only for rows whose maximum was raised; R of the others goes on. So a row's result does not
  // depend on which rows share its warp.
  SAGE_DEVICE void accumulate_raised() {
    const bool due[2] = {next_alpha[0] != 1.0f, next_alpha[1] != 1.0f};
#pragma unroll
    for (int i = 0; i < kD / 2; i++) o[i] = due[i >> 1 & 1] ? __fmaf_rn(o[i], alpha[i >> 1 & 1], partial(i)) : o[i];
#pragma unroll
    for (int row = 0; row < 2; row++) {
      if (!due[row]) continue;
      if constexpr (kOnes) l[row] = __fmaf_rn(l[row], alpha[row], partial(kD / 2 + 2 * row));
      alpha[row] = next_alpha[row];
    }
#pragma unroll
    for (int i = 0; i < kPartials; i++) r[i] = due[i & 1] ? 0 : r[i];
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

  // The rest of a step, once S is there: its softmax while PV runs, O += R, and P of the next PV. KEEP: R is added to O
  // only if a maximum had to be raised; else the next step goes on with it. `release`: V was really there.
  template <bool EDGE, bool KEEP>
  SAGE_DEVICE void finish_step(Place next, bool release = true) {
    find_maxima<EDGE>();
    // Exponentials before the wait for PV, as measured.
    constexpr int kBefore = kSplit ? 32 : KEEP ? 16 : kLines ? 32 : kQK16 ? 48 : kN / 2;
    exponentiate<0, kBefore>();
    hold_behind<kBefore>(s, smem + kQ);
    wgmma_wait<0>();
    pin_registers(r);
    if constexpr (kSplit) {
      accumulate<0, kHalf>();
      issue_pv<true, kHalf, kRest>();
      exponentiate<kBefore, kN / 2>();
      hold_behind<kN / 2>(s, smem + kQ);
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
        if (raised) accumulate_raised();
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
};

}  // namespace sage
