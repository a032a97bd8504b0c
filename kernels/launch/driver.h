// The CUDA driver, found at run time: nothing here links libcuda or libcudart, and importing needs no GPU.
//
// Every call that fails becomes a sage::Error that names the call, and the driver's own words for the failure.
#pragma once

#include <cuda.h>

#include <string>

#include "error.h"

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace sage {

/// The driver functions used here, resolved once from the installed driver.
class Driver {
 public:
  static const Driver& get() {
    static const Driver driver;
    return driver;
  }

#define SAGE_DRIVER_FUNCTIONS(X)                                                                             \
  X(cuInit)                                                                                                  \
  X(cuDriverGetVersion)                                                                                      \
  X(cuGetErrorName)                                                                                          \
  X(cuGetErrorString)                                                                                        \
  X(cuDeviceGet)                                                                                             \
  X(cuDeviceGetName)                                                                                         \
  X(cuDeviceGetAttribute)                                                                                    \
  X(cuCtxGetCurrent)                                                                                         \
  X(cuCtxSetCurrent)                                                                                         \
  X(cuDevicePrimaryCtxRetain)                                                                                \
  X(cuLibraryLoadData)                                                                                       \
  X(cuLibraryGetKernel)                                                                                      \
  X(cuKernelSetAttribute)                                                                                    \
  X(cuLaunchKernelEx)                                                                                        \
  X(cuTensorMapEncodeTiled)

#define SAGE_DECLARE(name) decltype(&::name) name = nullptr;
  SAGE_DRIVER_FUNCTIONS(SAGE_DECLARE)
#undef SAGE_DECLARE
  int version = 0;  ///< 1000 * major + 10 * minor of the newest CUDA the driver supports

  /// "CUDA_ERROR_INVALID_VALUE (invalid argument)"
  std::string describe(CUresult result) const {
    const char *name = nullptr, *text = nullptr;
    cuGetErrorName(result, &name);
    cuGetErrorString(result, &text);
    std::string described = name ? name : "CUDA error " + std::to_string(static_cast<int>(result));
    return text ? described + " (" + text + ")" : described;
  }

  /// Throw Error unless `result` is success. `what` completes "… failed".
  void check(CUresult result, const std::string& what) const {
    if (result != CUDA_SUCCESS) throw Error(what + " failed: " + describe(result));
  }

  /// A tensor map (TMA descriptor) of a row-major tensor; dims, strides and box fastest dimension first.
  /// `strides` in bytes, without the fastest one (rank - 1 values); all multiples of 16.
  CUtensorMap tensor_map(CUtensorMapDataType type, unsigned rank, const void* base, const cuuint64_t* dims,
                         const cuuint64_t* strides, const cuuint32_t* box, CUtensorMapSwizzle swizzle,
                         const std::string& what) const {
    CUtensorMap map;
    const cuuint32_t ones[5] = {1, 1, 1, 1, 1};
    check(cuTensorMapEncodeTiled(&map, type, rank, const_cast<void*>(base), dims, strides, box, ones,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
          "cuTensorMapEncodeTiled for " + what);
    return map;
  }

 private:
  Driver() {
#ifdef _WIN32
    const char* library = "nvcuda.dll";
    HMODULE handle = LoadLibraryA(library);
    auto find = [handle](const char* name) { return reinterpret_cast<void*>(GetProcAddress(handle, name)); };
#else
    const char* library = "libcuda.so.1";
    void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    auto find = [handle](const char* name) { return dlsym(handle, name); };
#endif
    if (!handle)
      throw Error(std::string("cannot open ") + library + "; install the NVIDIA driver (525 or newer)");
#define SAGE_RESOLVE(name)                                                                                   \
  name = reinterpret_cast<decltype(name)>(find(#name));                                                      \
  if (!name)                                                                                                 \
    throw Error(std::string(library) + " has no " #name                                  \
                "; this driver is too old, install 525 or newer");
    SAGE_DRIVER_FUNCTIONS(SAGE_RESOLVE)
#undef SAGE_RESOLVE
    check(cuInit(0), "cuInit");
    check(cuDriverGetVersion(&version), "cuDriverGetVersion");
  }
};

}  // namespace sage
