// What an attention operator is told beside q, k and v: its options, a mask, the boundaries of packed sequences.
#pragma once

#include <cstdint>
#include <string>

#include "../launch/attention_wgmma.h"
#include "operands.h"

namespace sage::binding {

struct Choice {
  bool fp8, sm90, qk16, per_warp, smooth_k, smooth_v, lse;
  sage::Accumulator accumulator;
  float vmax;
};

inline Choice parse_choice(const std::string& path, const std::string& gran, const std::string& accumulator, bool smooth_k,
                           bool smooth_v, bool lse) {
  Choice choice{};
  choice.qk16 = path == "f8_sm90_qk16";
  choice.sm90 = path == "f8_sm90" || choice.qk16;
  choice.fp8 = path == "f8" || choice.sm90;
  TORCH_CHECK_VALUE(choice.fp8 || path == "f16", "path must be f16, f8, f8_sm90 or f8_sm90_qk16, got ", path);
  TORCH_CHECK_VALUE(!choice.qk16 || gran == "none", "path f8_sm90_qk16 quantizes neither Q nor K: granularity none, got ", gran);
  choice.per_warp = !choice.qk16 && per_warp(gran);
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
  TORCH_CHECK_VALUE(!choice.qk16 || narrow, "pv_accum_dtype of path f8_sm90_qk16 must be fp32+fp16, got ", accumulator);
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

inline void set_mask(sage::AttnParams& params, const Tensor& mask, const View& q, const View& k, const Tensor& q_tensor) {
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

inline const int* boundaries(const Tensor& cu, const char* name, const Tensor& q) {
  TORCH_CHECK_TYPE(cu.scalar_type() == at::kInt, name, " must be int32, got ", cu.scalar_type());
  TORCH_CHECK_VALUE(cu.device() == q.device(), name, " must be on q's device ", q.device(), ", got ", cu.device());
  TORCH_CHECK_VALUE(cu.dim() == 1 && cu.size(0) >= 1 && cu.is_contiguous(), name,
                    " must be a contiguous vector of length sequences + 1, got shape ", cu.sizes());
  return cu.const_data_ptr<int>();
}

}  // namespace sage::binding
