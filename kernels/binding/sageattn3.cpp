// torch.ops.sageattn3: schemas, checks, allocation, current stream.
#include <ATen/core/Tensor.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>

#include "../launch/sage3.h"
#include "tensors.h"

namespace {

using at::Tensor;
using sage::ceil_div;
using namespace sage::binding;

constexpr int64_t kMaxHeadDim = 128;

int padded_head_dim(int64_t head_dim) { return head_dim <= 64 ? 64 : 128; }
int64_t tiles_of(int64_t length) { return ceil_div<int64_t>(length, sage::kSage3Tile); }
int64_t token_dim(int64_t layout) { return layout == 0 ? 2 : 1; }

/// A contiguous float32 tensor [..., D] from `x` [..., head_dim], zero in the channels that x does not have.
Tensor pad_channels(const Tensor& x, int D) {
  if (x.size(-1) == D) return x.contiguous();
  auto shape = x.sizes().vec();
  shape.back() = D;
  const Tensor padded = at::zeros(shape, x.options());
  padded.narrow(-1, 0, x.size(-1)).copy_(x);
  return padded;
}

/// The float32 mean over the tokens, [B, H, D].
Tensor mean_of_tokens(const Tensor& x, int64_t layout, int D) {
  return pad_channels(at::mean(x, {token_dim(layout)}, /*keepdim=*/false, at::kFloat), D);
}

Tensor records(const View& x, int D, bool with_scale, const Tensor& like) {
  return at::empty({x.B, x.H, tiles_of(x.S), sage::sage3_record(D, with_scale)}, like.options().dtype(at::kByte));
}

sage::Sage3RowsParams rows_params(const View& x, const Tensor& out) {
  sage::Sage3RowsParams p{};
  p.x = x.rows();
  p.out = out.mutable_data_ptr<uint8_t>();
  p.length = static_cast<int>(x.S), p.head_dim = static_cast<int>(x.D), p.heads = static_cast<int>(x.H);
  p.heads_per_kv = 1;
  p.tiles = static_cast<int>(tiles_of(x.S));
  p.aligned = x.aligned();
  return p;
}

struct Query {
  Tensor records, mean, k_mean_dot;
};

/// Q less its mean in NVFP4. `given_mean` [B, H, D] serves all tokens, otherwise each tile of 128 has its own. With
/// `k_mean`, also the float32 products q . k_mean [B, H, S].
Query prepare_q(const Place& place, const Tensor& q, int64_t layout, const std::optional<Tensor>& given_mean,
                const std::optional<Tensor>& k_mean) {
  const View x(q, layout);
  const int D = padded_head_dim(x.D);
  const auto fp32 = q.options().dtype(at::kFloat);
  Query query{records(x, D, true, q), given_mean ? given_mean->unsqueeze(2) : at::empty({x.B, x.H, tiles_of(x.S), D}, fp32),
              at::empty({k_mean ? x.B : 0, x.H, x.S}, fp32)};
  sage::Sage3RowsParams p = rows_params(x, query.records);
  if (given_mean) p.mean = given_mean->const_data_ptr<float>();
  else p.mean_out = query.mean.mutable_data_ptr<float>();
  if (k_mean) {
    p.heads_per_kv = static_cast<int>(x.H / k_mean->size(1));
    p.k_mean = k_mean->const_data_ptr<float>(), p.k_mean_dot = query.k_mean_dot.mutable_data_ptr<float>();
  }
  sage::launch_sage3_quant_rows(place.device, p, 'q', x.B, D, is_bf16(q), place.stream);
  return query;
}

/// K less `mean` [B, H, D] in NVFP4.
Tensor prepare_k(const Place& place, const Tensor& k, int64_t layout, const Tensor& mean) {
  const View x(k, layout);
  const int D = padded_head_dim(x.D);
  const Tensor out = records(x, D, true, k);
  sage::Sage3RowsParams p = rows_params(x, out);
  p.mean = mean.const_data_ptr<float>();
  sage::launch_sage3_quant_rows(place.device, p, 'k', x.B, D, is_bf16(k), place.stream);
  return out;
}

/// V in NVFP4 and the power of two of each channel, [B, H, D].
std::tuple<Tensor, Tensor> prepare_v(const Place& place, const Tensor& v, int64_t layout) {
  const View x(v, layout);
  const int D = padded_head_dim(x.D);
  const auto [least, most] = at::aminmax(v, token_dim(layout));
  const Tensor amax = at::maximum(least.neg(), most).to(at::kFloat).contiguous();
  const Tensor out = records(x, D, false, v), scale = at::empty({x.B, x.H, D}, v.options().dtype(at::kFloat));
  sage::Sage3ChannelsParams p{};
  p.x = x.rows();
  p.amax = amax.const_data_ptr<float>(), p.scale_out = scale.mutable_data_ptr<float>();
  p.out = out.mutable_data_ptr<uint8_t>();
  p.length = static_cast<int>(x.S), p.head_dim = static_cast<int>(x.D), p.heads = static_cast<int>(x.H);
  p.tiles = static_cast<int>(tiles_of(x.S));
  p.aligned = x.aligned();
  sage::launch_sage3_quant_v(place.device, p, x.B, D, is_bf16(v), place.stream);
  return {out, scale};
}

void check_pair(const View& q, const View& k, const View& v) {
  TORCH_CHECK_VALUE(k.H == v.H && k.S == v.S && k.B == v.B, "v must have k's batch, heads and length [", k.B, ", ", k.H, ", ",
                    k.S, "], got [", v.B, ", ", v.H, ", ", v.S, "]");
  TORCH_CHECK_VALUE(k.B == q.B, "k must have q's batch size ", q.B, ", got ", k.B);
  TORCH_CHECK_VALUE(k.H == q.H || (k.H > 0 && q.H % k.H == 0), "q's heads must be a multiple of k's heads, got ", q.H, " and ",
                    k.H);
}

std::tuple<Tensor, Tensor> attention(const Tensor& q_tensor, const Tensor& k_tensor, const Tensor& v_tensor, int64_t layout,
                                     bool is_causal, double sm_scale, bool per_block_mean, bool return_lse) {
  check_layout(layout);
  check_rows(q_tensor, "q", 4, kMaxHeadDim), check_rows(k_tensor, "k", 4, kMaxHeadDim), check_rows(v_tensor, "v", 4, kMaxHeadDim);
  check_like(k_tensor, "k", q_tensor), check_like(v_tensor, "v", q_tensor);
  const View q(q_tensor, layout), k(k_tensor, layout), v(v_tensor, layout);
  check_pair(q, k, v);
  TORCH_CHECK_VALUE(std::isfinite(sm_scale), "sm_scale must be finite, got ", sm_scale);
  const Place place(q_tensor);
  const int D = padded_head_dim(q.D);
  const auto fp32 = q_tensor.options().dtype(at::kFloat);

  const Tensor out = at::empty(q_tensor.sizes(), q_tensor.options().memory_format(at::MemoryFormat::Contiguous));
  const Tensor lse = return_lse ? at::empty({q.B, q.H, q.S}, fp32) : at::empty({0}, fp32);
  if (out.numel() == 0) return {out, lse};
  if (k.S == 0) {  // nothing to attend to
    out.zero_();
    if (return_lse) lse.fill_(-std::numeric_limits<float>::infinity());
    return {out, lse};
  }

  const Tensor k_mean = mean_of_tokens(k_tensor, layout, D);
  const std::optional<Tensor> q_mean =
      per_block_mean ? std::optional<Tensor>() : mean_of_tokens(q_tensor, layout, D);
  const Query query =
      prepare_q(place, q_tensor, layout, q_mean, return_lse ? std::optional<Tensor>(k_mean) : std::optional<Tensor>());
  const Tensor k4 = prepare_k(place, k_tensor, layout, k_mean);
  const auto [v4, v_scale] = prepare_v(place, v_tensor, layout);

  // delta is small per head, but not for all of them: it is made for some heads at a time, in one workspace.
  const int64_t rows = query.mean.size(2), pairs = q.B * q.H, k_tiles = tiles_of(k.S);
  const int64_t at_once = sage::sage3_pairs_at_once(pairs, rows * k_tiles * sage::kSage3Tile);
  const Tensor delta = at::empty({at_once, rows, k_tiles * sage::kSage3Tile}, fp32);

  sage::Sage3DeltaParams d{};
  d.k = k.rows();
  d.q_mean = query.mean.const_data_ptr<float>(), d.k_mean = k_mean.const_data_ptr<float>();
  d.delta = delta.mutable_data_ptr<float>();
  d.scale_log2 = static_cast<float>(sm_scale * 1.4426950408889634);
  d.length = static_cast<int>(k.S), d.head_dim = static_cast<int>(k.D);
  d.heads_q = static_cast<int>(q.H), d.heads_per_kv = static_cast<int>(q.H / k.H);
  d.rows = static_cast<int>(rows), d.k_tiles = static_cast<int>(k_tiles);
  d.causal = is_causal && per_block_mean;

  const View o(out, layout);
  sage::Sage3AttentionParams a{};
  a.q4 = query.records.const_data_ptr<uint8_t>(), a.k4 = k4.const_data_ptr<uint8_t>(), a.v4 = v4.const_data_ptr<uint8_t>();
  a.v_scale = v_scale.const_data_ptr<float>(), a.delta = d.delta;
  if (return_lse) a.k_mean_dot = query.k_mean_dot.const_data_ptr<float>(), a.lse = lse.mutable_data_ptr<float>();
  a.out = {out.mutable_data_ptr(), o.batch, o.head, o.token};
  a.scale_log2 = d.scale_log2;
  a.q_length = static_cast<int>(q.S), a.k_length = d.length, a.head_dim = d.head_dim;
  a.heads_q = d.heads_q, a.heads_per_kv = d.heads_per_kv;
  a.q_tiles = static_cast<int>(tiles_of(q.S)), a.k_tiles = d.k_tiles, a.delta_rows = d.rows;
  a.causal = is_causal, a.out_bf16 = is_bf16(q_tensor);
  for (int64_t first = 0; first < pairs; first += at_once) {
    const int64_t count = std::min(at_once, pairs - first);
    d.first_pair = a.first_pair = static_cast<int>(first);
    sage::launch_sage3_delta(place.device, d, count, D, is_bf16(q_tensor), place.stream);
    sage::launch_sage3_attention(place.device, a, count, D, place.stream);
  }
  return {out, lse};
}

// ---- quantizers by themselves ----

void check_mean(const Tensor& mean, const char* name, const Tensor& x) {
  TORCH_CHECK_VALUE(mean.device() == x.device() && mean.scalar_type() == at::kFloat && mean.is_contiguous() &&
                        mean.dim() == 3 && mean.size(2) == padded_head_dim(x.size(-1)),
                    name, " must be a contiguous float32 tensor [batch, heads, ", padded_head_dim(x.size(-1)),
                    "] on the input's device, got ", mean.scalar_type(), " ", mean.sizes(), " on ", mean.device());
}

void check_quantizable(const Tensor& x, const char* name, int64_t layout) {
  check_layout(layout);
  check_rows(x, name, 4, kMaxHeadDim);
  TORCH_CHECK_VALUE(x.numel() > 0, name, " must not be empty, got shape ", x.sizes());
}

std::tuple<Tensor, Tensor, Tensor> quantize_q(const Tensor& q, const std::optional<Tensor>& q_mean,
                                              const std::optional<Tensor>& k_mean, int64_t layout) {
  check_quantizable(q, "q", layout);
  if (q_mean) check_mean(*q_mean, "q_mean", q);
  if (k_mean) check_mean(*k_mean, "k_mean", q);
  const Place place(q);
  Query query = prepare_q(place, q, layout, q_mean, k_mean);
  return {query.records, q_mean ? query.mean.clone() : query.mean, query.k_mean_dot};
}

Tensor quantize_k(const Tensor& k, const Tensor& k_mean, int64_t layout) {
  check_quantizable(k, "k", layout);
  check_mean(k_mean, "k_mean", k);
  return prepare_k(Place(k), k, layout, k_mean);
}

std::tuple<Tensor, Tensor> quantize_v(const Tensor& v, int64_t layout) {
  check_quantizable(v, "v", layout);
  return prepare_v(Place(v), v, layout);
}

void load(std::string cubin_folder) { sage::Cubins::get().set_folder(cubin_folder); }

}  // namespace

TORCH_LIBRARY(sageattn3, m) {
  m.def(
      "attention(Tensor q, Tensor k, Tensor v, int layout, bool is_causal, float sm_scale, bool per_block_mean, "
      "bool return_lse) -> (Tensor out, Tensor lse)");
  m.def("quantize_q(Tensor q, Tensor? q_mean, Tensor? k_mean, int layout) -> (Tensor q4, Tensor q_mean, Tensor k_mean_dot)");
  m.def("quantize_k(Tensor k, Tensor k_mean, int layout) -> Tensor");
  m.def("quantize_v(Tensor v, int layout) -> (Tensor v4, Tensor v_scale)");
  m.def("load(str cubin_folder) -> ()", &load);
}

TORCH_LIBRARY_IMPL(sageattn3, CUDA, m) {
  m.impl("attention", &attention);
  m.impl("quantize_q", &quantize_q);
  m.impl("quantize_k", &quantize_k);
  m.impl("quantize_v", &quantize_v);
}
