// The operators that quantize and do nothing else: K, V, both in one launch, and rows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "operands.h"

namespace sage::binding {

struct KeyOperands {
  Tensor k8, scale, mean;
  sage::QuantKParams params{};
};

inline KeyOperands key_operands(const Tensor& k, int64_t layout, int64_t block, const std::string& gran, bool smooth) {
  check_layout(layout);
  check_rows(k, "k", 4);
  TORCH_CHECK_VALUE(block == 64 || block == 128, "block must be 64 or 128, got ", block);
  const View x(k, layout);
  KeyOperands to;
  sage::QuantKParams& p = to.params;
  p = key_params(x, ceil_div<int64_t>(x.S, 128) * 128, static_cast<int>(block), per_warp(gran), smooth);
  const int D = padded_head_dim(x.D);
  const auto fp32 = k.options().dtype(at::kFloat);
  to.k8 = at::empty({x.B, x.H, p.rows, D}, k.options().dtype(at::kChar));
  to.scale = at::empty({x.B, x.H, p.rows / block, 4}, fp32), to.mean = at::empty({x.B, x.H, D}, fp32);
  p.k8 = to.k8.mutable_data_ptr<int8_t>();
  p.scale = to.scale.mutable_data_ptr<float>(), p.mean = to.mean.mutable_data_ptr<float>();
  return to;
}

struct ValueOperands {
  Tensor v8, scale, mean, partial;
  sage::QuantVParams params{};
  sage::QuantVPlan plan{};
};

inline ValueOperands value_operands(const sage::Device& device, const Tensor& v, int64_t layout, double vmax, bool smooth) {
  check_layout(layout);
  check_rows(v, "v", 4);
  const View x(v, layout);
  TORCH_CHECK_VALUE(x.D <= 128, "v's head_dim must be at most 128 for fp8, got ", x.D);
  TORCH_CHECK_VALUE(vmax > 0 && vmax <= 448, "vmax must be over 0 and at most 448, got ", vmax);
  ValueOperands to;
  sage::QuantVParams& p = to.params;
  const int D = padded_head_dim(x.D);
  p = value_params(x, ceil_div<int64_t>(x.S, 128) * 128, D, static_cast<float>(vmax), smooth);
  const auto fp32 = v.options().dtype(at::kFloat);
  to.v8 = at::empty({x.B, x.H, D, p.rows}, v.options().dtype(at::kFloat8_e4m3fn));
  to.scale = at::empty({x.B, x.H, D}, fp32), to.mean = at::empty({x.B, x.H, D}, fp32);
  if (to.v8.numel() == 0) return to;
  to.plan = sage::plan_quant_v(device, x.B, x.H, x.S, D, sage::QuantVNext::anything);
  to.partial = at::empty({to.plan.partial}, fp32);
  p.v8 = static_cast<unsigned char*>(to.v8.mutable_data_ptr());
  p.scale = to.scale.mutable_data_ptr<float>(), p.mean = to.mean.mutable_data_ptr<float>();
  p.partial = to.partial.mutable_data_ptr<float>();
  return to;
}

inline std::tuple<Tensor, Tensor, Tensor> quantize_k(const Tensor& k, int64_t layout, int64_t block, std::string gran,
                                                     bool smooth) {
  const KeyOperands to = key_operands(k, layout, block, gran, smooth);
  const Place place(k);
  if (to.k8.numel() == 0) to.mean.zero_();
  else sage::launch_quant_k(place.device, to.params, static_cast<int>(to.k8.size(3)), is_bf16(k), place.stream);
  return {to.k8, to.scale, to.mean};
}

inline std::tuple<Tensor, Tensor, Tensor> quantize_v(const Tensor& v, int64_t layout, double vmax, bool smooth) {
  const Place place(v);
  const ValueOperands to = value_operands(place.device, v, layout, vmax, smooth);
  if (to.v8.numel() == 0) to.scale.zero_(), to.mean.zero_();
  else sage::launch_quant_kv(place.device, {{}, to.params, 0, 0}, to.plan, is_bf16(v), place.stream);
  return {to.v8, to.scale, to.mean};
}

inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> quantize_kv(const Tensor& k, const Tensor& v,
                                                                              int64_t layout, int64_t block,
                                                                              std::string gran, bool smooth_k,
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

inline std::tuple<Tensor, Tensor> quantize_int8(const Tensor& x, const std::optional<Tensor>& mean, int64_t layout,
                                                int64_t block, std::string gran) {
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

}  // namespace sage::binding
