// Shapes and choices of one instance of the mma.sync attention kernel, from its -D parameters (attention_mma.cu).
//
// A block owns BLOCK_M queries of one head and walks the keys in tiles of BLOCK_N. A warp owns WARP_M of the queries and
// all channels, so softmax needs no exchange between warps. In a warp's tile of S a lane holds rows g, g + 8, ... and
// columns 8j + 2t, 8j + 2t + 1 (instructions.cuh): per-thread quantization gives them one scale of Q and one of K, and
// a tile's dequantization factor is one number per lane.
#pragma once

#include "../types.h"
#include "instructions.cuh"

#define PV_F16 0       // fp16 V, float accumulators
#define PV_BF16 1      // bf16 V and P, float accumulators
#define PV_ACC16 2     // fp16 V, fp16 accumulators within a tile, added to fp16
#define PV_FLUSH16 3   // fp16 V, fp16 accumulators within a tile, added to float
#define PV_F8 4        // e4m3 V, float accumulators within a tile, added to float
#define PV_F8_ACC16 5  // e4m3 V, fp16 accumulators within a tile, added to float

namespace sage {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int BLOCK_N = 64;
constexpr int WARP_M = HEAD_DIM == 256 || MASK ? 16 : 32;
constexpr int BLOCK_M = kWarps * WARP_M;
constexpr bool kF8 = PV >= PV_F8;

constexpr int MMA_M = 16, MMA_N = 8;
constexpr int QK_K = 32, PV_K = kF8 ? 32 : 16;
constexpr int M_TILES = WARP_M / MMA_M;    // of S and O
constexpr int S_TILES = BLOCK_N / MMA_N;   // of S, along the keys
constexpr int O_TILES = HEAD_DIM / MMA_N;  // of O, along the channels
constexpr int QK_STEPS = HEAD_DIM / QK_K;
constexpr int PV_STEPS = BLOCK_N / PV_K;
constexpr int ROWS = 2 * M_TILES;  // rows of S and O in a lane: row i is g + 8 * i

constexpr int K_BYTES = BLOCK_N * HEAD_DIM;
constexpr int V_BYTES = BLOCK_N * HEAD_DIM * (kF8 ? 1 : 2);
constexpr int Q_BYTES = BLOCK_M * HEAD_DIM;
constexpr int K_SMEM = 0;
constexpr int V_SMEM = K_SMEM + K_BYTES;
constexpr int Q_SMEM = V_SMEM + V_BYTES;
constexpr int DOT_SMEM = Q_SMEM + Q_BYTES;  // q . k_mean of each row, float
constexpr int PARK_SMEM = DOT_SMEM + BLOCK_M * 4;
// What a thread needs once a tile waits in shared memory rather than in registers. Offsets of a thread's slots.
enum Parked : int {
  Q_SCALE = 0 * kThreads * 4,   // scale of Q times |scale_log2|
  LENGTH = 1 * kThreads * 4,    // keys
  DIAGONAL = 2 * kThreads * 4,  // keys that the lane's first row sees: its row + 1 if causal
  K_ROW = 3 * kThreads * 4,     // first row of k8
  V_LOW = 4 * kThreads * 4,     // address of this thread's first piece of V
  V_HIGH = 5 * kThreads * 4,
  FULL = 6 * kThreads * 4,      // tiles that end here or before need no mask
  MAXIMUM = 7 * kThreads * 4,   // running maxima of the lane's ROWS rows, in base 2
  SUM = 11 * kThreads * 4,      // the lane's parts of their running sums
  PARKED_BYTES = 15 * kThreads * 4
};
constexpr int kSharedBytes = PARK_SMEM + PARKED_BYTES;
static_assert(WARP_M * HEAD_DIM * 2 * kWarps <= DOT_SMEM, "the output is staged where K, V and Q were");

// log2 of P's largest value: e4m3's largest number on the f8 path.
constexpr float kLog2PMax = kF8 ? 8.807354922f : 0.0f;
// O and l are rescaled only when a row's maximum has grown by more than this, in base 2; meanwhile P may reach 2^kSlack,
// which float accumulators do not mind.
constexpr float kSlack = PV == PV_F16 || PV == PV_BF16 ? 8.0f : 0.0f;
// Where the running maximum starts: finite, so that a row without keys so far makes no inf - inf.
constexpr float kLowest = -1.7e38f;

// 1.5 * 2^23. Its bits plus an integer n, |n| < 2^22, are the bits of the float 1.5 * 2^23 + n.
constexpr float kMagic = 12582912.0f;
constexpr u32 kMagicBits = 0x4B400000u;
static_assert(127 * 127 * HEAD_DIM < 1 << 22, "sums of int8 products keep the exponent");
// -inf as a float and less than every shifted sum as an integer.
constexpr u32 kNegInfinity = 0xFF800000u;

using STile = u32[M_TILES][S_TILES][4];
#if PV == PV_ACC16
using OTile = u32[M_TILES][O_TILES][2];
#else
using OTile = float[M_TILES][O_TILES][4];
#endif

/// A value that all lanes of a warp have in common. The shuffle tells the compiler so, and lets it use uniform registers.
SAGE_DEVICE u32 uniform(u32 x) { return __shfl_sync(~0u, x, 0); }

/// This lane's place in its warp's fragments.
struct Lane {
  u32 warp, lane, g, t;
};
SAGE_DEVICE Lane this_lane() {
  const u32 lane = threadIdx.x % 32;
  return {threadIdx.x / 32, lane, lane / 4, lane % 4};
}

SAGE_DEVICE int min_int(int a, int b) { return a < b ? a : b; }
SAGE_DEVICE int max_int(int a, int b) { return a > b ? a : b; }
SAGE_DEVICE float2 unpack16(u32 x, int bf16) { return bf16 ? Bfloat::unpack(x) : Half::unpack(x); }
SAGE_DEVICE u32 pack16(float a, float b, int bf16) { return bf16 ? Bfloat::pack(a, b) : Half::pack(a, b); }

/// What a block works on.
struct Position {
  int q_tile, q_head, kv_head;
  int sequence;        ///< index of the batch entry or packed sequence
  int batch;           ///< the same, or 0 for packed sequences, which share one batch entry
  int q_len, k_len;
  int q_first, k_first;  ///< rows of q and v before a packed sequence
  int k_prepared;        ///< rows of k8, and columns of v8, before it
};

/// Returns false if the block has no queries: a packed sequence may be shorter than the longest.
SAGE_DEVICE bool locate(const AttnParams& p, Position& at) {
  const u32 tiles = (p.Sq + BLOCK_M - 1) / BLOCK_M;
  const u32 block = block_index(), head = block / tiles;
  at.q_tile = block % tiles;
  if (p.causal) at.q_tile = tiles - 1 - at.q_tile;  // the longest first
  at.q_head = head % p.Hq;
  at.kv_head = at.q_head / (p.Hq / p.Hkv);
  at.batch = at.sequence = head / p.Hq;
  at.q_len = p.Sq;
  at.k_len = p.Sk;
  at.q_first = at.k_first = at.k_prepared = 0;
  if (p.cu_q) {
    const int q = p.cu_q[at.sequence], k = p.cu_k[at.sequence];
    at.q_len = p.cu_q[at.sequence + 1] - q;
    at.k_len = p.cu_k[at.sequence + 1] - k;
    at.q_first = q;
    at.k_first = k;
    at.k_prepared = (k / 128 + at.sequence) * 128;
    at.batch = 0;
  }
  at.q_tile = uniform(at.q_tile);
  at.q_head = uniform(at.q_head);
  at.kv_head = uniform(at.kv_head);
  at.batch = uniform(at.batch);
  at.sequence = uniform(at.sequence);
  at.q_len = uniform(at.q_len);
  at.k_len = uniform(at.k_len);
  at.q_first = uniform(at.q_first);
  at.k_first = uniform(at.k_first);
  at.k_prepared = uniform(at.k_prepared);
  return at.q_tile * BLOCK_M < at.q_len;
}

/// Index of this (sequence, kv head)'s first entry in k_mean, v_scale and v_mean.
SAGE_DEVICE i64 statistics(const AttnParams& p, const Position& at) {
  return (static_cast<i64>(at.sequence) * p.Hkv + at.kv_head) * HEAD_DIM;
}

}  // namespace sage
