#pragma once

#include "../../ATen/core/Tensor.h"

namespace c10 {
struct DeviceGuard {
  explicit DeviceGuard(const Device&) {}
  ~DeviceGuard() {}
};
}  // namespace c10
