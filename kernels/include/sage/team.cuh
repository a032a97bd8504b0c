// Teams of 256 threads, which prepare K and V on their own: a whole block, or one of several in a block.
#pragma once

#include "sync.h"

namespace sage {

constexpr int kTeam = 256;

/// The only team of its block.
struct Block {
  SAGE_DEVICE u32 thread() const { return threadIdx.x; }
  SAGE_DEVICE int lane() const { return threadIdx.x % 32; }
  SAGE_DEVICE int warp() const { return threadIdx.x / 32; }
  SAGE_DEVICE void sync() const { __syncthreads(); }
};

/// One of several teams; it has a hardware barrier for itself (PTX ISA 9.7.13.1, bar.sync; 0 is the block's).
struct Team {
  int index;
  SAGE_DEVICE u32 thread() const { return threadIdx.x % kTeam; }
  SAGE_DEVICE int lane() const { return threadIdx.x % 32; }
  SAGE_DEVICE int warp() const { return threadIdx.x % kTeam / 32; }
  SAGE_DEVICE void sync() const { named_barrier(index + 1, kTeam); }
};

}  // namespace sage
