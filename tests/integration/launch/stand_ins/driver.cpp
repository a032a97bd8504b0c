// A libcuda.so.1 with one GPU, of compute capability $CAPABILITY ("9.0"), that prints what it is told to launch: a line of
// JSON for each launch, with the fields of its first parameter. With $KERNELS it also launches, what the library of the
// kernel's name in that folder is for.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

#include <cuda.h>

#include "../../../../kernels/include/sage/params.h"
#include "../../kernels/emulator/tensor_map.h"

namespace {

std::string capability() {
  const char* given = std::getenv("CAPABILITY");
  return given ? given : "9.0";
}

/// Prints `, "name": value` for each field.
struct Printer {
  std::string prefix;
  void operator()(const char* name, double value) const { std::printf(", \"%s%s\": %.9g", prefix.c_str(), name, value); }
  void operator()(const char* name, long long value) const { std::printf(", \"%s%s\": %lld", prefix.c_str(), name, value); }
  void operator()(const char* name, int value) const { (*this)(name, static_cast<long long>(value)); }
  void operator()(const char* name, float value) const { (*this)(name, static_cast<double>(value)); }
  void operator()(const char* name, const void* value) const { (*this)(name, reinterpret_cast<long long>(value)); }
  template <class R>
  void rows(const char* name, const R& r) const {
    const Printer of{prefix + name + "."};
    of("data", r.data), of("batch", r.batch), of("head", r.head), of("token", r.token);
  }
};
#define FIELD(name) print(#name, static_cast<decltype(p.name)>(p.name));

void describe(const sage::AttnParams& p, const Printer& print) {
  print.rows("q", p.q), print.rows("v", p.v), print.rows("out", p.out);
  FIELD(k8) FIELD(k_scale) FIELD(k_mean) FIELD(v8) FIELD(v_scale) FIELD(v_mean) FIELD(lse) FIELD(lse_batch) FIELD(lse_head)
  FIELD(mask) FIELD(cu_q) FIELD(cu_k) FIELD(k_rows) FIELD(B) FIELD(Hq) FIELD(Hkv) FIELD(Sq) FIELD(Sk) FIELD(head_dim)
  FIELD(mask_kind) FIELD(causal) FIELD(bf16) FIELD(per_warp) FIELD(sm_scale) FIELD(scale_log2) FIELD(counter)
  for (int i = 0; i < 4; ++i) print(("mask_stride." + std::to_string(i)).c_str(), p.mask_stride[i]);
}
void describe(const sage::AttnWgmmaParams& p, const Printer& print) {
  describe(p.attn, print);
  const Printer tiles{"wgmma."};
  tiles("bf16", p.bf16), tiles("per_warp", p.per_warp), tiles("row_tiles", p.row_tiles);
  tiles("head_group", p.head_group), tiles("tiles", p.tiles), tiles("ready", static_cast<const void*>(p.ready));
}
void describe(const sage::QuantKParams& p, const Printer& print) {
  print.rows("k", p.k);
  FIELD(k8) FIELD(scale) FIELD(mean) FIELD(cu) FIELD(rows) FIELD(B) FIELD(H) FIELD(S) FIELD(head_dim) FIELD(block)
  FIELD(per_warp) FIELD(smooth) FIELD(tiles) FIELD(tiles_per_cta) FIELD(counter)
}
void describe(const sage::QuantVParams& p, const Printer& print) {
  print.rows("v", p.v);
  FIELD(v8) FIELD(scale) FIELD(mean) FIELD(partial) FIELD(cu) FIELD(rows) FIELD(B) FIELD(H) FIELD(S) FIELD(head_dim)
  FIELD(D) FIELD(smooth) FIELD(chunks) FIELD(chunk) FIELD(vmax)
}
void describe(const sage::QuantKVParams& p, const Printer& print) {
  describe(p.k, Printer{"k."}), describe(p.v, Printer{"v."});
  FIELD(k_blocks) FIELD(v_blocks)
}
void describe(const sage::QuantKVResidentParams& p, const Printer& print) {
  describe(p.k, Printer{"k."}), describe(p.v, Printer{"v."});
  FIELD(heads) FIELD(v_parts) FIELD(parts) FIELD(early) FIELD(late_blocks) FIELD(ready) FIELD(counter)
}
void describe(const sage::QuantInt8Params& p, const Printer& print) {
  print.rows("x", p.x);
  FIELD(x8) FIELD(x8_batch) FIELD(x8_head) FIELD(x8_token) FIELD(scale) FIELD(mean) FIELD(B) FIELD(H) FIELD(S)
  FIELD(head_dim) FIELD(block) FIELD(groups)
}
void describe(const sage::PackParams& p, const Printer& print) {
  print.rows("x", p.x), print.rows("out", p.out);
  FIELD(mean) FIELD(cu) FIELD(B) FIELD(H) FIELD(S) FIELD(head_dim) FIELD(columns) FIELD(D) FIELD(smooth)
}

template <class Params>
bool print_if(const std::string& kernel, const char* family, void** arguments) {
  if (kernel.rfind(family, 0) != 0) return false;
  describe(*static_cast<const Params*>(arguments[0]), Printer{});
  return true;
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int* version) { return *version = 13000, CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult, const char** name) { return *name = "CUDA_ERROR", CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult, const char** text) { return *text = "an error", CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice* device, int index) { return *device = index, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char* name, int, CUdevice) { return std::strcpy(name, "Stand-in"), CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice) {
  const std::string both = capability();
  const size_t dot = both.find('.');
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? std::stoi(both.substr(0, dot))
           : which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? std::stoi(both.substr(dot + 1))
           : which == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 132
                                                                   : 227 * 1024;
  return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext* context) { return *context = reinterpret_cast<CUcontext>(1), CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) { return cuCtxGetCurrent(context); }
CUresult cuLibraryLoadData(CUlibrary*, const void*, void*, void**, unsigned, void*, void**, unsigned) { return CUDA_SUCCESS; }
CUresult cuLibraryGetKernel(CUkernel* kernel, CUlibrary, const char* name) {
  static std::set<std::string> names;
  *kernel = reinterpret_cast<CUkernel>(const_cast<char*>(names.insert(name).first->c_str()));
  return CUDA_SUCCESS;
}
CUresult cuKernelSetAttribute(CUfunction_attribute, int, CUkernel, CUdevice) { return CUDA_SUCCESS; }
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* base,
                                const cuuint64_t* dims, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  *map = {};
  const bool bytes = type == CU_TENSOR_MAP_DATA_TYPE_UINT8;
  sage::TensorMap made{static_cast<const unsigned char*>(base), bytes ? 1 : 2,
                       swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 128 : 64, static_cast<int>(rank), {}, {bytes ? 1 : 2}, {1, 1, 1, 1}};
  for (cuuint32_t i = 0; i < rank; ++i) made.dims[i] = static_cast<long long>(dims[i]), made.box[i] = static_cast<int>(box[i]);
  for (cuuint32_t i = 1; i < rank; ++i) made.strides[i] = static_cast<long long>(strides[i - 1]);
  static_assert(sizeof made <= sizeof *map);
  std::memcpy(map, &made, sizeof made);
  std::printf("{\"map\": %lld, \"type\": %d, \"swizzle\": %d, \"dims\": [", reinterpret_cast<long long>(base), type, swizzle);
  for (cuuint32_t i = 0; i < rank; ++i) std::printf("%s%llu", i ? ", " : "", static_cast<unsigned long long>(dims[i]));
  std::printf("], \"strides\": [");
  for (cuuint32_t i = 0; i + 1 < rank; ++i) std::printf("%s%llu", i ? ", " : "", static_cast<unsigned long long>(strides[i]));
  std::printf("], \"box\": [");
  for (cuuint32_t i = 0; i < rank; ++i) std::printf("%s%u", i ? ", " : "", box[i]);
  std::printf("]}\n");
  return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction function, void** arguments, void**) {
  const std::string kernel = reinterpret_cast<const char*>(function);
  unsigned cluster = 1;
  int dependent = 0;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    const CUlaunchAttribute& attribute = config->attrs[i];
    if (attribute.id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION) cluster = attribute.value.clusterDim.x;
    else dependent = attribute.value.programmaticStreamSerializationAllowed;
  }
  std::printf("{\"kernel\": \"%s\", \"grid\": %u, \"threads\": %u, \"shared\": %u, \"cluster\": %u, \"dependent\": %d",
              kernel.c_str(), config->gridDimX, config->blockDimX, config->sharedMemBytes, cluster, dependent);
  const bool known = print_if<sage::AttnWgmmaParams>(kernel, "sage2_wgmma", arguments) ||
                     print_if<sage::AttnParams>(kernel, "sage2_mma", arguments) ||
                     print_if<sage::QuantKVResidentParams>(kernel, "sage2_quant_kv_resident", arguments) ||
      print_if<sage::QuantKVParams>(kernel, "sage2_quant_kv", arguments) ||
                     print_if<sage::QuantKParams>(kernel, "sage2_quant_k_", arguments) ||
                     print_if<sage::QuantVParams>(kernel, "sage2_quant_v", arguments) ||
                     print_if<sage::QuantInt8Params>(kernel, "sage2_quant_int8", arguments) ||
                     print_if<sage::PackParams>(kernel, "sage2_pack", arguments);
  std::printf("}\n");
  if (const char* folder = std::getenv("KERNELS")) {
    void* library = dlopen((std::string(folder) + "/" + kernel + ".so").c_str(), RTLD_NOW | RTLD_LOCAL);
    const auto launch = reinterpret_cast<long long (*)(void**, unsigned, unsigned, unsigned)>(dlsym(library, "launch"));
    if (launch(arguments, config->gridDimX, config->blockDimX, cluster) != -1) return CUDA_ERROR_LAUNCH_TIMEOUT;
  }
  return known && config->hStream == reinterpret_cast<CUstream>(0x57) ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}
}
