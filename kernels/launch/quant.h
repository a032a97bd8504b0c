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

constexpr int kResidentTeams = 3;  // of a block

/// Tiles of K to a part of the resident form, and how many parts a head has: at most 8, so that with V's there are flags.
inline int resident_k_tiles(int64_t S) { return static_cast<int>(std::max<int64_t>(4, ceil_div<int64_t>(S, 8 * 128))); }
inline int resident_k_parts(int64_t S) {
  return static_cast<int>(ceil_div<int64_t>(ceil_div<int64_t>(S, 128), resident_k_tiles(S)));
}

/// How V is prepared: by blocks that stay on their multiprocessors and prepare K too; in one pass by clusters that hold
/// every token of 32 channels on chip; or, where clusters are missing or the sequence is too long for one, in two passes with the
/// chunks' maxima in `partial`.
enum class QuantVForm { two_passes, clusters, resident };

struct QuantVPlan {
  QuantVForm form;
  int chunk;    ///< tokens to a block, or of a part that are on chip at a time
  int chunks;   ///< of them to a (batch, head, 32 channels)
  int64_t partial;  ///< floats of scratch
};

/// What comes after V's preparation: something that needs all of it, or an attention kernel that waits for flags, with K
/// prepared beside V or left as it is. K and V are aligned to 16 bytes then, and V is not smoothed.
enum class QuantVNext { anything, attention, attention_qk16 };

inline QuantVPlan plan_quant_v(const Device& device, int64_t B, int64_t H, int64_t S, int64_t D, QuantVNext next) {
  constexpr int kTokens = 1024, kCluster = 8;  // 256 threads x 4 chunks of 8 channels; the largest portable cluster
  int chunks = static_cast<int>(ceil_div<int64_t>(S, kTokens));
  QuantVPlan plan;
  // As measured (bench/NOTES-hopper.md): where there is little to do, attention begins without waiting for a grid to end;
  // where there is much, it runs beside the preparation, if that does not leave most teams idle.
  const int64_t teams = int64_t(kResidentTeams) * device.multiprocessors, v_parts = B * H * (D / 32);
  const bool little = next == QuantVNext::attention ? S <= 2048 && 2 * (v_parts + B * H * resident_k_parts(S)) <= teams
                                                    : S <= (D == 64 ? 1024 : 2048) && v_parts <= teams;
  const bool much =
      next == QuantVNext::attention && S >= (D == 64 ? 4096 : 1025) && v_parts >= device.multiprocessors;
  plan.form = next != QuantVNext::anything && (little || much) ? QuantVForm::resident
              : device.major >= 9 && S <= kTokens * kCluster ? QuantVForm::clusters
                                                             : QuantVForm::two_passes;
  if (plan.form == QuantVForm::clusters)  // their sizes are powers of two
    while (chunks & (chunks - 1)) ++chunks;
  plan.chunks = chunks;
  plan.chunk = static_cast<int>(ceil_div<int64_t>(ceil_div<int64_t>(S, chunks), 128) * 128);
  plan.partial = plan.form == QuantVForm::two_passes ? B * H * chunks * D : 0;
  return plan;
}

/// Shared memory of a block (or team) that prepares K or V.
inline int quant_kv_shared(const QuantVParams& v, bool k) {
  const int v_shared = v.chunk * 64 + (v.smooth ? kSample / 2 * 32 * 4 : 0);  // staged tokens; sums of samples
  return k ? std::max(v_shared, kQuantKScratch) : v_shared;
}

/// The resident form, beside which the attention kernel begins; K as in launch_quant_kv(). `ready` is kReadyBytes for each head.
inline void launch_quant_kv_resident(Device& device, const QuantKVParams& both, bool bf16, CUstream stream,
                                     unsigned char* ready) {
  QuantKVResidentParams params{};
  params.k = both.k, params.v = both.v;
  params.counter = params.k.counter, params.k.counter = nullptr;
  params.heads = static_cast<int>(grid_of(int64_t(params.v.B) * params.v.H, "quantizing K and V"));
  const bool with_k = params.k.k8 != nullptr;
  params.v_parts = params.v.D / 32, params.parts = params.v_parts + (with_k ? resident_k_parts(params.k.S) : 0);
  params.k.tiles = ceil_div(params.k.S, 128), params.k.tiles_per_cta = resident_k_tiles(params.k.S);
  const int64_t parts = grid_of(int64_t(params.heads) * params.parts, "quantizing K and V");
  // One part for each team prepares the heads that attention begins with.
  const int blocks = device.multiprocessors;
  params.ready = ready;
  params.early = static_cast<int>(std::min<int64_t>(parts, int64_t(kResidentTeams) * blocks));
  params.late_blocks = std::max(1, blocks / 4);
  Shape shape;
  shape.grid = static_cast<unsigned>(blocks);
  shape.block = kResidentTeams * 256;
  shape.shared = kResidentTeams * kResidentShared;
  const std::string name = with_k ? "sage2_quant_kv_resident_" : "sage2_quant_v_resident_";
  device.launch(name + dtype_name(bf16) + "_d" + std::to_string(params.v.D), shape, stream, params);
}

/// K (none where params.k.k8 is null) to int8 and V to e4m3, in one launch if V takes one pass. `ready` is for the resident
/// form alone.
inline void launch_quant_kv(Device& device, QuantKVParams params, const QuantVPlan& plan, bool bf16, CUstream stream,
                            unsigned char* ready = nullptr) {
  QuantVParams& v = params.v;
  v.chunk = plan.chunk;
  v.chunks = plan.chunks;
  if (plan.form == QuantVForm::resident) return launch_quant_kv_resident(device, params, bf16, stream, ready);
  const bool fused = plan.form == QuantVForm::clusters;
  const int64_t k_blocks = params.k.k8 ? plan_quant_k(device, params.k) : 0;
  const int64_t v_blocks = int64_t(v.B) * v.H * (v.D / 32) * plan.chunks;
  Shape shape;
  shape.block = 256;
  shape.cluster = fused ? static_cast<unsigned>(plan.chunks) : 1;
  shape.grid = grid_of(ceil_div<int64_t>(k_blocks, shape.cluster) * shape.cluster + v_blocks, "quantizing K and V");
  params.k_blocks = static_cast<int>(k_blocks), params.v_blocks = static_cast<int>(v_blocks);
  shape.shared = quant_kv_shared(v, k_blocks > 0);
  const std::string kind = dtype_name(bf16);
  const std::string name = std::string("sage2_quant_kv_") + (fused ? "fused_" : "amax_") + kind;
  device.launch(name + "_d" + std::to_string(v.D), shape, stream, params);
  if (fused) return;
  shape.grid = static_cast<unsigned>(v_blocks);
  shape.shared = quant_kv_shared(v, false);
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
