// Launcher of the wgmma attention kernels (sage2_wgmma): the f8_sm90 path, compute capability 9.0 only.
#pragma once

#include "attention.h"

namespace sage {

/// Tokens of K that share one entry of k_scale in this family.
constexpr int kWgmmaKeyBlock = 128;

/// Launch the instance that `config` asks for. Checks nothing that AttnParams already promises.
inline void launch_attention_wgmma(Device& device, const AttnParams& params, const AttnConfig& config, CUstream stream) {
  if (device.arch != "sm_90a")
    throw Error("path f8_sm90 needs compute capability 9.0; GPU " + std::to_string(device.index) + " (" + device.name +
                ") has " + std::to_string(device.major) + "." + std::to_string(device.minor));
  const std::string name = std::string("sage2_wgmma_") + (config.bf16 ? "bf16" : "f16") + "_d" + std::to_string(config.D) +
                           (config.per_warp ? "_warp" : "_thread");
  Shape shape;
  shape.grid = grid_of(int64_t(ceil_div(params.Sq, 128)) * params.Hq * params.B, "attention");
  shape.block = 384;
  device.launch(name, shape, stream, params);
}

}  // namespace sage
