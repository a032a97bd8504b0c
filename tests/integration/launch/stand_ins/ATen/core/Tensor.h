// As much of at::Tensor as the bindings use: shapes, strides and addresses. There is memory behind them if the environment
// has KERNELS (driver.cpp).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <map>
#include <ostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace c10 {

struct ValueError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct TypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class ScalarType { Byte, Char, Int, Half, Float, Bool, BFloat16, Float8_e4m3fn };
inline std::ostream& operator<<(std::ostream& to, ScalarType type) {
  const char* names[] = {"Byte", "Char", "Int", "Half", "Float", "Bool", "BFloat16", "Float8_e4m3fn"};
  return to << names[static_cast<int>(type)];
}
inline int64_t element_size(ScalarType type) {
  const int sizes[] = {1, 1, 4, 2, 4, 1, 2, 1};
  return sizes[static_cast<int>(type)];
}

struct Device {
  std::string kind;
  int number;
  int index() const { return number; }
  bool operator==(const Device& other) const { return kind == other.kind && number == other.number; }
};
inline std::ostream& operator<<(std::ostream& to, const Device& device) { return to << device.kind << ':' << device.number; }

struct IntArrayRef : std::vector<int64_t> {
  using std::vector<int64_t>::vector;
  IntArrayRef(std::vector<int64_t> values) : std::vector<int64_t>(std::move(values)) {}
  std::vector<int64_t> vec() const { return *this; }
};
inline std::ostream& operator<<(std::ostream& to, const IntArrayRef& values) {
  to << '[';
  for (size_t i = 0; i < values.size(); ++i) to << (i ? ", " : "") << values[i];
  return to << ']';
}

template <class... Words>
std::string text(const Words&... words) {
  std::ostringstream to;
  (to << ... << words);
  return to.str();
}

}  // namespace c10

#define TORCH_CHECK_VALUE(condition, ...) \
  if (!(condition)) throw c10::ValueError(c10::text(__VA_ARGS__))
#define TORCH_CHECK_TYPE(condition, ...) \
  if (!(condition)) throw c10::TypeError(c10::text(__VA_ARGS__))

namespace at {

using c10::IntArrayRef;
using c10::ScalarType;
constexpr ScalarType kByte = ScalarType::Byte, kChar = ScalarType::Char, kInt = ScalarType::Int, kHalf = ScalarType::Half,
                     kFloat = ScalarType::Float, kBool = ScalarType::Bool, kBFloat16 = ScalarType::BFloat16,
                     kFloat8_e4m3fn = ScalarType::Float8_e4m3fn;
enum class MemoryFormat { Contiguous };

struct TensorOptions {
  ScalarType type;
  c10::Device place;
  TensorOptions dtype(ScalarType other) const { return {other, place}; }
  TensorOptions memory_format(MemoryFormat) const { return *this; }
};

/// What was done to tensors on the device by torch itself, as JSON.
inline std::vector<std::string>& actions() {
  static std::vector<std::string> done;
  return done;
}

inline bool has_memory() { return std::getenv("KERNELS") != nullptr; }

class Tensor {
 public:
  Tensor() = default;
  Tensor(IntArrayRef sizes, IntArrayRef strides, ScalarType type, c10::Device device, int64_t address)
      : sizes_(std::move(sizes)), strides_(std::move(strides)), type_(type), device_(device), address_(address) {}

  int64_t dim() const { return static_cast<int64_t>(sizes_.size()); }
  int64_t size(int64_t i) const { return sizes_.at(i < 0 ? i + dim() : i); }
  int64_t stride(int64_t i) const { return strides_.at(i < 0 ? i + dim() : i); }
  const IntArrayRef& sizes() const { return sizes_; }
  const IntArrayRef& strides() const { return strides_; }
  ScalarType scalar_type() const { return type_; }
  c10::Device device() const { return device_; }
  bool is_cuda() const { return device_.kind == "cuda"; }
  TensorOptions options() const { return {type_, device_}; }
  int64_t numel() const {
    int64_t count = 1;
    for (int64_t size : sizes_) count *= size;
    return count;
  }
  bool is_contiguous() const {
    int64_t wanted = 1;
    for (int64_t i = dim() - 1; i >= 0; wanted *= size(i), --i)
      if (size(i) != 1 && stride(i) != wanted) return false;
    return true;
  }
  const Tensor& contiguous() const { return *this; }
  Tensor narrow(int64_t dimension, int64_t first, int64_t length) const {
    Tensor part = *this;
    part.sizes_.at(dimension < 0 ? dimension + dim() : dimension) = length;
    part.address_ += first * stride(dimension) * c10::element_size(type_);
    return part;
  }

  const void* const_data_ptr() const { return reinterpret_cast<const void*>(address_); }
  void* mutable_data_ptr() const { return reinterpret_cast<void*>(address_); }
  template <class T>
  const T* const_data_ptr() const {
    return reinterpret_cast<const T*>(address_);
  }
  template <class T>
  T* mutable_data_ptr() const {
    return reinterpret_cast<T*>(address_);
  }

  const Tensor& zero_() const {
    if (has_memory()) std::memset(mutable_data_ptr(), 0, numel() * c10::element_size(type_));
    return done("zero");
  }
  const Tensor& fill_(double value) const {
    for (int64_t i = 0; has_memory() && i < numel(); ++i) mutable_data_ptr<float>()[i] = static_cast<float>(value);
    return done("fill");
  }
  /// This one is contiguous, and so are the rows of the other.
  const Tensor& copy_(const Tensor& from) const {
    const int64_t row = size(-1) * 2, rows = has_memory() ? numel() / size(-1) : 0;
    for (int64_t i = 0; i < rows; ++i)
      std::memcpy(mutable_data_ptr<char>() + i * row, from.const_data_ptr<char>() + i * from.stride(-2) * 2, row);
    return done("copy", from.address_);
  }

 private:
  IntArrayRef sizes_, strides_;
  ScalarType type_ = kFloat;
  c10::Device device_{"cuda", 0};
  int64_t address_ = 0;

  const Tensor& done(const char* what, int64_t from = 0) const {
    actions().push_back(c10::text("{\"", what, "\": ", address_, ", \"from\": ", from, "}"));
    return *this;
  }
};

}  // namespace at
