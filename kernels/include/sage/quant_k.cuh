// K to int8, for one block of a grid: by itself in sage2/quant_k.cu, beside V in sage2/quant_kv.cu.
//
// Definition, fp32 throughout, round to nearest even:
//   mean    smooth ? the sampled mean of rows.h : 0          one vector for a (batch, head) or sequence
//   y       float(k) - mean, 0 for padding tokens and columns
//   amax    largest |y| of a group: the tokens of a block of 64 or 128 with (token mod 8) / 2 = t, or the whole block
//   scale   amax * fp32(1 / 127)                              0 for an all-zero group
//   k8      rint of the exact product y * (127 / amax)        any byte under a scale of NaN or infinity
//
// A warp takes one residue group t of a half tile of 64 tokens, so with 64-token blocks a group never leaves a warp. A
// lane holds eight columns of 4, 8 or 16 rows in registers; each byte of K is read from DRAM once. Every block samples
// its head's mean for itself, from L2 after the first.
#pragma once

#include <sage/rows.h>

namespace sage::quant_k {

constexpr int D = HEAD_DIM;
constexpr int CHUNKS = D / 8;             // 16-byte pieces of a row: 8, 16 or 32
constexpr int WARP_ROWS = 32 / CHUNKS;    // rows a warp reads at once: 4, 2 or 1
constexpr int PASSES = 16 / WARP_ROWS;    // a group has 16 tokens in 64
constexpr int SLOTS = 8 * WARP_ROWS;      // sample rows a block reads at once
constexpr int SAMPLES = kSample / SLOTS;  // and how often

/// The shared memory of a block.
struct Scratch {
  float slots[SLOTS * D];
  float mean[D];
  float group_amax[2][8];
};
static_assert(sizeof(Scratch) <= kQuantKScratch || D == 256, "the launcher reserves too little");

/// Sum of samples first, first + step, ... in the order of the tree.
template <int COUNT, bool ALIGNED>
SAGE_DEVICE void sum_samples(const u16* head, const QuantKParams& p, int length, int first, int column, float (&sum)[8]) {
  if constexpr (COUNT == 1) {
    unpack_columns<Input>(load_columns<ALIGNED>(head + sample_token(first, length) * p.k.token, column, p.head_dim,
                                                first < sample_count(length)),
                          sum);
  } else {
    // x[i] + x[i + 64] are added first: the far half is the top of the index, so it is the innermost pair.
    float other[8];
    sum_samples<COUNT / 2, ALIGNED>(head, p, length, first, column, sum);
    sum_samples<COUNT / 2, ALIGNED>(head, p, length, first + SLOTS * (SAMPLES / COUNT), column, other);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += other[i];
  }
}

/// Sum of the slots first, first + SLOTS / COUNT, ... of a column, in the order of the tree.
template <int COUNT>
SAGE_DEVICE float sum_slots(const float* column, int first) {
  if constexpr (COUNT == 1) return column[first * D];
  else return sum_slots<COUNT / 2>(column, first) + sum_slots<COUNT / 2>(column, first + SLOTS / COUNT);
}

/// Block `index` of those that prepare K; 256 threads.
SAGE_DEVICE void run(const QuantKParams& p, int index, Scratch& scratch) {
  if (p.counter && index == 0 && threadIdx.x == 0) *p.counter = 0;

  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int group = warp % 4, half = warp / 4, chunk = lane % CHUNKS, sub = lane / CHUNKS, column = chunk * 8;
  const int parts = (p.tiles + p.tiles_per_cta - 1) / p.tiles_per_cta;
  const int part = index % parts;
  const int h = index / parts % p.H, b = index / parts / p.H;
  const Sequence sequence = sequence_of(p.cu, b, p.S);
  const int tiles = (sequence.length + 127) / 128, first_tile = part * p.tiles_per_cta;
  const bool first_part = part == 0;
  if (first_tile >= tiles && !first_part) return;
  const int last_tile = min(first_tile + p.tiles_per_cta, tiles);
  const u16* head = static_cast<const u16*>(p.k.data) + (p.cu ? 0 : b * p.k.batch) + h * p.k.head + sequence.first * p.k.token;
  const i64 head_index = i64(p.cu ? 0 : b) * p.H + h;
  signed char* out = p.k8 + (head_index * p.rows + sequence.row) * D;
  float* scale = p.scale + (head_index * p.rows + sequence.row) / p.block * 4;

  const bool aligned = is_aligned(p.k, p.head_dim);

  // Where registers allow: the first tile is under way while the mean is made, and each next one during the tile before.
  constexpr bool EARLY = D == 64, AHEAD = EARLY && __CUDA_ARCH__ == 900;
  uint4 piece[PASSES], next_piece[AHEAD ? PASSES : 1];
  const auto token_of = [&](int pass) {
    const int pair = pass * WARP_ROWS + sub;
    return half * 64 + pair / 2 * 8 + group * 2 + pair % 2;
  };
  const auto load = [&](int tile, uint4* piece) {
    if (aligned) {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass) {
        const int token = tile * 128 + token_of(pass);
        piece[pass] = load_columns<true>(head + token * p.k.token, column, p.head_dim, token < sequence.length);
      }
    } else {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass) {
        const int token = tile * 128 + token_of(pass);
        piece[pass] = load_columns<false>(head + token * p.k.token, column, p.head_dim, token < sequence.length);
      }
    }
  };
  if (EARLY && first_tile < last_tile) load(first_tile, piece);

  float mean[8] = {};
  if (p.smooth && sequence.length > 0) {
    float sum[8];
    const int slot = warp * WARP_ROWS + sub;
    if (aligned) sum_samples<SAMPLES, true>(head, p, sequence.length, slot, column, sum);
    else sum_samples<SAMPLES, false>(head, p, sequence.length, slot, column, sum);
#pragma unroll
    for (int i = 0; i < 8; ++i) scratch.slots[slot * D + column + i] = sum[i];
    __syncthreads();
    if (threadIdx.x < D) {
      const float total = sum_slots<SLOTS>(scratch.slots + threadIdx.x, 0);
      scratch.mean[threadIdx.x] = __fdiv_rn(total, float(sample_count(sequence.length)));
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; ++i) mean[i] = scratch.mean[column + i];
  }
  if (first_part && warp == 0 && sub == 0) {
    float* mean_gmem = p.mean + (i64(b) * p.H + h) * D + column;
#pragma unroll
    for (int i = 0; i < 8; ++i) mean_gmem[i] = mean[i];
  }

  for (int tile = first_tile; tile < last_tile; ++tile) {
    if (!EARLY || (!AHEAD && tile != first_tile)) load(tile, piece);
    if (AHEAD && tile + 1 < last_tile) load(tile + 1, next_piece);
    float amax = 0;
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) {
      if (tile * 128 + token_of(pass) >= sequence.length) continue;
      float value[8];
      unpack_columns<Input>(piece[pass], value);
#pragma unroll
      for (int i = 0; i < 8; ++i) amax = max_abs(amax, value[i] - mean[i]);
    }
    amax = lanes_max_abs<32>(amax);
    if (p.block == 128 || p.per_warp) {  // the group is wider than a warp
      float* shared = scratch.group_amax[tile & 1];
      if (lane == 0) shared[warp] = amax;
      __syncthreads();
#pragma unroll
      for (int i = 0; i < 8; ++i)
        if ((p.block == 128 || i / 4 == half) && (p.per_warp || i % 4 == group)) amax = max_abs(amax, shared[i]);
    }
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) keep_packed(piece[pass]);
    const bool zero = is_zero_group(amax);
    const float inverse = zero ? 0.0f : __fdiv_rn(127.0f, amax);
    if (lane == 0 && (p.block == 64 || half == 0))
      scale[(p.block == 64 ? tile * 2 + half : tile) * 4 + group] = zero ? 0.0f : amax * (1.0f / 127.0f);
#pragma unroll
    for (int pass = 0; pass < PASSES; ++pass) {
      const int token = tile * 128 + token_of(pass);
      float value[8];
      unpack_columns<Input>(piece[pass], value);
      const float keep = token < sequence.length ? inverse : 0.0f;
#pragma unroll
      for (int i = 0; i < 8; ++i) value[i] -= mean[i];
      uint2 packed;
      packed.x = pack_scaled_s8(value[0], value[1], value[2], value[3], keep);
      packed.y = pack_scaled_s8(value[4], value[5], value[6], value[7], keep);
      *reinterpret_cast<uint2*>(out + i64(token) * D + column) = packed;
    }
    if constexpr (AHEAD) {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass) piece[pass] = next_piece[pass];
    }
  }
}

}  // namespace sage::quant_k
