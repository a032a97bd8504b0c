// at::empty: an address of its own for every tensor, far from all others; with memory, if there is any (has_memory), that is
// never given back.
#pragma once

#include "../core/Tensor.h"

namespace at {

/// What was allocated: address → bytes.
inline std::map<int64_t, int64_t>& allocated() {
  static std::map<int64_t, int64_t> blocks;
  return blocks;
}

inline Tensor empty(const IntArrayRef& sizes, const TensorOptions& options) {
  IntArrayRef strides(sizes.size(), 1);
  int64_t count = 1;
  for (size_t i = sizes.size(); i-- > 0; count *= sizes[i]) strides[i] = count;
  const int64_t bytes = count * c10::element_size(options.type);
  int64_t address = (int64_t(allocated().size()) + 1) << 40;
  if (has_memory()) {
    void* memory = std::aligned_alloc(512, (bytes / 512 + 1) * 512);
    std::memset(memory, 0xAB, bytes);
    address = reinterpret_cast<int64_t>(memory);
  }
  allocated()[address] = bytes;
  return Tensor(sizes, strides, options.type, options.place, address);
}

}  // namespace at
