// Launchers of the kernels that prepare operands: K to int8, V to transposed e4m3, rows to int8, aligned copies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "../include/sage/params.h"
#include "attention.h"

namespace sage {

inline std::string dtype_name(bool bf16) { return bf16 ? "bf16" : "f16"; }

/// Fill in tiles and tiles_per_cta, and say how many blocks prepare K.
inline int64_t plan_quant_k(const Device& device, QuantKParams& params) {
  params.tiles = ceil_div(params.S, 128);
  const int64_t heads = int64_t(params.B) * params.H;
  // Every block samples the tokens for the mean again (from L2), so give it several tiles once the GPU is full; with more
  // than four the last blocks are alone for too long.
  const int64_t full = int64_t(device.multiprocessors) * 2;
  params.tiles_per_cta =
      static_cast<int>(std::clamp<int64_t>(ceil_div(heads * params.tiles, full), 1, std::min(4, params.tiles)));
  return heads * ceil_div(params.tiles, params.tiles_per_cta);
}

/// K to int8 for a padded head dim D of 64, 128 or 256.
inline void launch_quant_k(Device& device, QuantKParams params, int D, bool bf16, CUstream stream) {
  Shape shape;
  shape.grid = grid_of(plan_quant_k(device, params), "quantizing K");
  shape.block = 256;
  device.launch("sage2_quant_k_" + dtype_name(bf16) + "_d" + std::to_string(D), shape, stream, params);
}

/// How V is prepared: in one pass by clusters that hold every token of 32 channels on chip, or, where clusters are missing
/// or the sequence is too long for one, in two passes with the chunks' maxima in `partial`.
struct QuantVPlan {
  bool fused;
  int chunk;    ///< tokens to a block
  int chunks;   ///< blocks to a (batch, head, 32 channels)
  int64_t partial;  ///< floats of scratch
};

inline QuantVPlan plan_quant_v(const Device& device, int64_t B, int64_t H, int64_t S, int64_t D) {
  constexpr int kTokens = 1024, kCluster = 8;  // 256 threads x 4 chunks of 8 channels; the largest portable cluster
  QuantVPlan plan;
  plan.fused = device.major >= 9 && S <= kTokens * kCluster;
  int chunks = static_cast<int>(ceil_div<int64_t>(S, kTokens));
  if (plan.fused)  // cluster sizes are powers of two
    while (chunks & (chunks - 1)) ++chunks;
  plan.chunks = chunks;
  plan.chunk = static_cast<int>(ceil_div<int64_t>(ceil_div<int64_t>(S, chunks), 128) * 128);
  plan.partial = plan.fused ? 0 : B * H * chunks * D;
  return plan;
}

/// K (none where params.k.k8 is null) to int8 and V to e4m3, in one launch if V takes one pass.
inline void launch_quant_kv(Device& device, QuantKVParams params, const QuantVPlan& plan, bool bf16, CUstream stream) {
  QuantVParams& v = params.v;
  v.chunk = plan.chunk;
  v.chunks = plan.chunks;
  const int64_t k_blocks = params.k.k8 ? plan_quant_k(device, params.k) : 0;
  const int64_t v_blocks = int64_t(v.B) * v.H * (v.D / 32) * plan.chunks;
  Shape shape;
  shape.block = 256;
  shape.cluster = plan.fused ? static_cast<unsigned>(plan.chunks) : 1;
  shape.grid = grid_of(ceil_div<int64_t>(k_blocks, shape.cluster) * shape.cluster + v_blocks, "quantizing K and V");
  params.k_blocks = static_cast<int>(k_blocks), params.v_blocks = static_cast<int>(v_blocks);
  const int v_shared = plan.chunk * 64 + (v.smooth ? kSample / 2 * 32 * 4 : 0);  // staged tokens; sums of samples
  shape.shared = k_blocks ? std::max(v_shared, kQuantKScratch) : v_shared;
  const std::string kind = dtype_name(bf16);
  const std::string name = std::string("sage2_quant_kv_") + (plan.fused ? "fused_" : "amax_") + kind;
  device.launch(name + "_d" + std::to_string(v.D), shape, stream, params);
  if (plan.fused) return;
  shape.grid = static_cast<unsigned>(v_blocks);
  shape.shared = v_shared;
  device.launch("sage2_quant_v_apply_" + kind, shape, stream, v);
}

/// Rows to int8, one scale (or four) per `block` tokens.
inline void launch_quant_int8(Device& device, const QuantInt8Params& params, bool bf16, CUstream stream) {
  Shape shape;
  shape.grid = grid_of(int64_t(params.B) * params.H * ceil_div(params.S, params.block), "quantizing to int8");
  shape.block = 128;
  device.launch("sage2_quant_int8_" + dtype_name(bf16), shape, stream, params);
}

/// Rows to aligned rows, optionally less their sampled mean.
inline void launch_pack(Device& device, const PackParams& params, bool bf16, CUstream stream) {
  Shape shape;
  shape.grid = grid_of(int64_t(params.B) * params.H * ceil_div(params.S, 256) * (params.D / 32), "copying rows");
  shape.block = 256;
  device.launch("sage2_pack_" + dtype_name(bf16), shape, stream, params);
}

}  // namespace sage
