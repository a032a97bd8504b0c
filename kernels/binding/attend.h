// Attention, dense and packed: checks, outputs, scratch memory, and the launches in their order.
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "../launch/attention_mma.h"
#include "../launch/attention_wgmma.h"
#include "arguments.h"
#include "operands.h"

namespace sage::binding {

struct Call {
  const Tensor& q_tensor;
  View q, k, v;
  std::optional<Tensor> mask;
  const Sequences* sequences;  // null for a dense call
  int64_t layout;
  bool causal;
  double sm_scale;
  Choice choice;
};

inline void check(const Call& call) {
  const View &q = call.q, &k = call.k, &v = call.v;
  TORCH_CHECK_VALUE(std::isfinite(call.sm_scale), "sm_scale must be finite, got ", call.sm_scale);
  TORCH_CHECK_VALUE(k.H == v.H && k.S == v.S && k.B == v.B, "v must have k's batch, heads and length [", k.B, ", ", k.H, ", ",
                    k.S, "], got [", v.B, ", ", v.H, ", ", v.S, "]");
  TORCH_CHECK_VALUE(k.B == q.B, "k must have q's batch size ", q.B, ", got ", k.B);
  TORCH_CHECK_VALUE(k.H == q.H || (k.H > 0 && q.H % k.H == 0), "q's heads must be a multiple of k's heads, got ", q.H, " and ",
                    k.H);
  TORCH_CHECK_VALUE(!call.choice.fp8 || q.D <= 128, "head_dim over 128 needs path f16; the f8 paths take 1 to 128, got ", q.D);
  TORCH_CHECK_VALUE(!call.choice.qk16 || (!call.mask && !call.choice.smooth_v && call.sm_scale >= 0),
                    "path f8_sm90_qk16 takes no attn_mask, no smooth_v and no negative sm_scale; path f8_sm90 does");
}

/// What follows from the shapes of a call.
struct Sizes {
  int D;            // padded head dim
  int64_t columns;  // of a row in memory: the head dim, or the next multiple of 8
  int64_t batch, longest_q, longest_k;
  int block;                // tokens of K that share scales
  int64_t k_rows, k_heads;  // of K and V when they are prepared
  bool pack_q, pack_k, pack_v;  // copies that only unaligned or oddly strided inputs need

  explicit Sizes(const Call& call)
      : D(padded_head_dim(call.q.D)),
        columns(ceil_div<int64_t>(call.q.D, 8) * 8),
        batch(call.sequences ? call.sequences->count : call.q.B),
        longest_q(call.sequences ? call.sequences->longest_q : call.q.S),
        longest_k(call.sequences ? call.sequences->longest_k : call.k.S),
        block(call.choice.sm90 ? sage::kWgmmaKeyBlock : sage::kMmaKeyBlock),
        k_rows((call.sequences ? call.k.S / 128 + batch : ceil_div<int64_t>(call.k.S, 128)) * 128),
        k_heads(call.k.B * call.k.H),
        // A row that all tokens share has no place in a tensor map.
        pack_q(!call.q.aligned() || (call.choice.sm90 && call.q.token == 0 && call.q.S > 1)),
        pack_k(call.choice.qk16 && (!call.k.aligned() || (call.k.token == 0 && call.k.S > 1))),
        pack_v(!call.choice.fp8 && (!call.v.aligned() || call.choice.smooth_v)) {}
};

/// Everything between the input and the output, in one allocation.
struct Scratch {
  Workspace space;
  size_t k8, k_scale, k_mean, counter, v8, v_scale, v_mean, v_partial, q_packed, k_packed, v_packed, flags;
  bool flagged;  // the attention kernel begins while heads are prepared, and asks for each

  Scratch(const Call& call, const Sizes& sizes, const sage::QuantVPlan& plan)
      : flagged(plan.form == sage::QuantVForm::resident) {
    const View &q = call.q, &k = call.k;
    const bool fp8 = call.choice.fp8, int8 = !call.choice.qk16;
    const int64_t rows = sizes.k_heads * sizes.k_rows, means = sizes.batch * k.H * sizes.D * 4;
    k8 = space.reserve(int8 ? rows * sizes.D : 0), k_scale = space.reserve(int8 ? rows / sizes.block * 16 : 0);
    k_mean = space.reserve(int8 ? means : 0), counter = space.reserve(4);
    v8 = space.reserve(fp8 ? rows * sizes.D : 0), v_scale = space.reserve(fp8 ? means : 0);
    v_mean = space.reserve(fp8 || sizes.pack_v ? means : 0), v_partial = space.reserve(plan.partial * 4);
    q_packed = space.reserve(sizes.pack_q ? q.B * q.H * q.S * sizes.columns * 2 : 0);
    k_packed = space.reserve(sizes.pack_k ? sizes.k_heads * k.S * sizes.columns * 2 : 0);
    v_packed = space.reserve(sizes.pack_v ? sizes.k_heads * k.S * sizes.columns * 2 : 0);
    flags = space.reserve(flagged ? sizes.batch * k.H * sage::kReadyBytes : 0);
    space.allocate(call.q_tensor);
  }
  unsigned char* ready() const { return flagged ? space.at<unsigned char>(flags) : nullptr; }
};

/// Copies rows into aligned ones, less their mean if there is one. Without a mean a pack of sequences is one long sequence.
inline sage::Rows pack(const Call& call, const Place& place, const Sizes& sizes, const View& x, void* to, float* mean) {
  const Sequences* apart = mean ? call.sequences : nullptr;
  sage::PackParams p{};
  p.x = x.rows();
  p.out = {to, x.H * x.S * sizes.columns, x.S * sizes.columns, sizes.columns};
  p.head_dim = static_cast<int>(x.D), p.columns = static_cast<int>(sizes.columns), p.D = sizes.D;
  p.smooth = mean != nullptr, p.mean = mean;
  p.H = static_cast<int>(x.H);
  p.B = static_cast<int>(apart ? sizes.batch : x.B);
  p.S = static_cast<int>(apart ? sizes.longest_k : x.S);
  p.cu = apart ? apart->k : nullptr;
  sage::launch_pack(place.device, p, is_bf16(call.q_tensor), place.stream);
  return {p.out.data, call.sequences ? 0 : p.out.batch, p.out.head, p.out.token};
}

/// Launches what prepares K, if it becomes int8, and V for FP8; `params` then knows where they are.
inline void prepare(const Call& call, const Place& place, const Sizes& sizes, const Scratch& scratch,
                    const sage::QuantVPlan& plan, sage::AttnParams& params) {
  const Choice& choice = call.choice;
  const Workspace& space = scratch.space;
  sage::QuantKParams keys = key_params(call.k, sizes.k_rows, sizes.block, choice.per_warp, choice.smooth_k);
  keys.cu = params.cu_k, keys.B = params.B, keys.S = params.Sk;
  keys.counter = params.counter = space.at<int>(scratch.counter);
  if (!choice.qk16) {
    keys.k8 = space.at<signed char>(scratch.k8), keys.scale = space.at<float>(scratch.k_scale);
    keys.mean = space.at<float>(scratch.k_mean);
    params.k8 = keys.k8, params.k_scale = keys.scale, params.k_mean = choice.smooth_k ? keys.mean : nullptr;
  }
  params.v_mean = choice.smooth_v ? space.at<float>(scratch.v_mean) : nullptr;
  const bool bf16 = is_bf16(call.q_tensor);
  if (!choice.fp8) {
    sage::launch_quant_k(place.device, keys, sizes.D, bf16, place.stream);
    return;
  }
  sage::QuantVParams values = value_params(call.v, sizes.k_rows, sizes.D, choice.vmax, choice.smooth_v);
  values.v8 = space.at<unsigned char>(scratch.v8), values.scale = space.at<float>(scratch.v_scale);
  values.mean = space.at<float>(scratch.v_mean), values.partial = space.at<float>(scratch.v_partial);
  values.cu = params.cu_k, values.B = params.B, values.S = params.Sk;
  sage::launch_quant_kv(place.device, {keys, values, 0, 0}, plan, bf16, place.stream, scratch.ready());
  params.v8 = values.v8, params.v_scale = values.scale;
}

inline std::tuple<Tensor, Tensor> run(const Call& call) {
  check(call);
  const View &q = call.q, &k = call.k;
  const Tensor& q_tensor = call.q_tensor;
  const Choice& choice = call.choice;
  const bool packed = call.sequences != nullptr;
  const Place place(q_tensor);
  const Sizes sizes(call);

  const Tensor out = at::empty(q_tensor.sizes(), q_tensor.options().memory_format(at::MemoryFormat::Contiguous));
  const auto fp32 = q_tensor.options().dtype(at::kFloat);
  const Tensor lse = !choice.lse ? at::empty({0}, fp32)
                     : packed    ? at::empty({q.H, q.S}, fp32)
                                 : at::empty({q.B, q.H, q.S}, fp32);
  if (out.numel() == 0) return {out, lse};
  if (sizes.longest_k == 0 || k.S == 0 || sizes.batch == 0 || sizes.longest_q == 0) {  // nothing to attend to
    out.zero_();
    if (choice.lse) lse.fill_(-INFINITY);
    return {out, lse};
  }

  sage::QuantVPlan plan{};
  if (choice.fp8) {
    using sage::QuantVNext;
    const bool beside = choice.sm90 && (choice.qk16 || k.aligned()) && call.v.aligned() && !choice.smooth_v;
    const QuantVNext next = !beside      ? QuantVNext::anything
                            : choice.qk16 ? QuantVNext::attention_qk16
                                          : QuantVNext::attention;
    plan = sage::plan_quant_v(place.device, sizes.batch, k.H, sizes.longest_k, sizes.D, next);
  }
  const Scratch scratch(call, sizes, plan);

  sage::AttnParams params{};
  params.B = static_cast<int>(sizes.batch);
  params.Hq = static_cast<int>(q.H), params.Hkv = static_cast<int>(k.H);
  params.Sq = static_cast<int>(sizes.longest_q), params.Sk = static_cast<int>(sizes.longest_k);
  params.head_dim = static_cast<int>(sizes.columns);
  params.causal = call.causal;
  params.sm_scale = static_cast<float>(call.sm_scale);
  params.scale_log2 = static_cast<float>(call.sm_scale * 1.4426950408889634);
  params.k_rows = sizes.k_rows;
  params.cu_q = packed ? call.sequences->q : nullptr, params.cu_k = packed ? call.sequences->k : nullptr;
  if (call.mask) set_mask(params, *call.mask, q, k, q_tensor);
  if (choice.lse) {
    params.lse = lse.mutable_data_ptr<float>();
    params.lse_batch = packed ? 0 : q.H * q.S, params.lse_head = q.S;
  }

  const Workspace& space = scratch.space;
  params.q = sizes.pack_q ? pack(call, place, sizes, q, space.at<void>(scratch.q_packed), nullptr) : q.rows();
  const sage::Rows k16 = sizes.pack_k ? pack(call, place, sizes, k, space.at<void>(scratch.k_packed), nullptr) : k.rows();
  if (!choice.fp8) {
    float* mean = choice.smooth_v ? space.at<float>(scratch.v_mean) : nullptr;
    params.v = sizes.pack_v ? pack(call, place, sizes, call.v, space.at<void>(scratch.v_packed), mean) : call.v.rows();
  }
  prepare(call, place, sizes, scratch, plan, params);

  // Rows of a head dim that is no multiple of 8 are computed padded and copied out.
  const bool ragged = sizes.columns != q.D;
  Tensor padded;
  if (ragged) {
    std::vector<int64_t> shape = q_tensor.sizes().vec();
    shape.back() = sizes.columns;
    padded = at::empty(shape, q_tensor.options());
  }
  const Tensor& target = ragged ? padded : out;
  const View o = packed ? View(target) : View(target, call.layout);
  params.out = {target.mutable_data_ptr(), o.batch, o.head, o.token};

  const sage::AttnConfig config{sizes.D, is_bf16(q_tensor), choice.per_warp, choice.fp8, choice.accumulator, q.S,
                                choice.qk16 ? &k16 : nullptr, k.S, scratch.ready()};
  if (choice.sm90) sage::launch_attention_wgmma(place.device, params, config, place.stream);
  else sage::launch_attention_mma(place.device, params, config, place.stream);
  if (ragged) out.copy_(padded.narrow(-1, 0, q.D));
  return {out, lse};
}

// ---- the operators ----

inline std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                            const std::optional<Tensor>& attn_mask, int64_t layout, bool is_causal,
                                            double sm_scale, std::string path, std::string qk_quant_gran,
                                            std::string pv_accum_dtype, bool smooth_k, bool smooth_v, bool return_lse) {
  check_layout(layout);
  check_rows(q, "q", 4), check_rows(k, "k", 4), check_rows(v, "v", 4);
  check_like(k, "k", q), check_like(v, "v", q);
  const Choice choice = parse_choice(path, qk_quant_gran, pv_accum_dtype, smooth_k, smooth_v, return_lse);
  return run({q, View(q, layout), View(k, layout), View(v, layout), attn_mask, nullptr, layout, is_causal, sm_scale, choice});
}

inline std::tuple<Tensor, Tensor> attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v,
                                                   const Tensor& cu_seqlens_q, const Tensor& cu_seqlens_k,
                                                   int64_t max_seqlen_q, int64_t max_seqlen_k, bool is_causal,
                                                   double sm_scale, std::string path, std::string qk_quant_gran,
                                                   std::string pv_accum_dtype, bool smooth_k, bool return_lse) {
  check_rows(q, "q", 3), check_rows(k, "k", 3), check_rows(v, "v", 3);
  check_like(k, "k", q), check_like(v, "v", q);
  Sequences sequences;
  sequences.q = boundaries(cu_seqlens_q, "cu_seqlens_q", q), sequences.k = boundaries(cu_seqlens_k, "cu_seqlens_k", q);
  TORCH_CHECK_VALUE(cu_seqlens_q.size(0) == cu_seqlens_k.size(0), "cu_seqlens_q and cu_seqlens_k must have one length, got ",
                    cu_seqlens_q.size(0), " and ", cu_seqlens_k.size(0));
  TORCH_CHECK_VALUE(max_seqlen_q >= 0 && max_seqlen_k >= 0, "max_seqlen_q and max_seqlen_k must not be negative, got ",
                    max_seqlen_q, " and ", max_seqlen_k);
  sequences.count = cu_seqlens_q.size(0) - 1;
  sequences.longest_q = std::min(max_seqlen_q, q.size(0)), sequences.longest_k = std::min(max_seqlen_k, k.size(0));
  const Choice choice = parse_choice(path, qk_quant_gran, pv_accum_dtype, smooth_k, false, return_lse);
  return run({q, View(q), View(k), View(v), std::nullopt, &sequences, 0, is_causal, sm_scale, choice});
}

}  // namespace sage::binding
