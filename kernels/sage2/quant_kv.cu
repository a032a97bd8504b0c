// K to int8 and V to e4m3 in one launch: sage2_quant_kv_{fused,amax}_{f16,bf16}_d{64,128}. MODE 0 (fused) finishes V, MODE 1
// (amax) leaves its second pass to sage2_quant_v_apply. V's blocks come first, because they take longer; blocks past K's
// last fill up a cluster.
#include <sage/quant_k.cuh>
#include <sage/quant_v.cuh>

// Blocks to a multiprocessor: as many as fit, on sm_12x two, because shared memory holds no more.
constexpr int RESIDENT = __CUDA_ARCH__ < 1100 ? 3 : 2;

extern "C" __global__ void __launch_bounds__(256, RESIDENT) ENTRY(const __grid_constant__ sage::QuantKVParams p) {
  extern __shared__ uint4 scratch[];
  sage::allow_dependents();
  const int index = blockIdx.x;
  if (index < p.v_blocks)
    sage::quant_v::run<sage::quant_v::Mode(MODE)>(p.v, index, scratch);
  else if (index - p.v_blocks < p.k_blocks)
    sage::quant_k::run(p.k, index - p.v_blocks, *reinterpret_cast<sage::quant_k::Scratch*>(scratch));
}
