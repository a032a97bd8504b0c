// From a kernel's name and a device to a launch: archives of cubins are chosen by compute capability, loaded on first
// use, and kept. Thread-safe. Nothing here changes the current device.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "arch.h"
#include "archive.h"
#include "driver.h"

namespace sage {

/// Grid, block, cluster and shared memory of one launch. Grids are one-dimensional (2^31 - 1 blocks), so that heads x
/// batch has no limit of 65535.
struct Shape {
  unsigned grid = 1;
  unsigned block = 1;
  unsigned shared = 0;   ///< dynamic shared memory, bytes
  unsigned cluster = 1;  ///< blocks to a cluster, sm_90 and newer
  /// Programmatic dependent launch: the kernel may start while its predecessor drains, and itself executes
  /// griddepcontrol.wait before it touches what the predecessor wrote. Ignored where the device or driver lacks it.
  bool dependent = false;
};

class Device;

/// The cubins of this installation: a folder of `sm_XY.ar` files.
class Cubins {
 public:
  static Cubins& get() {
    static Cubins cubins;
    return cubins;
  }

  /// Name the folder (UTF-8). Reads nothing yet; a second call with another folder is an error.
  void set_folder(const std::string& folder) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!folder_.empty() && folder_ != folder)
      throw Error("kernels were already loaded from " + folder_ + ", not from " + folder);
    folder_ = folder;
  }

  /// The architectures in the folder, e.g. {"sm_80", "sm_90a"}.
  std::vector<std::string> archs() {
    std::vector<std::string> found;
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(path(), failure))
      if (entry.path().extension() == ".ar") found.push_back(entry.path().stem().string());
    if (failure) throw Error("cannot list " + folder_ + ": " + failure.message());
    return found;
  }

  /// Whether this installation has kernel `name` for `arch`.
  bool has(const std::string& arch, const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return loaded(arch).archive.has(name + ".cubin");
  }

  /// The kernel `name` of `arch`, loaded on first use.
  CUkernel kernel(const std::string& arch, const std::string& name) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Loaded& cubins = loaded(arch);
    const auto found = cubins.kernels.find(name);
    if (found != cubins.kernels.end()) return found->second;
    const std::vector<char> image = cubins.archive.read(name + ".cubin");
    const Driver& driver = Driver::get();
    CUlibrary library = nullptr;
    CUkernel kernel = nullptr;
    const std::string what = " of kernel " + name + " for " + arch;
    driver.check(driver.cuLibraryLoadData(&library, image.data(), nullptr, nullptr, 0, nullptr, nullptr, 0),
                 "cuLibraryLoadData" + what);
    driver.check(driver.cuLibraryGetKernel(&kernel, library, name.c_str()), "cuLibraryGetKernel" + what);
    cubins.kernels.emplace(name, kernel);
    return kernel;
  }

 private:
  struct Loaded {
    explicit Loaded(const std::filesystem::path& path) : archive(path) {}
    Archive archive;
    std::unordered_map<std::string, CUkernel> kernels;  // libraries stay loaded as long as the process
  };
  std::mutex mutex_;
  std::string folder_;
  std::unordered_map<std::string, std::unique_ptr<Loaded>> loaded_;

  Loaded& loaded(const std::string& arch) {
    std::unique_ptr<Loaded>& cubins = loaded_[arch];
    if (!cubins) cubins = std::make_unique<Loaded>(path() / (arch + ".ar"));
    return *cubins;
  }

  std::filesystem::path path() const {
    if (folder_.empty()) throw Error("no kernels loaded; import the package instead of its library");
#ifdef __cpp_char8_t
    return std::filesystem::path(std::u8string(folder_.begin(), folder_.end()));
#else
    return std::filesystem::u8path(folder_);
#endif
  }
};

/// A GPU as the launchers see it. Made once per device index and never destroyed.
class Device {
 public:
  int index;
  int major = 0, minor = 0;
  int multiprocessors = 0;
  int max_shared = 0;  ///< most dynamic shared memory of a block, bytes
  std::string name;    ///< "NVIDIA H200"
  std::string arch;    ///< whose cubins run here, e.g. "sm_90a"

  /// The device with torch's index. Throws Error if no cubins of this installation run on it.
  static Device& get(int index) {
    static std::array<std::atomic<Device*>, 128> table{};
    static std::mutex mutex;
    if (index < 0 || index >= static_cast<int>(table.size())) throw Error("no GPU " + std::to_string(index));
    Device* device = table[index].load(std::memory_order_acquire);
    if (device) return *device;
    const std::lock_guard<std::mutex> lock(mutex);
    device = table[index].load(std::memory_order_acquire);
    if (!device) table[index].store(device = new Device(index), std::memory_order_release);
    return *device;
  }

  bool has_dependent_launch() const { return major >= 9 && Driver::get().version >= 12040; }

  /// Launch kernel `kernel` on `stream`; each of `params` is one kernel parameter, copied now.
  template <class... Params>
  void launch(const std::string& kernel, const Shape& shape, CUstream stream, const Params&... params) {
    void* arguments[] = {const_cast<void*>(static_cast<const void*>(&params))...};
    launch_raw(kernel, shape, stream, arguments);
  }

 private:
  struct Entry {
    CUkernel kernel;
    unsigned shared;  // the limit set so far
  };
  CUdevice handle_ = 0;
  CUcontext context_ = nullptr;
  std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;

  explicit Device(int index) : index(index) {
    const Driver& driver = Driver::get();
    driver.check(driver.cuDeviceGet(&handle_, index), "cuDeviceGet of GPU " + std::to_string(index));
    char text[256] = {};
    driver.check(driver.cuDeviceGetName(text, sizeof text - 1, handle_), "cuDeviceGetName");
    name = text;
    major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    max_shared = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    std::string have;
    int best = 0;
    for (const std::string& candidate : Cubins::get().archs()) {
      have += (have.empty() ? "" : ", ") + candidate;
      const int rank = arch_rank(candidate, major, minor);
      if (rank > best) best = rank, arch = candidate;
    }
    if (!best)
      throw Error("no kernels for GPU " + std::to_string(index) + " (" + name + ", compute capability " +
                  std::to_string(major) + "." + std::to_string(minor) + "); this wheel has " +
                  (have.empty() ? "none" : have) + "; install one with sm_" + std::to_string(major * 10 + minor));
    driver.check(driver.cuDevicePrimaryCtxRetain(&context_, handle_), "cuDevicePrimaryCtxRetain");
  }

  int attribute(CUdevice_attribute which) const {
    int value = 0;
    Driver::get().check(Driver::get().cuDeviceGetAttribute(&value, which, handle_), "cuDeviceGetAttribute");
    return value;
  }

  Entry find(const std::string& kernel, unsigned shared) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto found = entries_.find(kernel);
    if (found == entries_.end())
      found = entries_.emplace(kernel, Entry{Cubins::get().kernel(arch, kernel), 48 * 1024}).first;
    if (shared > found->second.shared) {
      const Driver& driver = Driver::get();
      driver.check(driver.cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(shared),
                                               found->second.kernel, handle_),
                   "asking for " + std::to_string(shared) + " bytes of shared memory for kernel " + kernel + " (" + arch +
                       ", GPU " + std::to_string(index) + ")");
      found->second.shared = shared;
    }
    return found->second;
  }

  void launch_raw(const std::string& kernel, const Shape& shape, CUstream stream, void** arguments) {
    const Driver& driver = Driver::get();
    CUcontext current = nullptr;
    driver.check(driver.cuCtxGetCurrent(&current), "cuCtxGetCurrent");
    if (!current)  // a thread that has not used CUDA yet; the runtime would bind the same context on its first call
      driver.check(driver.cuCtxSetCurrent(context_), "cuCtxSetCurrent");
    const Entry entry = find(kernel, shape.shared);
    CUlaunchAttribute attributes[2];
    CUlaunchConfig config = {};
    config.gridDimX = shape.grid;
    config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = shape.block;
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = shape.shared;
    config.hStream = stream;
    config.attrs = attributes;
    if (shape.cluster > 1) {
      attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
      attributes[config.numAttrs].value.clusterDim.x = shape.cluster;
      attributes[config.numAttrs].value.clusterDim.y = 1;
      attributes[config.numAttrs++].value.clusterDim.z = 1;
    }
    if (shape.dependent && has_dependent_launch()) {
      attributes[config.numAttrs].id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
      attributes[config.numAttrs++].value.programmaticStreamSerializationAllowed = 1;
    }
    const CUresult result =
        driver.cuLaunchKernelEx(&config, reinterpret_cast<CUfunction>(entry.kernel), arguments, nullptr);
    if (result != CUDA_SUCCESS)
      driver.check(result, "launching kernel " + kernel + " (" + arch + ", GPU " + std::to_string(index) + ", grid " +
                               std::to_string(shape.grid) + ", block " + std::to_string(shape.block) + ", cluster " +
                               std::to_string(shape.cluster) + ", shared memory " + std::to_string(shape.shared) + ")");
  }
};

}  // namespace sage
