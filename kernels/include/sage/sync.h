// Loads, asynchronous copies, programmatic dependent launch, clusters, and reductions over lanes.
#pragma once

#include "types.h"

namespace sage {

SAGE_DEVICE u32 shared_address(const void* pointer) { return static_cast<u32>(__cvta_generic_to_shared(pointer)); }

/// 16 bytes that are read once: kept out of L1.
SAGE_DEVICE uint4 load_global_once_16(const void* from) {
  uint4 x;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
      : "l"(from));
  return x;
}

/// cp.async of 16 bytes, global to shared; zeros where `valid` is false (PTX ISA §cp.async, src-size).
SAGE_DEVICE void cp_async_16(u32 to_smem, const void* from_gmem, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to_smem), "l"(from_gmem), "r"(bytes) : "memory");
}
SAGE_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Wait until at most N of the newest groups are still under way.
template <int N>
SAGE_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/// Barrier `id` of the block's sixteen, for `threads` threads (PTX ISA 9.7.13.1, bar.sync; 0 is the whole block's).
SAGE_DEVICE void named_barrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/// Writes and reads that blocks tell each other something by, through L2, and the fence between them and what they tell of
/// (PTX ISA 8, memory consistency model).
SAGE_DEVICE void store_flag(u8* at, u8 flag) {
  asm volatile("st.relaxed.gpu.global.u8 [%0], %1;" ::"l"(at), "r"(u32(flag)) : "memory");
}
SAGE_DEVICE uint4 load_flags_16(const u8* at) {
  uint4 x;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(at)
               : "memory");
  return x;
}
SAGE_DEVICE void fence_gpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
/// Orders what was seen in global memory before later asynchronous copies of it (PTX ISA 9.7.13.4, fence.proxy; sm_90).
SAGE_DEVICE void fence_async_global() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.global;" ::: "memory");
#endif
}
/// Some time between two looks at a flag.
SAGE_DEVICE void pause() { __nanosleep(100); }

/// Programmatic dependent launch (sm_90 and newer, nothing elsewhere). The next kernel in the stream may start once a thread
/// of every block has called `allow_dependents`; `wait_for_producers` returns when the previous kernels have finished and their
/// writes are visible. Both do nothing in an ordinary launch.
SAGE_DEVICE void allow_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
SAGE_DEVICE void wait_for_producers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#if __CUDA_ARCH__ >= 900
SAGE_DEVICE u32 cluster_rank() {
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
SAGE_DEVICE u32 cluster_size() {
  u32 size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
/// Barrier of all threads of the cluster, whole or in two halves; shared-memory writes before it are visible after it.
SAGE_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
SAGE_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
SAGE_DEVICE void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}
/// Read one float of block `rank`'s shared memory; `address` is this block's own shared address of it.
SAGE_DEVICE float cluster_load(u32 address, u32 rank) {
  float value;
  asm volatile("{.reg .b32 remote; mapa.shared::cluster.u32 remote, %1, %2; ld.shared::cluster.f32 %0, [remote];}"
               : "=f"(value)
               : "r"(address), "r"(rank)
               : "memory");
  return value;
}
#endif

/// Reductions over `LANES` lanes that differ in the bits from `FIRST` up; every lane gets the result. NaN survives max.
template <int LANES, int FIRST = 1>
SAGE_DEVICE float lanes_max_abs(float value) {
#pragma unroll
  for (int step = FIRST; step < FIRST * LANES; step *= 2) value = max_abs(value, __shfl_xor_sync(~0u, value, step));
  return value;
}
template <int LANES, int FIRST = 1>
SAGE_DEVICE float lanes_sum(float value) {
#pragma unroll
  for (int step = FIRST; step < FIRST * LANES; step *= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

}  // namespace sage
