// What preparing K and V needs to know of them: granularity, padded head dim, and their parameters but for the outputs.
#pragma once

#include <cstdint>
#include <string>

#include "../launch/quant.h"
#include "tensors.h"

namespace sage::binding {

inline bool per_warp(const std::string& gran) {
  TORCH_CHECK_VALUE(gran == "per_warp" || gran == "per_thread", "granularity must be per_warp or per_thread, got ", gran);
  return gran == "per_warp";
}

inline int padded_head_dim(int64_t head_dim) { return head_dim <= 64 ? 64 : head_dim <= 128 ? 128 : 256; }

inline sage::QuantKParams key_params(const View& k, int64_t rows, int block, bool per_warp, bool smooth) {
  sage::QuantKParams p{};
  p.k = k.rows();
  p.rows = rows;
  p.B = static_cast<int>(k.B), p.H = static_cast<int>(k.H), p.S = static_cast<int>(k.S), p.head_dim = static_cast<int>(k.D);
  p.block = block, p.per_warp = per_warp, p.smooth = smooth;
  return p;
}

inline sage::QuantVParams value_params(const View& v, int64_t rows, int D, float vmax, bool smooth) {
  sage::QuantVParams p{};
  p.v = v.rows();
  p.rows = rows;
  p.B = static_cast<int>(v.B), p.H = static_cast<int>(v.H), p.S = static_cast<int>(v.S), p.head_dim = static_cast<int>(v.D);
  p.D = D, p.smooth = smooth, p.vmax = vmax;
  return p;
}

}  // namespace sage::binding
