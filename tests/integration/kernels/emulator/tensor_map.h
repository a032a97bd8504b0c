// A tensor map as the emulated copy engine reads it; it fits into a CUtensorMap.
#pragma once

namespace sage {
/// Dims, and strides in bytes, fastest dimension first.
struct TensorMap {
  const unsigned char* data;
  int element, swizzle, rank;  // bytes of an element, and of a swizzled row
  long long dims[4], strides[4];
  int box[4];
};
}  // namespace sage
