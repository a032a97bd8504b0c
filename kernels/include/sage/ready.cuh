// Which heads of K and V are prepared: 16 bytes in memory for each, that the preparing kernel sets one by one and the
// attention kernel, which runs beside it, waits for.
#pragma once

#include "params.h"
#include "sync.h"

namespace sage {

/// Sets the flag of part `part` of `parts` of a head; with the last one also those that stand for no part. One thread does
/// it; behind a barrier and fence_gpu() it says that what the others wrote before them is there.
SAGE_DEVICE void set_flag(u8* ready, int head, int part, int parts, u8 flag) {
  const int end = part == parts - 1 ? kReadyBytes : part + 1;
#pragma unroll 1
  for (; part < end; ++part) store_flag(ready + i64(head) * kReadyBytes + part, flag);
}

SAGE_DEVICE bool is_ready(const u8* ready, int head) {
  const uint4 x = load_flags_16(ready + i64(head) * kReadyBytes);
  return (x.x & x.y & x.z & x.w) == 0x01010101u;
}

/// Returns when the head is prepared; this thread's later reads, asynchronous ones too, are of its operands.
SAGE_DEVICE void await_ready(const u8* ready, int head) {
  while (!is_ready(ready, head)) pause();
  fence_gpu();
  fence_async_global();
}

}  // namespace sage
