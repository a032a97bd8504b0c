// What both bindings need of torch: checks of q, k, v, their views as the kernels see them, scratch memory, and the place
// where kernels run.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstdint>

#include "../launch/attention.h"

namespace sage::binding {

using at::Tensor;

inline constexpr int64_t kLongest = 2147483647 - 256;  // tokens, heads: what a kernel counts in 32 bits

inline void check_rows(const Tensor& x, const char* name, int64_t rank, int64_t max_head_dim = 256) {
  TORCH_CHECK_VALUE(x.dim() == rank, name, " must have ", rank, " dimensions, got shape ", x.sizes());
  TORCH_CHECK_VALUE(x.is_cuda(), name, " must be a CUDA tensor, got one on ", x.device());
  TORCH_CHECK_TYPE(x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, name,
                   " must be float16 or bfloat16, got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.size(-1) >= 1 && x.size(-1) <= max_head_dim, name, "'s head_dim must be 1 to ",
                    max_head_dim, ", got ", x.size(-1));
  TORCH_CHECK_VALUE(x.stride(-1) == 1 || x.size(-1) == 1, name, "'s last dimension must be contiguous, got strides ",
                    x.strides(), "; call .contiguous() on it");
  for (int64_t size : x.sizes()) TORCH_CHECK_VALUE(size <= kLongest, name, " is too large: shape ", x.sizes());
}

inline void check_like(const Tensor& x, const char* name, const Tensor& q) {
  TORCH_CHECK_TYPE(x.scalar_type() == q.scalar_type(), name, " must have q's dtype ", q.scalar_type(), ", got ",
                   x.scalar_type());
  TORCH_CHECK_VALUE(x.device() == q.device(), name, " must be on q's device ", q.device(), ", got ", x.device());
  TORCH_CHECK_VALUE(x.size(-1) == q.size(-1), name, " must have q's head_dim ", q.size(-1), ", got ", x.size(-1));
}

inline void check_layout(int64_t layout) {
  TORCH_CHECK_VALUE(layout == 0 || layout == 1, "layout must be 0 (HND) or 1 (NHD), got ", layout);
}

// ---- views of tensors as the kernels see them ----

/// A 4-D tensor by batch, head, token; strides of dimensions of size 1 read as 0, so they cannot look unaligned.
struct View {
  const char* data;
  int64_t B, H, S, D;
  int64_t batch, head, token;

  View(const Tensor& x, int64_t layout) : data(static_cast<const char*>(x.const_data_ptr())) {
    const int64_t head_dim = layout == 0 ? 1 : 2, token_dim = 3 - head_dim;
    B = x.size(0), H = x.size(head_dim), S = x.size(token_dim), D = x.size(3);
    batch = B > 1 ? x.stride(0) : 0, head = H > 1 ? x.stride(head_dim) : 0, token = S > 1 ? x.stride(token_dim) : 0;
  }
  /// Packed sequences [tokens, H, D]: no batch.
  explicit View(const Tensor& x) : data(static_cast<const char*>(x.const_data_ptr())) {
    B = 1, H = x.size(1), S = x.size(0), D = x.size(2);
    batch = 0, head = H > 1 ? x.stride(1) : 0, token = S > 1 ? x.stride(0) : 0;
  }
  bool aligned() const {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && batch % 8 == 0 && head % 8 == 0 && token % 8 == 0 && D % 8 == 0;
  }
  sage::Rows rows() const { return {data, batch, head, token}; }
};

/// Pieces of one allocation, each on 256 bytes: reserve them all, allocate, then ask for their addresses.
class Workspace {
 public:
  size_t reserve(int64_t bytes) {
    const size_t at = size_;
    size_ += ceil_div<size_t>(static_cast<size_t>(bytes), 256) * 256;
    return at;
  }
  void allocate(const Tensor& like) {
    tensor_ = at::empty({static_cast<int64_t>(size_)}, like.options().dtype(at::kByte));
    base_ = static_cast<char*>(tensor_.mutable_data_ptr());
  }
  template <class T>
  T* at(size_t offset) const {
    return reinterpret_cast<T*>(base_ + offset);
  }

 private:
  size_t size_ = 0;
  Tensor tensor_;
  char* base_ = nullptr;
};

/// The device, its current stream, and a guard that gives the caller's device back.
struct Place {
  c10::DeviceGuard guard;
  sage::Device& device;
  CUstream stream;

  explicit Place(const Tensor& x)
      : guard(x.device()),
        device(sage::Device::get(x.device().index())),
        stream(c10::cuda::getCurrentCUDAStream(x.device().index()).stream()) {}
};

inline bool is_bf16(const Tensor& x) { return x.scalar_type() == at::kBFloat16; }

}  // namespace sage::binding
