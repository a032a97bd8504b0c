// Bulk copies from global to shared memory and the mbarriers that count them (PTX ISA: mbarrier, cp.async.bulk).
// A barrier's phase completes when its arrivals and its announced bytes have all come; waiting is by phase parity.
#pragma once

#include "sync.h"

namespace sage {

SAGE_DEVICE void barrier_init(u32 barrier, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialized barriers visible to bulk copies; a __syncthreads() does so for the other threads.
SAGE_DEVICE void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

SAGE_DEVICE void barrier_arrive(u32 barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

SAGE_DEVICE void barrier_arrive_expect(u32 barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

SAGE_DEVICE bool barrier_try_wait(u32 barrier, u32 parity) {
  u32 done;
  asm volatile(
      "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

// With SAGE_SPIN_LIMIT a barrier that never completes stops the kernel instead of hanging it.
SAGE_DEVICE void barrier_wait(u32 barrier, u32 parity) {
#ifdef SAGE_SPIN_LIMIT
  for (u32 spins = 0; !barrier_try_wait(barrier, parity);)
    if (++spins > SAGE_SPIN_LIMIT) asm volatile("trap;");
#else
  while (!barrier_try_wait(barrier, parity)) {
  }
#endif
}

// Copies `bytes` (a multiple of 16; both addresses 16-byte aligned) and counts them at `barrier`. The destination is
// named .shared::cta (CUDA 12.8 and newer): with .shared::cluster, sm_12x code calls a driver routine for every copy.
SAGE_DEVICE void bulk_copy(u32 to_smem, const void* from_gmem, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to_smem),
                 "l"(from_gmem), "r"(bytes), "r"(barrier)
                 : "memory");
}

}  // namespace sage
