// What the wgmma kernels, their launcher and the quantizer of V agree on. Plain C, shared by host and device.
#pragma once

namespace sage {

/// How far (in powers of two) the maximum that P is relative to may lag behind a row's maximum.
constexpr float kWgmmaHeadroom = 3.0f;

/// Tiles of 128 keys that the tensor core sums before their sum is added in fp32.
constexpr int kWgmmaHeldTiles = 2;

/// Largest magnitudes of P and V in e4m3 where sums are f16: a sum of products, and of P alone, stays below 65504.
constexpr float kWgmmaPMax = 224.0f, kWgmmaVMax = 1.125f;
static_assert(128 * kWgmmaHeldTiles * kWgmmaPMax * kWgmmaVMax < 65504.0f, "f16 sums overflow");

}  // namespace sage
