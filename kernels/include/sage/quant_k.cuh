// K to int8, by one block of a grid: by itself in sage2/quant_k.cu, beside V in sage2/quant_kv.cu. Its steps serve
// quant_resident.cuh too.
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

/// The shared memory of a block or team.
struct Scratch {
  float slots[SLOTS * D];
  float mean[D];
  float group_amax[2][8];
};
static_assert(sizeof(Scratch) <= kQuantKScratch || D == 256, "the launcher reserves too little");

/// Sum of the samples k, k + SAMPLES / COUNT, ... of a thread, in the order of the tree; `sample(k)` is one's eight columns.
template <int COUNT, class Sample>
SAGE_DEVICE void sum_samples(const Sample& sample, int k, float (&sum)[8]) {
  if constexpr (COUNT == 1) {
    unpack_columns<Input>(sample(k), sum);
  } else {
    // x[i] + x[i + 64] are added first: the far half is the top of the index, so it is the innermost pair.
    float other[8];
    sum_samples<COUNT / 2>(sample, k, sum);
    sum_samples<COUNT / 2>(sample, k + SAMPLES / COUNT, other);
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

/// A thread's share of K: eight columns, of the tokens token0 + after(pass) of each tile and of every SLOTS-th sample.
struct Share {
  int lane, warp, group, half, sub, column, token0;

  template <class Threads>
  SAGE_DEVICE explicit Share(Threads team) : lane(team.lane()), warp(team.warp()) {
    group = warp % 4, half = warp / 4, sub = lane / CHUNKS, column = lane % CHUNKS * 8;
    token0 = half * 64 + sub / 2 * 8 + group * 2 + sub % 2;
  }
  SAGE_DEVICE static constexpr int after(int pass) { return WARP_ROWS == 1 ? pass / 2 * 8 + pass % 2 : pass * 4 * WARP_ROWS; }
  SAGE_DEVICE int slot() const { return warp * WARP_ROWS + sub; }
};

/// The mean of all samples, from the threads' sums of theirs.
template <class Threads>
SAGE_DEVICE void finish_mean(const Share& share, const float (&sum)[8], int length, Scratch& scratch, Threads team,
                             float (&mean)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) scratch.slots[share.slot() * D + share.column + i] = sum[i];
  team.sync();
  if (team.thread() < D) {
    const float total = sum_slots<SLOTS>(scratch.slots + team.thread(), 0);
    scratch.mean[team.thread()] = __fdiv_rn(total, float(sample_count(length)));
  }
  team.sync();
#pragma unroll
  for (int i = 0; i < 8; ++i) mean[i] = scratch.mean[share.column + i];
}

/// Quantize a tile from the threads' pieces of it. `scale` is that of the sequence's first block, `out` its first token.
template <class Threads>
SAGE_DEVICE void quantize_tile(const QuantKParams& p, const Share& share, uint4 (&piece)[PASSES], int tile, int length,
                               const float (&mean)[8], signed char* out, float* scale, Scratch& scratch, Threads team) {
  // Of a column, either the largest or the smallest value is farthest from the mean: rounding keeps their order.
  const int left = length - tile * 128 - share.token0;
  uint4 most = piece[0], least = piece[0];
#pragma unroll
  for (int pass = 1; pass < PASSES; ++pass)
    if (share.after(pass) < left) widen<Input>(most, least, piece[pass]);
  float amax = 0, high[8], low[8];
  unpack_columns<Input>(most, high);
  unpack_columns<Input>(least, low);
#pragma unroll
  for (int i = 0; i < 8; ++i) amax = max_abs(max_abs(amax, high[i] - mean[i]), low[i] - mean[i]);
  if (left <= 0) amax = 0;
  amax = lanes_max_abs<32>(amax);
  if (p.block == 128 || p.per_warp) {  // the group is wider than a warp
    float* shared = scratch.group_amax[tile & 1];
    if (share.lane == 0) shared[share.warp] = amax;
    team.sync();
#pragma unroll
    for (int i = 0; i < 8; ++i)
      if ((p.block == 128 || i / 4 == share.half) && (p.per_warp || i % 4 == share.group)) amax = max_abs(amax, shared[i]);
  }
#pragma unroll
  for (int pass = 0; pass < PASSES; ++pass) keep_packed(piece[pass]);
  const bool zero = is_zero_group(amax);
  const float inverse = zero ? 0.0f : __fdiv_rn(127.0f, amax);
  if (share.lane == 0 && (p.block == 64 || share.half == 0))
    scale[(p.block == 64 ? tile * 2 + share.half : tile) * 4 + share.group] = zero ? 0.0f : amax * (1.0f / 127.0f);
  signed char* to = out + i64(tile * 128 + share.token0) * D + share.column;
#pragma unroll
  for (int pass = 0; pass < PASSES; ++pass) {
    float value[8];
    unpack_columns<Input>(piece[pass], value);
    const float keep = share.after(pass) < left ? inverse : 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) value[i] -= mean[i];
    uint2 packed;
    packed.x = pack_scaled_s8(value[0], value[1], value[2], value[3], keep);
    packed.y = pack_scaled_s8(value[4], value[5], value[6], value[7], keep);
    *reinterpret_cast<uint2*>(to + share.after(pass) * D) = packed;
  }
}

/// Block `index` of those that prepare K.
SAGE_DEVICE void run(const QuantKParams& p, int index, Scratch& scratch) {
  const Block team;
  const Share share(team);
  const int parts = (p.tiles + p.tiles_per_cta - 1) / p.tiles_per_cta;
  const int part = index % parts;
  const int h = index / parts % p.H, b = index / parts / p.H;
  const Sequence sequence = sequence_of(p.cu, b, p.S);
  const int tiles = (sequence.length + 127) / 128, first_tile = part * p.tiles_per_cta;
  const bool first_part = part == 0;
  if (first_tile >= tiles && !first_part) return;
  const int last_tile = min(first_tile + p.tiles_per_cta, tiles);
  const u16* head = static_cast<const u16*>(p.k.data) + (p.cu ? 0 : b * p.k.batch) + h * p.k.head +
                    sequence.first * p.k.token;
  const i64 first_row = (i64(p.cu ? 0 : b) * p.H + h) * p.rows + sequence.row;

  const bool aligned = is_aligned(p.k, p.head_dim);

  // Where registers allow: the first tile is under way while the mean is made, and each next one during the tile before.
  constexpr bool EARLY = D == 64, AHEAD = EARLY && __CUDA_ARCH__ == 900;
  uint4 piece[PASSES], next_piece[AHEAD ? PASSES : 1];
  const auto load = [&](int tile, uint4* piece) {
    const int token = tile * 128 + share.token0;
    const int left = sequence.length - tile * 128 - share.token0;
    const auto row = [&](int pass) { return head + (token + share.after(pass)) * p.k.token; };
    if (aligned) {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass)
        piece[pass] = load_columns<true>(row(pass), share.column, p.head_dim, share.after(pass) < left);
    } else {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass)
        piece[pass] = load_columns<false>(row(pass), share.column, p.head_dim, share.after(pass) < left);
    }
  };
  if (EARLY && first_tile < last_tile) load(first_tile, piece);

  float mean[8] = {};
  if (p.smooth && sequence.length > 0) {
    float sum[8];
    const int length = sequence.length, slot = share.slot(), column = share.column;
    const auto row = [&](int k) { return head + sample_token(slot + SLOTS * k, length) * p.k.token; };
    const auto there = [&](int k) { return slot + SLOTS * k < sample_count(length); };
    const auto plain = [&](int k) { return load_columns<true>(row(k), column, p.head_dim, there(k)); };
    const auto unaligned = [&](int k) { return load_columns<false>(row(k), column, p.head_dim, there(k)); };
    if (aligned) sum_samples<SAMPLES>(plain, 0, sum);
    else sum_samples<SAMPLES>(unaligned, 0, sum);
    finish_mean(share, sum, sequence.length, scratch, team, mean);
  }
  if (first_part && share.warp == 0 && share.sub == 0) {
    float* mean_gmem = p.mean + (i64(b) * p.H + h) * D + share.column;
#pragma unroll
    for (int i = 0; i < 8; ++i) mean_gmem[i] = mean[i];
  }

  for (int tile = first_tile; tile < last_tile; ++tile) {
    if (!EARLY || (!AHEAD && tile != first_tile)) load(tile, piece);
    if (AHEAD && tile + 1 < last_tile) load(tile + 1, next_piece);
    quantize_tile(p, share, piece, tile, sequence.length, mean, p.k8 + first_row * D, p.scale + first_row / p.block * 4,
                  scratch, team);
    if constexpr (AHEAD) {
#pragma unroll
      for (int pass = 0; pass < PASSES; ++pass) piece[pass] = next_piece[pass];
    }
  }
}

}  // namespace sage::quant_k
