// Launcher of the wgmma attention kernels (sage2_wgmma): paths f8_sm90 and f8_sm90_qk16, compute capability 9.0 only.
#pragma once

#include <algorithm>

#include "../include/sage/wgmma/limits.h"
#include "attention.h"

namespace sage {

/// Tokens of K that share one entry of k_scale in this family.
constexpr int kWgmmaKeyBlock = 128;

/// The instance for a call. Masked calls sum in fp32 whatever the accumulator: their time goes into the mask.
inline std::string wgmma_name(const AttnParams& params, const AttnConfig& config) {
  const bool mask = params.mask_kind != MASK_NONE, f16 = config.accumulator == Accumulator::fp32_fp16 && !mask;
  const std::string size = "_d" + std::to_string(config.D), variant = mask ? "_mask" : params.lse ? "_lse" : "_plain";
  if (config.k16) return std::string("sage2_wgmma_qk16_") + (config.bf16 ? "bf16" : "f16") + size + variant;
  return "sage2_wgmma" + size + (f16 ? "_f16" : "_f32") + variant;
}

/// Q or K in 16 bits, in blocks of 64 channels of `box_rows` tokens. A dimension of stride 0 (one entry, or one for all) is
/// given as one of size 1, and the kernel stays at its beginning.
inline CUtensorMap wgmma_rows(const Rows& rows, const AttnParams& params, int heads, int64_t tokens, int box_rows,
                              const char* what) {
  const cuuint64_t dims[4] = {cuuint64_t(params.head_dim), cuuint64_t(tokens), cuuint64_t(rows.head ? heads : 1),
                              cuuint64_t(rows.batch ? params.B : 1)};
  const auto bytes = [](int64_t stride) { return cuuint64_t(stride ? 2 * stride : 16); };
  const cuuint64_t strides[3] = {bytes(rows.token), bytes(rows.head), bytes(rows.batch)};
  const cuuint32_t box[4] = {64, cuuint32_t(box_rows), 1, 1};
  return Driver::get().tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, rows.data, dims, strides, box,
                                  CU_TENSOR_MAP_SWIZZLE_128B, what);
}

/// K or V, 8 bits, as `rows` x `columns` for each of `heads`, read in boxes of box_rows x box_columns.
inline CUtensorMap wgmma_operand(const void* data, int64_t heads, int64_t rows, int64_t columns, int box_rows,
                                 int box_columns, const char* what) {
  const cuuint64_t dims[3] = {cuuint64_t(columns), cuuint64_t(rows), cuuint64_t(heads)};
  const cuuint64_t strides[2] = {cuuint64_t(columns), cuuint64_t(columns * rows)};
  const cuuint32_t box[3] = {cuuint32_t(box_columns), cuuint32_t(box_rows), 1};
  return Driver::get().tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, 3, data, dims, strides, box,
                                  box_columns == 128 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B, what);
}

/// Launch the instance that `config` asks for. Checks nothing that AttnParams already promises.
inline void launch_attention_wgmma(Device& device, const AttnParams& params, const AttnConfig& config, CUstream stream) {
  if (device.arch != "sm_90a")
    throw Error("path f8_sm90 needs compute capability 9.0; GPU " + std::to_string(device.index) + " (" + device.name +
                ") has " + std::to_string(device.major) + "." + std::to_string(device.minor));
  const bool f16 = config.accumulator == Accumulator::fp32_fp16 && params.mask_kind == MASK_NONE;
  const int consumers = kWgmmaConsumers[config.D == 128][f16];
  const int64_t heads = int64_t(params.cu_k ? 1 : params.B) * params.Hkv;

  AttnWgmmaParams wgmma{};
  wgmma.attn = params;
  wgmma.bf16 = config.bf16;
  wgmma.per_warp = config.per_warp;
  wgmma.ready = config.ready;
  if (config.k16) wgmma.k = *config.k16;
  wgmma.row_tiles = ceil_div(params.Sq, 64 * consumers);
  wgmma.tiles = static_cast<int>(grid_of(int64_t(params.B) * params.Hq * wgmma.row_tiles, "attention"));
  // K and V of the heads in flight should stay in L2, of which 24 MiB are safe on H100 and H200. Where tiles are of unequal
  // length (causal ones, or a last one with fewer rows), many heads together, the longest tiles first, fill the GPU evenly.
  const int64_t bytes = ceil_div(params.Sk, 128) * 128 * int64_t(config.D) * (config.k16 ? 3 : 2);
  const int64_t fit = (int64_t(24) << 20) / bytes;
  const int64_t group = params.causal || params.Sq % (64 * consumers) ? std::clamp<int64_t>(fit, 1, 128) : 1;
  wgmma.head_group =
      static_cast<int>(std::min<int64_t>(group * (params.Hq / params.Hkv), int64_t(params.B) * params.Hq));

  const CUtensorMap q = wgmma_rows(params.q, params, params.Hq, config.q_tokens, 64 * consumers, "Q");
  const CUtensorMap k = config.k16 ? wgmma_rows(*config.k16, params, params.Hkv, config.k_tokens, 128, "K")
                                   : wgmma_operand(params.k8, heads, params.k_rows, config.D, 128, config.D, "K");
  const CUtensorMap v = wgmma_operand(params.v8, heads, config.D, params.k_rows, config.D, 128, "V");
  Shape shape;
  shape.grid = static_cast<unsigned>(std::min(device.multiprocessors, wgmma.tiles));
  shape.block = static_cast<unsigned>(128 * (consumers + 1));
  shape.shared = kWgmmaShared;
  shape.dependent = true;
  device.launch(wgmma_name(params, config), shape, stream, wgmma, q, k, v);
}

}  // namespace sage
