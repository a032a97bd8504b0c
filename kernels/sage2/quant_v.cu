// The second pass over V where it takes two: sage2_quant_v_apply_{f16,bf16}, after sage2_quant_kv_amax.
#include <sage/quant_v.cuh>

extern "C" __global__ void __launch_bounds__(256, sage::quant_v::RESIDENT) ENTRY(const __grid_constant__ sage::QuantVParams p) {
  extern __shared__ uint4 pieces[];
  sage::allow_dependents();
  sage::quant_v::run<sage::quant_v::APPLY>(p, blockIdx.x, pieces);
}
