// Launchers of the kernels that prepare operands: K to int8, V to transposed e4m3, rows to int8, aligned copies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "../include/sage/params.h"
#include "attention.h"

namespace sage {

inline std::string dtype_name(bool bf16) { return bf16 ? "bf16" : "f16"; }

/// K to int8 for a padded head dim D of 64, 128 or 256. Fills in tiles and tiles_per_cta.
inline void launch_quant_k(Device& device, QuantKParams params, int D, bool bf16, CUstream stream) {
  params.tiles = ceil_div(params.S, 128);
  const int64_t heads = int64_t(params.B) * params.H;
  // Every block samples the tokens for the mean again (from L2), so give it several tiles once the GPU is full.
  const int64_t full = int64_t(device.multiprocessors) * 2;
  params.tiles_per_cta = static_cast<int>(std::clamp<int64_t>(heads * params.tiles / full, 1, std::min(8, params.tiles)));
  Shape shape;
  shape.grid = grid_of(heads * ceil_div(params.tiles, params.tiles_per_cta), "quantizing K");
  shape.block = 256;
  device.launch("sage2_quant_k_" + dtype_name(bf16) + "_d" + std::to_string(D), shape, stream, params);
}

/// How V is prepared: in one pass by clusters that hold every token of 32 channels in registers, or, where clusters are
/// missing or the sequence is too long for one, in two passes with the chunks' maxima in `partial`.
struct QuantVPlan {
  bool fused;
  int chunk;    ///< tokens to a block
  int chunks;   ///< blocks to a (batch, head, 32 channels)
  int threads;
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
  plan.threads = plan.chunk / 4;
  plan.partial = plan.fused ? 0 : B * H * chunks * D;
  return plan;
}

/// V to e4m3. `dependent` is set when launch_quant_k came immediately before on the same stream.
inline void launch_quant_v(Device& device, QuantVParams params, const QuantVPlan& plan, bool bf16, bool dependent,
                           CUstream stream) {
  params.chunk = plan.chunk;
  params.chunks = plan.chunks;
  Shape shape;
  shape.grid = grid_of(int64_t(params.B) * params.H * (params.D / 32) * plan.chunks, "quantizing V");
  shape.block = static_cast<unsigned>(plan.threads);
  shape.dependent = dependent;
  shape.shared = plan.threads * 256 + (params.smooth ? 64 * 32 * 4 : 0);  // staged tokens; sums of samples
  if (plan.fused) {
    shape.cluster = static_cast<unsigned>(plan.chunks);
    device.launch("sage2_quant_v_fused_" + dtype_name(bf16), shape, stream, params);
    return;
  }
  device.launch("sage2_quant_v_amax_" + dtype_name(bf16), shape, stream, params);
  shape.dependent = false;
  device.launch("sage2_quant_v_apply_" + dtype_name(bf16), shape, stream, params);
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
