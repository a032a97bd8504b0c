#pragma once
#include "../tensor_map.h"
#include "types.h"
namespace sage {
struct Mbarrier {
  int arrivals, waited_for;
  i64 bytes;
  u32 phase;
  void settle() {
    if (waited_for || bytes) return;
    waited_for = arrivals, phase ^= 1;
    emulator::progress++;
  }
} mbarriers[sizeof shared / 8];
inline Mbarrier& mbarrier_at(u32 address) { return mbarriers[address / 8]; }
inline void mbarrier_init(u32 address, u32 arrivals) { mbarrier_at(address) = {static_cast<int>(arrivals), static_cast<int>(arrivals), 0, 0}; }
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(u32 address) {
  mbarrier_at(address).waited_for--;
  mbarrier_at(address).settle();
}
inline void mbarrier_arrive_expect(u32 address, u32 bytes) {
  mbarrier_at(address).bytes += bytes;
  mbarrier_arrive(address);
}
inline bool mbarrier_test_wait(u32 address, u32 parity) { return mbarrier_at(address).phase != parity; }
inline void mbarrier_wait(u32 address, u32 parity) {
  while (!mbarrier_test_wait(address, parity)) emulator::yield();
}
inline void fence_async_shared() {}
inline void tma_prefetch(const TensorMap&) {}

/// Where the copy engine and wgmma find byte `address` of a swizzled tile (PTX ISA, swizzling modes): 16-byte chunks are
/// XORed with the 128-byte line's number, of which rows of 64 bytes use two bits.
inline u32 swizzled_address(u32 address, int row_bytes) { return address ^ (address >> 7 & (row_bytes == 128 ? 7 : 3)) << 4; }

inline void tma_load(u32 to, const TensorMap map, u32 barrier, const int (&at)[4]) {
  emulator::later.push_back([=] {
    const int (&box)[4] = map.box;
    const int row_bytes = box[0] * map.element;
    u32 line = to;
    for (int w = 0; w < box[3]; w++)
      for (int z = 0; z < box[2]; z++)
        for (int y = 0; y < box[1]; y++, line += row_bytes)
          for (int x = 0; x < box[0]; x++) {
            const i64 place[4] = {at[0] + x, at[1] + y, at[2] + z, at[3] + w};
            const u8* from = map.data;
            bool there = true;
            for (int i = 0; i < map.rank; i++) {
              there &= place[i] >= 0 && place[i] < map.dims[i];
              from += place[i] * map.strides[i];
            }
            for (int b = 0; b < map.element; b++)
              shared[swizzled_address(line + x * map.element + b, map.swizzle)] = there ? from[b] : 0;
          }
    mbarrier_at(barrier).bytes -= line - to;
    mbarrier_at(barrier).settle();
  });
}
inline void tma_load_3d(u32 to, const TensorMap& map, u32 barrier, int x, int y, int z) { tma_load(to, map, barrier, {x, y, z, 0}); }
inline void tma_load_4d(u32 to, const TensorMap& map, u32 barrier, int x, int y, int z, int t) {
  tma_load(to, map, barrier, {x, y, z, t});
}
inline void bulk_load(u32 to, const void* from, u32 bytes, u32 barrier) {
  emulator::later.push_back([=] {
    std::memcpy(shared + to, from, bytes);
    mbarrier_at(barrier).bytes -= bytes;
    mbarrier_at(barrier).settle();
  });
}
template <int> void setmaxnreg_increase() {}
template <int> void setmaxnreg_decrease() {}
}  // namespace sage
