// What the attention launchers are told beside AttnParams, and the host helpers they share.
#pragma once

#include <cstdint>
#include <string>

#include "../include/sage/params.h"
#include "cubins.h"

namespace sage {

enum class Accumulator { fp32, fp16, fp16_fp32, fp32_fp32, fp32_fp16 };

/// The compile-time choices of an attention call, from which a launcher makes the instance's name.
struct AttnConfig {
  int D;         ///< padded head dim: 64, 128 or 256
  bool bf16;     ///< dtype of q, v and out
  bool per_warp; ///< Q's granularity; K's is already in k_scale
  bool fp8;      ///< V is v8 (f8 path), else 16-bit v (f16 path)
  Accumulator accumulator;
  int64_t q_tokens;  ///< tokens of q's only dimension for them: Sq, or those of the whole pack
  const Rows* k16;   ///< f8_sm90_qk16: K as it is, in q's dtype; null where K is int8
  int64_t k_tokens;  ///< of k16, as q_tokens
  const unsigned char* ready;  ///< f8_sm90: flags of the heads that are being prepared; null when the grid's end says so
};

template <class T>
constexpr T ceil_div(T value, T by) {
  return (value + by - 1) / by;
}

/// Blocks of a one-dimensional grid. Throws Error over 2^31 - 1.
inline unsigned grid_of(int64_t blocks, const char* what) {
  if (blocks < 1 || blocks > 2147483647)
    throw Error(std::string(what) + " needs " + std::to_string(blocks) + " blocks; a grid holds 1 to 2147483647");
  return static_cast<unsigned>(blocks);
}

}  // namespace sage
