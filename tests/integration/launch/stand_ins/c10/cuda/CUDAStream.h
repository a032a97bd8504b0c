#pragma once

#include <cuda.h>

namespace c10::cuda {
struct CUDAStream {
  CUstream stream() const { return reinterpret_cast<CUstream>(0x57); }
};
inline CUDAStream getCurrentCUDAStream(int) { return {}; }
}  // namespace c10::cuda
