// Runs a block of device code on the CPU, or a cluster of blocks: every thread is a fiber, collectives of warps, blocks and
// clusters are rendezvous. A collective that not all lanes reach is reported as a hang. Asynchronous copies land only when their thread waits for them, or when
// nothing else can go on, so that a missing wait shows.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __shared__
#define __align__(n)
#define __launch_bounds__(...)

struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

constexpr unsigned kBlockMemory = 1 << 18, kMostBlocks = 8;  // shared memory of a block; blocks of a cluster
alignas(1024) unsigned char shared[kBlockMemory * kMostBlocks];
struct Index { unsigned x; } threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

struct Copy { unsigned to; const void* from; bool valid; int group; };
constexpr int kStack = 1 << 18;
struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};  // of which only what is used is there
  std::vector<Copy> copies;
  bool done;
  int parity, cluster_generation, group;
};
struct Rendezvous { int arrived, generation; };

constexpr int kMost = 256 * kMostBlocks;
std::unique_ptr<Fiber> fibers[kMost];
Rendezvous warps[kMost / 32], blocks[kMostBlocks], teams[kMostBlocks][16], cluster;
unsigned slots[2][kMost][16];
ucontext_t scheduler;
unsigned long progress;
int threads, blocks_of_cluster;  // of a block; and how many run together
unsigned thread;                 // the fiber that runs: block rank * threads + threadIdx.x
std::function<void()>* body;
std::vector<void (*)()> at_start;          // what a run begins with
std::vector<std::function<void()>> later;  // copies under way; one lands when no thread can go on

inline Fiber& self() { return *fibers[thread]; }
inline unsigned rank() { return thread / threads; }
/// Where this block's shared memory begins in `shared`.
inline unsigned base() { return rank() * kBlockMemory; }
/// A place at the end of every block's shared memory for a variable in it.
inline unsigned reserve(unsigned bytes) {
  static unsigned end = kBlockMemory;
  return end = (end - bytes) & ~15u;
}
inline void yield() { swapcontext(&self().context, &scheduler); }
inline void meet(Rendezvous& at, int parties) {
  progress++;
  if (++at.arrived == parties) {
    at.arrived = 0;
    at.generation++;
    return;
  }
  for (const int generation = at.generation; at.generation == generation;) yield();
}
/// Every lane shows its words; returns the warp's, [lane][word].
inline unsigned (*exchange(const unsigned* words, int count))[16] {
  const int parity = self().parity ^= 1;
  std::memcpy(slots[parity][thread], words, count * 4);
  meet(warps[thread / 32], 32);
  return &slots[parity][thread / 32 * 32];
}
inline void start() {
  (*body)();
  self().done = true;
  progress++;
}
/// Runs `size` blocks of `block_threads` threads, from block `first` on. Returns false if they hang.
inline bool run(int block_threads, unsigned first, std::function<void()> work, int size = 1) {
  threads = block_threads, blocks_of_cluster = size;
  const int count = block_threads * size;
  body = &work;
  blockDim.x = block_threads;
  std::memset(warps, 0, sizeof warps);
  later.clear();
  for (const auto& prepare : at_start) prepare();
  std::memset(blocks, 0, sizeof blocks);
  std::memset(teams, 0, sizeof teams);
  cluster = {};
  std::memset(shared, 0xAB, size * kBlockMemory);  // what shared memory holds at first is anything
  for (int i = 0; i < count; i++) {
    if (!fibers[i]) fibers[i] = std::make_unique<Fiber>();
    Fiber& f = *fibers[i];
    f.done = false;
    f.parity = f.group = 0;
    f.copies.clear();
    getcontext(&f.context);
    f.context.uc_stack = {f.stack.get(), 0, kStack};
    f.context.uc_link = &scheduler;
    makecontext(&f.context, start, 0);
  }
  // Some warps sleep for a while, so that others get as far ahead as the program lets them.
  bool all = false;
  for (unsigned round = 0, alive = 1; alive; round++) {
    const unsigned long before = progress;
    alive = 0;
    bool awake = true;
    for (int i = 0; i < count; i++) {
      if (i % 32 == 0) awake = all || (round / 64 + 1) * (i / 32 + 1) * 2654435761u >> 30;
      if (fibers[i]->done) continue;
      alive++;
      if (!awake) continue;
      thread = i, threadIdx.x = i % threads, blockIdx.x = first + i / threads;
      swapcontext(&scheduler, &fibers[i]->context);
    }
    if (!alive || progress != before) {
      all = false;
    } else if (!std::exchange(all, true)) {
      continue;
    } else if (later.empty()) {
      return false;
    } else {
      later.back()();  // the newest first: copies are not ordered
      later.pop_back();
    }
  }
  return true;
}

}  // namespace emulator

inline unsigned __float_as_uint(float x) { unsigned y; std::memcpy(&y, &x, 4); return y; }
inline float __uint_as_float(unsigned x) { float y; std::memcpy(&y, &x, 4); return y; }
inline int __float_as_int(float x) { return static_cast<int>(__float_as_uint(x)); }
inline float __int_as_float(int x) { return __uint_as_float(static_cast<unsigned>(x)); }
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const unsigned long long bytes = static_cast<unsigned long long>(b) << 32 | a;
  unsigned word = 0;
  for (int i = 0; i < 4; i++) word |= static_cast<unsigned>(bytes >> 8 * (select >> 4 * i & 7) & 255) << 8 * i;
  return word;
}
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __log2f(float a) { return std::log2(a); }
inline int max(int a, int b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
template <class T> T __ldg(const T* x) { return *x; }
inline void __syncthreads() { emulator::meet(emulator::blocks[emulator::rank()], emulator::threads); }
inline void __syncwarp() { emulator::meet(emulator::warps[emulator::thread / 32], 32); }
template <class T> T __shfl_sync(unsigned, T x, int lane) {
  unsigned word;
  std::memcpy(&word, &x, 4);
  word = emulator::exchange(&word, 1)[lane][0];
  std::memcpy(&x, &word, 4);
  return x;
}
template <class T> T __shfl_xor_sync(unsigned mask, T x, int bits) {
  return __shfl_sync(mask, x, static_cast<int>(threadIdx.x % 32) ^ bits);
}
inline bool __any_sync(unsigned, bool x) {
  const unsigned word = x;
  auto all = emulator::exchange(&word, 1);
  bool any = false;
  for (int i = 0; i < 32; i++) any |= all[i][0] != 0;
  return any;
}
template <class T> T __reduce_max_sync(unsigned, T x) {
  unsigned word;
  std::memcpy(&word, &x, 4);
  auto all = emulator::exchange(&word, 1);
  for (int i = 0; i < 32; i++) {
    T other;
    std::memcpy(&other, &all[i][0], 4);
    if (other > x) x = other;
  }
  return x;
}
inline unsigned __vmaxu2(unsigned a, unsigned b) {
  const unsigned low = (a & 0xffff) > (b & 0xffff) ? a & 0xffff : b & 0xffff;
  return (a >> 16 > b >> 16 ? a >> 16 : b >> 16) << 16 | low;
}
inline int atomicAdd(int* at, int x) {
  const int before = *at;
  *at += x;
  return before;
}
inline int atomicMax(int* at, int x) {
  const int before = *at;
  if (x > before) *at = x;
  return before;
}
