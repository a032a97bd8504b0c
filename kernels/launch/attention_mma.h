// Launcher of the mma.sync attention kernels (sage2_mma): f16 path on every architecture, f8 path from sm_89.
#pragma once

#include "attention.h"

namespace sage {

/// Tokens of K that share one entry of k_scale in this family.
constexpr int kMmaKeyBlock = 64;

/// The instance for a call. Masks and head dim 256 have no variant with fp16 accumulators: they use fp32, no less accurate.
/// On the f8 path fp32 is fp32+fp32: the two-level sum costs nothing. V less its mean is fp16 whatever q is.
inline std::string attention_mma_instance(const Device& device, const AttnConfig& config, bool mask, bool smooth_v) {
  const bool narrow = !mask && config.D != 256;
  std::string kind = config.bf16 && !smooth_v ? "bf16" : "f16";
  if (config.fp8)
    kind = narrow && config.accumulator == Accumulator::fp32_fp16 ? "f8_acc16" : "f8";
  else if (narrow && config.accumulator == Accumulator::fp16)
    kind = "acc16";
  else if (narrow && config.accumulator == Accumulator::fp16_fp32)
    kind = "flush16";
  const std::string dim = "_d" + std::to_string(config.D);
  const std::string name = std::string("sage2_mma_") + (mask ? "mask_" : "") + kind + dim;
  // CUDA before 12.8 cannot compile it.
  if (kind == "f8_acc16" && !Cubins::get().has(device.arch, name)) return "sage2_mma_f8" + dim;
  return name;
}

/// Launch the instance that `config` and the device ask for. Checks nothing that AttnParams already promises.
inline void launch_attention_mma(Device& device, AttnParams params, const AttnConfig& config, CUstream stream) {
  params.bf16 = config.bf16;
  params.per_warp = config.per_warp;
  const bool mask = params.mask_kind != MASK_NONE;
  const int queries = config.D == 256 || mask ? 64 : 128;  // BLOCK_M of sage/mma/config.cuh, as are the bytes below
  Shape shape;
  shape.grid = grid_of(int64_t(ceil_div(params.Sq, queries)) * params.Hq * params.B, "attention");
  shape.block = 128;
  shape.shared = kMmaKeyBlock * config.D * (config.fp8 ? 2 : 3) + queries * (config.D + 4) + 15 * 128 * 4;
  shape.dependent = true;
  device.launch(attention_mma_instance(device, config, mask, params.v_mean != nullptr), shape, stream, params);
}

}  // namespace sage
