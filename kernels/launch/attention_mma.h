// Launcher of the mma.sync attention kernels (sage2_mma): f16 path on every architecture, f8 path from sm_89.
#pragma once

#include "attention.h"

namespace sage {

/// Tokens of K that share one entry of k_scale in this family.
constexpr int kMmaKeyBlock = 64;

/// Launch the instance that `config` and the device ask for. Checks nothing that AttnParams already promises.
inline void launch_attention_mma(Device& device, const AttnParams& params, const AttnConfig& config, CUstream stream) {
  static const char* const accumulators[] = {"fp32", "fp16", "fp16_fp32", "fp32_fp32", "fp32_fp16"};
  const std::string name = std::string("sage2_mma_") + (config.fp8 ? "f8_" : "f16_") + (config.bf16 ? "bf16" : "f16") +
                           "_d" + std::to_string(config.D) + "_" + accumulators[static_cast<int>(config.accumulator)] +
                           (config.per_warp ? "_warp" : "_thread");
  Shape shape;
  shape.grid = grid_of(int64_t(ceil_div(params.Sq, 128)) * params.Hq * params.B, "attention");
  shape.block = 128;
  device.launch(name, shape, stream, params);
}

}  // namespace sage
