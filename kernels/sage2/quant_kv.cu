// K to int8 and V to e4m3 in one launch: sage2_quant_kv_{fused,amax}_{f16,bf16}_d{64,128}. MODE 0 (fused) finishes V, MODE 1
// (amax) leaves its second pass to sage2_quant_v_apply. Clusters of V's blocks and of K's take turns, so that one's loads
// run beside the other's arithmetic; blocks past K's last fill up a cluster.
#include <sage/quant_k.cuh>
#include <sage/quant_v.cuh>

extern "C" __global__ void __launch_bounds__(256, sage::quant_v::RESIDENT) ENTRY(const __grid_constant__ sage::QuantKVParams p) {
  extern __shared__ uint4 scratch[];
  if (p.k.counter && blockIdx.x == 0 && threadIdx.x == 0) *p.k.counter = 0;
  sage::allow_dependents();
  const int size = MODE == 0 ? p.v.chunks : 1;  // of a cluster
  const int cluster = blockIdx.x / size, rank = blockIdx.x % size;
  const int v_clusters = p.v_blocks / size, k_clusters = (p.k_blocks + size - 1) / size;
  const int turns = min(v_clusters, k_clusters);
  const bool is_v = cluster < 2 * turns ? cluster % 2 == 0 : v_clusters > turns;
  const int index = (cluster < 2 * turns ? cluster / 2 : cluster - turns) * size + rank;
  if (is_v) sage::quant_v::run<sage::quant_v::Mode(MODE)>(p.v, index, scratch);
  else if (index < p.k_blocks) sage::quant_k::run(p.k, index, *reinterpret_cast<sage::quant_k::Scratch*>(scratch));
}
