// torch.ops.sageattention: schemas, checks, allocation, current stream. The only file of this package that sees torch.
//
// Kernels are launched through the driver by launch/*.h; this library links libc10, libc10_cuda and libtorch_cpu alone.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "../launch/attention_mma.h"
#include "../launch/attention_wgmma.h"
#include "../launch/quant.h"
#include "tensors.h"

namespace {

using at::Tensor;
using sage::ceil_div;
using namespace sage::binding;

// ---- checks ----

bool per_warp(const std::string& gran) {
  TORCH_CHECK_VALUE(gran == "per_warp" || gran == "per_thread", "granularity must be per_warp or per_thread, got ", gran);
  return gran == "per_warp";
}

int padded_head_dim(int64_t head_dim) { return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256; }

// ---- attention, dense and packed ----

struct Choice {
  bool fp8, sm90, per_warp, smooth_k, smooth_v, lse;
  sage::Accumulator accumulator;
  float vmax;
};

Choice parse_choice(const std::string& path, const std::string& gran, const std::string& accumulator, bool smooth_k,
                    bool smooth_v, bool lse) {
  Choice choice{};
  choice.fp8 = path == "f8" || path == "f8_sm90";
  choice.sm90 = path == "f8_sm90";
  TORCH_CHECK_VALUE(choice.fp8 || path == "f16", "path must be f16, f8 or f8_sm90, got ", path);
  choice.per_warp = per_warp(gran);
  using sage::Accumulator;
  if (accumulator == "fp32") choice.accumulator = Accumulator::fp32;
  else if (!choice.fp8 && accumulator == "fp16") choice.accumulator = Accumulator::fp16;
  else if (!choice.fp8 && accumulator == "fp16+fp32") choice.accumulator = Accumulator::fp16_fp32;
  else if (choice.fp8 && accumulator == "fp32+fp32") choice.accumulator = Accumulator::fp32_fp32;
  else if (choice.fp8 && accumulator == "fp32+fp16") choice.accumulator = Accumulator::fp32_fp16;
  else
    TORCH_CHECK_VALUE(false, "pv_accum_dtype of path ", path, " must be fp32, ",
                      choice.fp8 ? "fp32+fp32 or fp32+fp16" : "fp16 or fp16+fp32", ", got ", accumulator);
  const bool narrow = choice.accumulator == Accumulator::fp32_fp16;
  choice.vmax = !narrow ? 448.0f : choice.sm90 ? sage::kWgmmaVMax : 2.25f;
  choice.smooth_k = smooth_k, choice.smooth_v = smooth_v, choice.lse = lse;
  return choice;
}

/// Sequence boundaries of a packed call; null pointers for a dense one.
struct Sequences {
  const int* q = nullptr;
  const int* k = nullptr;
  int64_t count = 0, longest_q = 0, longest_k = 0;
};

void set_mask(sage::AttnParams& params, const Tensor& mask, const View& q, const View& k, const Tensor& q_tensor) {
  TORCH_CHECK_VALUE(mask.device() == q_tensor.device(), "attn_mask must be on q's device ", q_tensor.device(), ", got ",
                    mask.device());
  TORCH_CHECK_TYPE(mask.scalar_type() == at::kBool || mask.scalar_type() == at::kFloat ||
                       mask.scalar_type() == q_tensor.scalar_type(),
                   "attn_mask must be bool, float32 or q's dtype ", q_tensor.scalar_type(), ", got ", mask.scalar_type());
  const int64_t wanted[4] = {q.B, q.H, q.S, k.S};
  const int64_t missing = 4 - mask.dim();
  bool fits = missing >= 0;
  for (int64_t i = 0; fits && i < mask.dim(); ++i) fits = mask.size(i) == 1 || mask.size(i) == wanted[i + missing];
  TORCH_CHECK_VALUE(fits, "attn_mask must broadcast to [batch, heads, q length, kv length] = [", q.B, ", ", q.H, ", ", q.S,
                    ", ", k.S, "], got shape ", mask.sizes());
  for (int64_t i = 0; i < 4; ++i)
    params.mask_stride[i] = i < missing || mask.size(i - missing) == 1 ? 0 : mask.stride(i - missing);
  params.mask = mask.const_data_ptr();
  params.mask_kind = mask.scalar_type() == at::kBool    ? sage::MASK_BOOL
                     : mask.scalar_type() == at::kFloat ? sage::MASK_F32
                     : is_bf16(mask)                    ? sage::MASK_BF16
                                                        : sage::MASK_F16;
}

/// What attention and attention_varlen share, once q, k, v are views and the outputs' shapes are known.
std::tuple<Tensor, Tensor> run(const Tensor& q_tensor, const View& q, const View& k, const View& v,
                               const std::optional<Tensor>& mask, const Sequences* sequences, int64_t layout, bool causal,
                               double sm_scale, const Choice& choice) {
  TORCH_CHECK_VALUE(std::isfinite(sm_scale), "sm_scale must be finite, got ", sm_scale);
  TORCH_CHECK_VALUE(k.H == v.H && k.S == v.S && k.B == v.B, "v must have k's batch, heads and length [", k.B, ", ", k.H, ", ",
                    k.S, "], got [", v.B, ", ", v.H, ", ", v.S, "]");
  TORCH_CHECK_VALUE(k.B == q.B, "k must have q's batch size ", q.B, ", got ", k.B);
  TORCH_CHECK_VALUE(k.H == q.H || (k.H > 0 && q.H % k.H == 0), "q's heads must be a multiple of k's heads, got ", q.H, " and ",
                    k.H);
  TORCH_CHECK_VALUE(!choice.fp8 || q.D <= 128, "head_dim over 128 needs path f16; path f8 and f8_sm90 take 1 to 128, got ",
                    q.D);
  const Place place(q_tensor);
  const int D = padded_head_dim(q.D);
  const int64_t columns = ceil_div<int64_t>(q.D, 8) * 8;
  const int64_t batch = sequences ? sequences->count : q.B;
  const bool ragged = columns != q.D;

  const Tensor out = at::empty(q_tensor.sizes(), q_tensor.options().memory_format(at::MemoryFormat::Contiguous));
  const auto fp32 = q_tensor.options().dtype(at::kFloat);
  const Tensor lse = !choice.lse ? at::empty({0}, fp32) : sequences ? at::empty({q.H, q.S}, fp32) : at::empty({q.B, q.H, q.S}, fp32);
  const int64_t longest_k = sequences ? sequences->longest_k : k.S;
  const int64_t longest_q = sequences ? sequences->longest_q : q.S;
  if (out.numel() == 0) return {out, lse};
  if (longest_k == 0 || k.S == 0 || batch == 0 || longest_q == 0) {  // nothing to attend to
    out.zero_();
    if (choice.lse) lse.fill_(-INFINITY);
    return {out, lse};
  }

  // One allocation for everything between the input and the output.
  const bool mean_of_v = choice.smooth_v;
  // A row that all tokens share has no place in a tensor map.
  const bool shared_row = choice.sm90 && q.token == 0 && q.S > 1;
  const bool pack_q = !q.aligned() || shared_row, pack_v = !choice.fp8 && (!v.aligned() || mean_of_v);
  const int64_t k_rows = (sequences ? k.S / 128 + batch : ceil_div<int64_t>(k.S, 128)) * 128;
  const int64_t k_heads = k.B * k.H, means = batch * k.H * D * 4;
  const int block = choice.sm90 ? sage::kWgmmaKeyBlock : sage::kMmaKeyBlock;
  sage::QuantVPlan plan_v{};
  if (choice.fp8) plan_v = sage::plan_quant_v(place.device, batch, k.H, longest_k, D);
  Workspace space;
  const size_t k8 = space.reserve(k_heads * k_rows * D), k_scale = space.reserve(k_heads * (k_rows / block) * 16);
  const size_t k_mean = space.reserve(means), counter = space.reserve(4);
  const size_t v8 = space.reserve(choice.fp8 ? k_heads * k_rows * D : 0), v_scale = space.reserve(choice.fp8 ? means : 0);
  const size_t v_mean = space.reserve(choice.fp8 || pack_v ? means : 0), v_partial = space.reserve(plan_v.partial * 4);
  const size_t q_packed = space.reserve(pack_q ? q.B * q.H * q.S * columns * 2 : 0);
  const size_t v_packed = space.reserve(pack_v ? k_heads * k.S * columns * 2 : 0);
  space.allocate(q_tensor);

  sage::AttnParams params{};
  const bool bf16 = is_bf16(q_tensor);
  params.B = static_cast<int>(batch);
  params.Hq = static_cast<int>(q.H), params.Hkv = static_cast<int>(k.H);
  params.Sq = static_cast<int>(longest_q), params.Sk = static_cast<int>(longest_k);
  params.head_dim = static_cast<int>(columns);
  params.causal = causal;
  params.sm_scale = static_cast<float>(sm_scale);
  params.scale_log2 = static_cast<float>(sm_scale * 1.4426950408889634);
  params.k_rows = k_rows;
  params.cu_q = sequences ? sequences->q : nullptr, params.cu_k = sequences ? sequences->k : nullptr;
  if (mask) set_mask(params, *mask, q, k, q_tensor);
  if (choice.lse) {
    params.lse = lse.mutable_data_ptr<float>();
    params.lse_batch = sequences ? 0 : q.H * q.S, params.lse_head = q.S;
  }

  // Copies that only unaligned or oddly strided inputs need.
  const auto pack = [&](const View& x, size_t to, bool smooth) -> sage::Rows {
    sage::PackParams p{};
    p.x = x.rows();
    p.out = {space.at<void>(to), x.H * x.S * columns, x.S * columns, columns};
    p.head_dim = static_cast<int>(x.D), p.columns = static_cast<int>(columns), p.D = D, p.smooth = smooth;
    p.H = static_cast<int>(x.H);
    // Without a mean a pack of sequences is one long sequence.
    p.B = static_cast<int>(smooth && sequences ? batch : x.B);
    p.S = static_cast<int>(smooth && sequences ? longest_k : x.S);
    p.cu = smooth && sequences ? sequences->k : nullptr;
    p.mean = smooth ? space.at<float>(v_mean) : nullptr;
    sage::launch_pack(place.device, p, bf16, place.stream);
    return {p.out.data, sequences ? 0 : p.out.batch, p.out.head, p.out.token};
  };
  params.q = pack_q ? pack(q, q_packed, false) : q.rows();
  if (!choice.fp8) params.v = pack_v ? pack(v, v_packed, mean_of_v) : v.rows();

  sage::QuantKParams kp{};
  kp.k = k.rows();
  kp.k8 = space.at<signed char>(k8), kp.scale = space.at<float>(k_scale), kp.mean = space.at<float>(k_mean);
  kp.cu = params.cu_k;
  kp.rows = k_rows;
  kp.B = params.B, kp.H = params.Hkv, kp.S = params.Sk, kp.head_dim = static_cast<int>(k.D);
  kp.block = block, kp.per_warp = choice.per_warp, kp.smooth = choice.smooth_k;
  kp.counter = params.counter = space.at<int>(counter);
  params.k8 = kp.k8, params.k_scale = kp.scale, params.k_mean = choice.smooth_k ? kp.mean : nullptr;

  if (choice.fp8) {
    sage::QuantKVParams kv{};
    kv.k = kp;
    sage::QuantVParams& vp = kv.v;
    vp.v = v.rows();
    vp.v8 = space.at<unsigned char>(v8), vp.scale = space.at<float>(v_scale), vp.mean = space.at<float>(v_mean);
    vp.partial = space.at<float>(v_partial);
    vp.cu = params.cu_k;
    vp.rows = k_rows;
    vp.B = params.B, vp.H = params.Hkv, vp.S = params.Sk, vp.head_dim = static_cast<int>(v.D), vp.D = D;
    vp.smooth = mean_of_v, vp.vmax = choice.vmax;
    sage::launch_quant_kv(place.device, kv, plan_v, bf16, place.stream);
    params.v8 = vp.v8, params.v_scale = vp.scale;
  } else {
    sage::launch_quant_k(place.device, kp, D, bf16, place.stream);
  }
  params.v_mean = mean_of_v ? space.at<float>(v_mean) : nullptr;

  // Rows of a head dim that is no multiple of 8 are computed padded and copied out.
  Tensor padded;
  if (ragged) {
    std::vector<int64_t> shape = q_tensor.sizes().vec();
    shape.back() = columns;
    padded = at::empty(shape, q_tensor.options());
  }
  const Tensor& target = ragged ? padded : out;
  const View o = sequences ? View(target) : View(target, layout);
  params.out = {target.mutable_data_ptr(), o.batch, o.head, o.token};

  const sage::AttnConfig config{D, bf16, choice.per_warp, choice.fp8, choice.accumulator, q.S};
  if (choice.sm90) sage::launch_attention_wgmma(place.device, params, config, place.stream);
  else sage::launch_attention_mma(place.device, params, config, place.stream);
  if (ragged) out.copy_(padded.narrow(-1, 0, q.D));
  return {out, lse};
}

std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v, const std::optional<Tensor>& attn_mask,
                                     int64_t layout, bool is_causal, double sm_scale, std::string path,
                                     std::string qk_quant_gran, std::string pv_accum_dtype, bool smooth_k, bool smooth_v,
                                     bool return_lse) {
  check_layout(layout);
  check_rows(q, "q", 4), check_rows(k, "k", 4), check_rows(v, "v", 4);
  check_like(k, "k", q), check_like(v, "v", q);
  const Choice choice = parse_choice(path, qk_quant_gran, pv_accum_dtype, smooth_k, smooth_v, return_lse);
  return run(q, View(q, layout), View(k, layout), View(v, layout), attn_mask, nullptr, layout, is_causal, sm_scale, choice);
}

const int* boundaries(const Tensor& cu, const char* name, const Tensor& q) {
  TORCH_CHECK_TYPE(cu.scalar_type() == at::kInt, name, " must be int32, got ", cu.scalar_type());
  TORCH_CHECK_VALUE(cu.device() == q.device(), name, " must be on q's device ", q.device(), ", got ", cu.device());
  TORCH_CHECK_VALUE(cu.dim() == 1 && cu.size(0) >= 1 && cu.is_contiguous(), name,
                    " must be a contiguous vector of length sequences + 1, got shape ", cu.sizes());
  return cu.const_data_ptr<int>();
}

std::tuple<Tensor, Tensor> attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& cu_seqlens_q,
                                            const Tensor& cu_seqlens_k, int64_t max_seqlen_q, int64_t max_seqlen_k,
                                            bool is_causal, double sm_scale, std::string path, std::string qk_quant_gran,
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
  return run(q, View(q), View(k), View(v), std::nullopt, &sequences, 0, is_causal, sm_scale, choice);
}

// ---- quantizers by themselves ----

struct KeyOperands {
  Tensor k8, scale, mean;
  sage::QuantKParams params{};
};

KeyOperands key_operands(const Tensor& k, int64_t layout, int64_t block, const std::string& gran, bool smooth) {
  check_layout(layout);
  check_rows(k, "k", 4);
  TORCH_CHECK_VALUE(block == 64 || block == 128, "block must be 64 or 128, got ", block);
  const View x(k, layout);
  KeyOperands to;
  sage::QuantKParams& p = to.params;
  p.per_warp = per_warp(gran);
  const int D = padded_head_dim(x.D);
  const auto fp32 = k.options().dtype(at::kFloat);
  p.rows = ceil_div<int64_t>(x.S, 128) * 128;
  to.k8 = at::empty({x.B, x.H, p.rows, D}, k.options().dtype(at::kChar));
  to.scale = at::empty({x.B, x.H, p.rows / block, 4}, fp32), to.mean = at::empty({x.B, x.H, D}, fp32);
  p.k = x.rows();
  p.k8 = to.k8.mutable_data_ptr<int8_t>();
  p.scale = to.scale.mutable_data_ptr<float>(), p.mean = to.mean.mutable_data_ptr<float>();
  p.B = static_cast<int>(x.B), p.H = static_cast<int>(x.H), p.S = static_cast<int>(x.S), p.head_dim = static_cast<int>(x.D);
  p.block = static_cast<int>(block), p.smooth = smooth;
  return to;
}

struct ValueOperands {
  Tensor v8, scale, mean, partial;
  sage::QuantVParams params{};
  sage::QuantVPlan plan{};
};

ValueOperands value_operands(const sage::Device& device, const Tensor& v, int64_t layout, double vmax, bool smooth) {
  check_layout(layout);
  check_rows(v, "v", 4);
  const View x(v, layout);
  TORCH_CHECK_VALUE(x.D <= 128, "v's head_dim must be at most 128 for fp8, got ", x.D);
  TORCH_CHECK_VALUE(vmax > 0 && vmax <= 448, "vmax must be over 0 and at most 448, got ", vmax);
  ValueOperands to;
  sage::QuantVParams& p = to.params;
  const int D = padded_head_dim(x.D);
  const auto fp32 = v.options().dtype(at::kFloat);
  p.rows = ceil_div<int64_t>(x.S, 128) * 128;
  to.v8 = at::empty({x.B, x.H, D, p.rows}, v.options().dtype(at::kFloat8_e4m3fn));
  to.scale = at::empty({x.B, x.H, D}, fp32), to.mean = at::empty({x.B, x.H, D}, fp32);
  if (to.v8.numel() == 0) return to;
  to.plan = sage::plan_quant_v(device, x.B, x.H, x.S, D);
  to.partial = at::empty({to.plan.partial}, fp32);
  p.v = x.rows();
  p.v8 = static_cast<unsigned char*>(to.v8.mutable_data_ptr());
  p.scale = to.scale.mutable_data_ptr<float>(), p.mean = to.mean.mutable_data_ptr<float>();
  p.partial = to.partial.mutable_data_ptr<float>();
  p.B = static_cast<int>(x.B), p.H = static_cast<int>(x.H), p.S = static_cast<int>(x.S), p.head_dim = static_cast<int>(x.D);
  p.D = D, p.smooth = smooth, p.vmax = static_cast<float>(vmax);
  return to;
}

std::tuple<Tensor, Tensor, Tensor> quantize_k(const Tensor& k, int64_t layout, int64_t block, std::string gran, bool smooth) {
  const KeyOperands to = key_operands(k, layout, block, gran, smooth);
  const Place place(k);
  if (to.k8.numel() == 0) to.mean.zero_();
  else sage::launch_quant_k(place.device, to.params, static_cast<int>(to.k8.size(3)), is_bf16(k), place.stream);
  return {to.k8, to.scale, to.mean};
}

std::tuple<Tensor, Tensor, Tensor> quantize_v(const Tensor& v, int64_t layout, double vmax, bool smooth) {
  const Place place(v);
  const ValueOperands to = value_operands(place.device, v, layout, vmax, smooth);
  if (to.v8.numel() == 0) to.scale.zero_(), to.mean.zero_();
  else sage::launch_quant_kv(place.device, {{}, to.params, 0, 0}, to.plan, is_bf16(v), place.stream);
  return {to.v8, to.scale, to.mean};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> quantize_kv(const Tensor& k, const Tensor& v, int64_t layout,
                                                                       int64_t block, std::string gran, bool smooth_k,
                                                                       double vmax, bool smooth_v) {
  check_rows(k, "k", 4), check_rows(v, "v", 4), check_like(v, "v", k);
  TORCH_CHECK_VALUE(k.sizes() == v.sizes(), "v must have k's shape ", k.sizes(), ", got ", v.sizes());
  const Place place(k);
  const KeyOperands keys = key_operands(k, layout, block, gran, smooth_k);
  const ValueOperands values = value_operands(place.device, v, layout, vmax, smooth_v);
  if (keys.k8.numel() == 0) keys.mean.zero_(), values.scale.zero_(), values.mean.zero_();
  else sage::launch_quant_kv(place.device, {keys.params, values.params, 0, 0}, values.plan, is_bf16(k), place.stream);
  return {keys.k8, keys.scale, keys.mean, values.v8, values.scale, values.mean};
}

std::tuple<Tensor, Tensor> quantize_int8(const Tensor& x, const std::optional<Tensor>& mean, int64_t layout, int64_t block,
                                         std::string gran) {
  check_layout(layout);
  check_rows(x, "x", 4);
  TORCH_CHECK_VALUE(block == 16 || block == 32 || block == 64 || block == 128, "block must be 16, 32, 64 or 128, got ", block);
  const View in(x, layout);
  sage::QuantInt8Params p{};
  p.groups = per_warp(gran) ? 1 : 4;
  Tensor subtracted;
  if (mean) {
    const bool shaped = mean->numel() == in.B * in.H * in.D && mean->dim() >= 3 && mean->size(-1) == in.D;
    TORCH_CHECK_VALUE(mean->device() == x.device() && mean->scalar_type() == at::kFloat && shaped,
                      "mean must be a float32 tensor [batch, heads, head_dim] on x's device, got ", mean->scalar_type(), " ",
                      mean->sizes(), " on ", mean->device());
    subtracted = mean->contiguous();
  }
  const Place place(x);
  const auto fp32 = x.options().dtype(at::kFloat);
  const Tensor x8 = at::empty(x.sizes(), x.options().dtype(at::kChar).memory_format(at::MemoryFormat::Contiguous));
  const int64_t blocks = ceil_div<int64_t>(in.S, block);
  const Tensor scale = p.groups == 1 ? at::empty({in.B, in.H, blocks}, fp32) : at::empty({in.B, in.H, blocks, 4}, fp32);
  if (x8.numel() == 0) return {x8, scale};
  const View to(x8, layout);
  p.x = in.rows();
  p.x8 = x8.mutable_data_ptr<int8_t>();
  p.x8_batch = to.batch, p.x8_head = to.head, p.x8_token = to.token;
  p.scale = scale.mutable_data_ptr<float>();
  p.mean = mean ? subtracted.const_data_ptr<float>() : nullptr;
  p.B = static_cast<int>(in.B), p.H = static_cast<int>(in.H), p.S = static_cast<int>(in.S);
  p.head_dim = static_cast<int>(in.D), p.block = static_cast<int>(block);
  sage::launch_quant_int8(place.device, p, is_bf16(x), place.stream);
  return {x8, scale};
}

void load(std::string cubin_folder) { sage::Cubins::get().set_folder(cubin_folder); }

}  // namespace

TORCH_LIBRARY(sageattention, m) {
  m.def(
      "attention(Tensor q, Tensor k, Tensor v, Tensor? attn_mask, int layout, bool is_causal, float sm_scale, str path, "
      "str qk_quant_gran, str pv_accum_dtype, bool smooth_k, bool smooth_v, bool return_lse) -> (Tensor out, Tensor lse)");
  m.def(
      "attention_varlen(Tensor q, Tensor k, Tensor v, Tensor cu_seqlens_q, Tensor cu_seqlens_k, int max_seqlen_q, "
      "int max_seqlen_k, bool is_causal, float sm_scale, str path, str qk_quant_gran, str pv_accum_dtype, bool smooth_k, "
      "bool return_lse) -> (Tensor out, Tensor lse)");
  m.def("quantize_k(Tensor k, int layout, int block, str gran, bool smooth) -> (Tensor k8, Tensor k_scale, Tensor k_mean)");
  m.def("quantize_v(Tensor v, int layout, float vmax, bool smooth) -> (Tensor v8, Tensor v_scale, Tensor v_mean)");
  m.def(
      "quantize_kv(Tensor k, Tensor v, int layout, int block, str gran, bool smooth_k, float vmax, bool smooth_v) -> "
      "(Tensor k8, Tensor k_scale, Tensor k_mean, Tensor v8, Tensor v_scale, Tensor v_mean)");
  m.def("quantize_int8(Tensor x, Tensor? mean, int layout, int block, str gran) -> (Tensor x8, Tensor scale)");
  m.def("load(str cubin_folder) -> ()", &load);
}

TORCH_LIBRARY_IMPL(sageattention, CUDA, m) {
  m.impl("attention", &attention);
  m.impl("attention_varlen", &attention_varlen);
  m.impl("quantize_k", &quantize_k);
  m.impl("quantize_v", &quantize_v);
  m.impl("quantize_kv", &quantize_kv);
  m.impl("quantize_int8", &quantize_int8);
}
