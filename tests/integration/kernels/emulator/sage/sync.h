#pragma once
#include <algorithm>
#include "types.h"
namespace sage {
inline u32 shared_address(const void* pointer) { return static_cast<u32>(static_cast<const u8*>(pointer) - shared); }
inline void cp_async_16(u32 to, const void* from, bool valid) { emulator::self().copies.push_back({to, from, valid, emulator::self().group}); }
inline void cp_async_commit() { emulator::self().group++; }
template <int N>
inline void cp_async_wait() {
  auto& copies = emulator::self().copies;
  const auto lands = [](const emulator::Copy& copy) { return copy.group < emulator::self().group - N; };
  for (const emulator::Copy& copy : copies) {
    if (!lands(copy)) continue;
    if (copy.valid) std::memcpy(shared + copy.to, copy.from, 16);
    else std::memset(shared + copy.to, 0, 16);
  }
  copies.erase(std::remove_if(copies.begin(), copies.end(), lands), copies.end());
}
inline uint4 load_global_once_16(const void* from) {
  uint4 x;
  std::memcpy(&x, from, 16);
  return x;
}
inline void named_barrier(int id, int threads) { emulator::meet(emulator::teams[emulator::rank()][id], threads); }
// A flag counts as set only if it was cleared before, and once.
inline void store_flag(u8* at, u8 flag) {
  *at = !flag ? 0x80 : *at == 0x80 ? flag : 0xEE;
  emulator::progress++;
}
inline uint4 load_flags_16(const u8* at) {
  uint4 x;
  std::memcpy(&x, at, 16);
  return x;
}
inline void fence_gpu() {}
inline void fence_async_global() {}
inline void pause() { emulator::yield(); }
inline void wait_for_producers() {}
inline void allow_dependents() {}
inline void cluster_arrive() {
  emulator::self().cluster_generation = emulator::cluster.generation;
  emulator::progress++;
  if (++emulator::cluster.arrived < emulator::threads * emulator::blocks_of_cluster) return;
  emulator::cluster.arrived = 0;
  emulator::cluster.generation++;
}
inline void cluster_wait() {
  while (emulator::cluster.generation == emulator::self().cluster_generation) emulator::yield();
}
inline void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}
inline float cluster_load(u32 address, u32 rank) {
  float x;
  std::memcpy(&x, shared + address % kBlockMemory + rank * kBlockMemory, 4);
  return x;
}
template <int LANES, int FIRST = 1>
inline float lanes_max_abs(float value) {
  for (int step = FIRST; step < FIRST * LANES; step *= 2) value = max_abs(value, __shfl_xor_sync(~0u, value, step));
  return value;
}
template <int LANES, int FIRST = 1>
inline float lanes_sum(float value) {
  for (int step = FIRST; step < FIRST * LANES; step *= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}
}  // namespace sage
