// Registration compiles and does nothing.
#pragma once

#include "../ATen/core/Tensor.h"

namespace torch {
struct Library {
  template <class... Words>
  void def(const Words&...) {}
  template <class Function>
  void impl(const char*, Function) {}
};
}  // namespace torch

#define TORCH_LIBRARY(name, m) [[maybe_unused]] static void define_##name(torch::Library& m)
#define TORCH_LIBRARY_IMPL(name, key, m) [[maybe_unused]] static void implement_##name##_on_##key(torch::Library& m)
