// Launchers of the sage3 (FP4) kernels: preparing Q, K, V and delta, and attention.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "../include/sage/sage3_params.h"
#include "attention.h"

namespace sage {

constexpr int kSage3Tile = 128;  ///< tokens of a record, of a Q mean, of a thread block

/// Bytes of one tile's record for a padded head dim of 64 or 128; Q's and K's end with the tile's scale.
constexpr int64_t sage3_record(int D, bool with_scale) { return 72 * int64_t(D) + (with_scale ? 16 : 0); }

/// Dynamic shared memory of sage3_attention: four stages of K record, 128 deltas and V record, and their barriers.
constexpr unsigned sage3_shared(int D) {
  return static_cast<unsigned>(4 * (sage3_record(D, true) + 512 + sage3_record(D, false)) + 4 * 3 * 8);
}

/// How many (batch, head) pairs share one delta workspace: as many as fit in 64 MiB, at least one.
inline int64_t sage3_pairs_at_once(int64_t pairs, int64_t delta_floats_per_pair) {
  return std::max<int64_t>(1, std::min(pairs, (int64_t(64) << 20) / std::max<int64_t>(1, delta_floats_per_pair * 4)));
}

inline std::string sage3_name(const char* family, int D, bool bf16) {
  return std::string(family) + (bf16 ? "_bf16" : "_f16") + "_d" + std::to_string(D);
}

/// Q (which = 'q') or K ('k') to NVFP4.
inline void launch_sage3_quant_rows(Device& device, const Sage3RowsParams& params, char which, int64_t batches, int D,
                                    bool bf16, CUstream stream) {
  Shape shape;
  shape.grid = grid_of(batches * params.heads * params.tiles, "quantizing Q or K");
  shape.block = 256;
  device.launch(sage3_name(which == 'q' ? "sage3_quant_q" : "sage3_quant_k", D, bf16), shape, stream, params);
}

/// V to transposed NVFP4.
inline void launch_sage3_quant_v(Device& device, const Sage3ChannelsParams& params, int64_t batches, int D, bool bf16,
                                 CUstream stream) {
  Shape shape;
  shape.grid = grid_of(batches * params.heads * params.tiles, "quantizing V");
  shape.block = 256;
  device.launch(sage3_name("sage3_quant_v", D, bf16), shape, stream, params);
}

/// The logits that smoothing Q leaves out, for `pairs` (batch, head) pairs from params.first_pair on.
inline void launch_sage3_delta(Device& device, const Sage3DeltaParams& params, int64_t pairs, int D, bool bf16,
                               CUstream stream) {
  Shape shape;
  shape.grid = grid_of(pairs * ceil_div(params.rows, 32) * params.k_tiles, "the smoothing correction");
  shape.block = 128;
  device.launch(sage3_name("sage3_delta", D, bf16), shape, stream, params);
}

/// Attention of `pairs` (batch, head) pairs from params.first_pair on.
inline void launch_sage3_attention(Device& device, const Sage3AttentionParams& params, int64_t pairs, int D,
                                   CUstream stream) {
  Shape shape;
  shape.grid = grid_of(pairs * params.q_tiles, "FP4 attention");
  shape.block = 384;
  shape.shared = sage3_shared(D);
  device.launch("sage3_attention_d" + std::to_string(D), shape, stream, params);
}

}  // namespace sage
