// Asynchronous copies on sm_90, and the registers of a warpgroup: TMA, setmaxnreg.
// PTX ISA 9.7.9.27 (bulk and tensor copies), 9.7.19.5 (setmaxnreg).
#pragma once

#include "mbarrier.cuh"

namespace sage {

// A CUtensorMap as the kernel sees it: opaque, passed as a __grid_constant__ parameter.
struct alignas(64) TensorMap {
  u64 opaque[16];
};

// Orders this thread's ordinary writes to shared memory before later asynchronous reads (wgmma, TMA).
SAGE_DEVICE void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

SAGE_DEVICE void tma_prefetch(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"((u64)&map) : "memory");
}

// Copies the box of a three-dimensional map that starts at (x, y, z), x innermost; completes on the barrier.
SAGE_DEVICE void tma_load_3d(u32 destination_smem, const TensorMap& map, u32 barrier_smem, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
      ::"r"(destination_smem), "l"((u64)&map), "r"(barrier_smem), "r"(x), "r"(y), "r"(z)
      : "memory");
}

// The same for a four-dimensional map.
SAGE_DEVICE void tma_load_4d(u32 destination_smem, const TensorMap& map, u32 barrier_smem, int x, int y, int z, int t) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
      ::"r"(destination_smem), "l"((u64)&map), "r"(barrier_smem), "r"(x), "r"(y), "r"(z), "r"(t)
      : "memory");
}

// Copies `bytes` (a multiple of 16, both ends 16-byte aligned); completes on the barrier.
SAGE_DEVICE void bulk_load(u32 destination_smem, const void* source_gmem, u32 bytes, u32 barrier_smem) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   destination_smem),
               "l"(source_gmem), "r"(bytes), "r"(barrier_smem)
               : "memory");
}

// Executed by every warp of a warpgroup. Increasing waits until another warpgroup has given registers back.
template <int REGISTERS>
SAGE_DEVICE void setmaxnreg_increase() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS>
SAGE_DEVICE void setmaxnreg_decrease() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

}  // namespace sage
