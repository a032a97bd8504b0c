// torch.ops.sageattention: schemas and what implements them.
//
// These files are the only ones of this package that see torch. Kernels are launched through the driver by launch/*.h; this
// library links libc10, libc10_cuda and libtorch_cpu alone.
#include <torch/library.h>

#include <string>

#include "attend.h"
#include "quantize.h"

namespace {

using namespace sage::binding;

void load(std::string cubin_folder) { sage::Cubins::get().set_folder(cubin_folder); }

}  // namespace

TORCH_LIBRARY(sageattention, m) {
  m.def(
      "attention(Tensor q, Tensor k, Tensor v, Tensor? attn_mask, int layout, bool is_causal, float sm_scale, str path, "
      "str qk_quant_gran, str pv_accum_dtype, bool smooth_k, bool smooth_v, bool return_lse) -> (Tensor out, Tensor lse)");
  m.def(
      "attention_varlen(Tensor q, Tensor k, Tensor v, Tensor cu_seqlens_q, Tensor cu_seqlens_k, int max_seqlen_q, "
      "int max_seqlen_k, bool is_causal, float sm_scale, str path, str qk_quant_gran, str pv_accum_dtype, bool smooth_k, "
      "bool return_lse) -> (Tensor out, Tensor lse)");
  m.def("quantize_k(Tensor k, int layout, int block, str gran, bool smooth) -> (Tensor k8, Tensor k_scale, Tensor k_mean)");
  m.def("quantize_v(Tensor v, int layout, float vmax, bool smooth) -> (Tensor v8, Tensor v_scale, Tensor v_mean)");
  m.def(
      "quantize_kv(Tensor k, Tensor v, int layout, int block, str gran, bool smooth_k, float vmax, bool smooth_v) -> "
      "(Tensor k8, Tensor k_scale, Tensor k_mean, Tensor v8, Tensor v_scale, Tensor v_mean)");
  m.def("quantize_int8(Tensor x, Tensor? mean, int layout, int block, str gran) -> (Tensor x8, Tensor scale)");
  m.def("load(str cubin_folder) -> ()", &load);
}

TORCH_LIBRARY_IMPL(sageattention, CUDA, m) {
  m.impl("attention", &attention);
  m.impl("attention_varlen", &attention_varlen);
  m.impl("quantize_k", &quantize_k);
  m.impl("quantize_v", &quantize_v);
  m.impl("quantize_kv", &quantize_kv);
  m.impl("quantize_int8", &quantize_int8);
}
