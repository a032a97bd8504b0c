// Barriers in shared memory that also count bytes of asynchronous copies (sm_90 and newer; PTX ISA 9.7.13.15, mbarrier).
// A barrier's phase completes when its arrivals and its announced bytes have all come; waiting is by phase parity.
#pragma once

#include "types.h"

namespace sage {

SAGE_DEVICE void mbarrier_init(u32 barrier_smem, u32 arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier_smem), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the asynchronous proxy.
SAGE_DEVICE void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

SAGE_DEVICE void mbarrier_arrive(u32 barrier_smem) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.shared::cta.b64 state, [%0]; }" ::"r"(barrier_smem) : "memory");
}

// Arrives and makes the phase wait for `bytes` more of asynchronous copies.
SAGE_DEVICE void mbarrier_arrive_expect(u32 barrier_smem, u32 bytes) {
  asm volatile("{ .reg .b64 state; mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1; }" ::"r"(barrier_smem),
               "r"(bytes)
               : "memory");
}

SAGE_DEVICE bool mbarrier_try_wait(u32 barrier_smem, u32 parity) {
  u32 done;
  asm volatile(
      "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
      : "=r"(done)
      : "r"(barrier_smem), "r"(parity)
      : "memory");
  return done != 0;
}

// The same without waiting: try_wait may suspend the thread for thousands of clocks before it says no.
SAGE_DEVICE bool mbarrier_test_wait(u32 barrier_smem, u32 parity) {
  u32 done;
  asm volatile(
      "{ .reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }"
      : "=r"(done)
      : "r"(barrier_smem), "r"(parity)
      : "memory");
  return done != 0;
}

// Waits until the phase with this parity is complete. With SAGE_SPIN_LIMIT a barrier that never completes traps.
SAGE_DEVICE void mbarrier_wait(u32 barrier_smem, u32 parity) {
#ifdef SAGE_SPIN_LIMIT
  for (u32 spins = 0; !mbarrier_try_wait(barrier_smem, parity);) {
    if (++spins > SAGE_SPIN_LIMIT) asm volatile("trap;");
  }
#else
  while (!mbarrier_try_wait(barrier_smem, parity)) {
  }
#endif
}

}  // namespace sage
