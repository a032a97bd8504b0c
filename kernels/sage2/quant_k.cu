// K to int8 by itself: sage2_quant_k_{f16,bf16}_d{64,128,256}, for the paths that take V in 16 bits.
#include <sage/quant_k.cuh>

// Blocks to a multiprocessor, as many as each compiler fits without spilling.
constexpr bool kHopper = __CUDA_ARCH__ == 900;
constexpr int RESIDENT = HEAD_DIM == 64 ? (__CUDA_ARCH__ < 900 ? 4 : 3) : HEAD_DIM == 128 ? (kHopper ? 3 : 2) : kHopper ? 2 : 1;

extern "C" __global__ void __launch_bounds__(256, RESIDENT) ENTRY(const __grid_constant__ sage::QuantKParams p) {
  __shared__ sage::quant_k::Scratch scratch;
  if (p.counter && blockIdx.x == 0 && threadIdx.x == 0) *p.counter = 0;
  sage::allow_dependents();
  sage::quant_k::run(p, blockIdx.x, scratch);
}
