// Bulk copies from global to shared memory on Blackwell, counted by an mbarrier (PTX ISA 9.7.9.27, cp.async.bulk).
#pragma once

#include "mbarrier.cuh"

namespace sage {

// Copies `bytes` (a multiple of 16; both addresses 16-byte aligned) and counts them at `barrier`. The destination is
// named .shared::cta (CUDA 12.8 and newer): with .shared::cluster, sm_12x code calls a driver routine for every copy.
SAGE_DEVICE void bulk_copy(u32 to_smem, const void* from_gmem, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to_smem),
                 "l"(from_gmem), "r"(bytes), "r"(barrier)
                 : "memory");
}

}  // namespace sage
