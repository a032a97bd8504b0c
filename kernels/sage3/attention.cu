// FP4 attention: S = Q K^T and O = P V on NVFP4 block-scaled mma, softmax in fp32 (SageAttention3, arXiv 2505.11594).
//
// One thread block owns 128 query rows: eight consumer warps of 16 rows each, and a producer warp (in a group of four, so
// that setmaxnreg can hand its registers to the consumers) that streams K, delta
// and V tiles of 128 tokens through a ring of kStages stages with bulk copies. Per key tile, each consumer warp:
//   S     = mma(Q, K)                          [16 x 128], fp32 in registers
//   s2    = S * (q_scale * k_scale * scale_log2) + delta, the base-2 logits; masked ones become -inf
//   m     = running row maximum; the maxima over blocks of 16 tokens are found on the way to it
//   scale = e4m3(2^(block maximum - m) * 448), P / scale = 2^(s2 - m + log2(2688) - log2(scale)), rounded to E2M1
//   l    += scale * sum(P / scale), before rounding
//   O     = O * 2^(m_old - m) + mma(P, V)
// The factor 2688 = 6 * 448 is the second level of P's scaling: with it the block scales use the whole range of E4M3.
// It stands in both O and l and falls out of O / l. Keeping it relative to the running maximum rather than the tile's
// lets the mma accumulate over the tiles; a tile whose maximum is far below the running one has small weight anyway.
//
// Parameters: ENTRY; HEAD_DIM 64 or 128. Grid: x = query tiles * pairs; 384 threads; dynamic shared
// memory: kSmemBytes below.
#include "sage/bulk.cuh"
#include "sage/nvfp4.cuh"
#include "sage/sage3_layout.cuh"
#include "sage/sage3_params.h"
#include "sage/sync.h"

using namespace sage;

namespace {

constexpr int D = HEAD_DIM;
constexpr int kSteps = D / 64;                  // mma steps along the head dim
constexpr int kKeyTiles = kTile / 8;            // n8 tiles of S
constexpr int kChannelTiles = D / 8;            // n8 tiles of O
constexpr int kGroups = kTile / 32;             // a lane holds 8 neighbouring tokens of each group of 32
constexpr int kThreads = (kConsumerWarps + 4) * 32;  // setmaxnreg works on groups of four warps

// Registers per thread after the producer group has given its own away: 8 * 32 * 232 + 4 * 32 * 40 <= 65536.
constexpr int kConsumerRegisters = 232;
constexpr int kProducerRegisters = 40;

// Shared memory: stages, then barriers. A stage: K record, delta row, V record.
constexpr int kStages = 4;
constexpr int kDeltaBytes = kTile * 4;
constexpr int kDeltaOffset = Record<D>::kScaledBytes;
constexpr int kValueOffset = kDeltaOffset + kDeltaBytes;
constexpr int kStageBytes = kValueOffset + Record<D>::kBytes;
constexpr int kBarrierOffset = kStages * kStageBytes;
constexpr int kSmemBytes = kBarrierOffset + 3 * kStages * 8;
static_assert(kStageBytes % 16 == 0, "bulk copies and 16-byte loads need aligned stages");
static_assert(kSmemBytes <= 99 * 1024, "sm_120 gives a thread block 99 KB");

constexpr int kOutRowBytes = D * 2 + 16;        // padded, so that rows start in different banks
static_assert(kConsumerWarps * 16 * kOutRowBytes <= kBarrierOffset, "the output tile reuses the stages");

constexpr float kLog2E4M3Max = 8.807354922057604f;   // log2(448)
constexpr float kLog2TwoLevel = 11.392317422778762f; // log2(448 * 6)
constexpr float kLn2 = 0.6931471805599453f;

SAGE_DEVICE float log2_approx(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

SAGE_DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

SAGE_DEVICE void produce(const Sage3AttentionParams& p, u32 smem, u32 barriers, int tiles,
                    i64 kv_pair, const float* delta_gmem) {
  const u8* k_gmem = p.k4 + kv_pair * p.k_tiles * Record<D>::kScaledBytes;
  const u8* v_gmem = p.v4 + kv_pair * p.k_tiles * Record<D>::kBytes;
  for (int j = 0; j < tiles; ++j) {
    int slot = j % kStages;
    u32 stage = smem + slot * kStageBytes;
    u32 k_full = barriers + slot * 8, v_full = k_full + kStages * 8, empty = v_full + kStages * 8;
    mbarrier_wait(empty, (j / kStages + 1) & 1);  // the first round finds the phase before the first complete
    mbarrier_arrive_expect(k_full, Record<D>::kScaledBytes + kDeltaBytes);
    bulk_copy(stage, k_gmem + static_cast<i64>(j) * Record<D>::kScaledBytes, Record<D>::kScaledBytes, k_full);
    bulk_copy(stage + kDeltaOffset, delta_gmem + static_cast<i64>(j) * kTile, kDeltaBytes, k_full);
    mbarrier_arrive_expect(v_full, Record<D>::kBytes);
    bulk_copy(stage + kValueOffset, v_gmem + static_cast<i64>(j) * Record<D>::kBytes, Record<D>::kBytes, v_full);
  }
}

// C += A B over a record of B: TILES n8 tiles, STEPS steps of 64 along the contraction.
template <int TILES, int STEPS>
SAGE_DEVICE void multiply(float (&c)[TILES][4], const u32 (&a)[STEPS][4],
                                         const u32 (&a_scale)[STEPS], const u8* values,
                                         const u8* scales, int lane) {
  constexpr int kPairs = TILES * STEPS;  // (n8 tile, step), in the record's order
#pragma unroll
  for (int quad = 0; quad < kPairs / 4; ++quad) {
    uint4 s = *reinterpret_cast<const uint4*>(scales + (quad * 8 + lane / 4) * 16);
    u32 scale[4] = {s.x, s.y, s.z, s.w};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint4 w = *reinterpret_cast<const uint4*>(values + ((quad * 2 + half) * 32 + lane) * 16);
      int first = quad * 4 + half * 2, second = first + 1;
      mma_16x8x64_nvfp4(c[first / STEPS], a[first % STEPS], w.x, w.y, a_scale[first % STEPS], scale[half * 2]);
      mma_16x8x64_nvfp4(c[second / STEPS], a[second % STEPS], w.z, w.w, a_scale[second % STEPS], scale[half * 2 + 1]);
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 1) ENTRY(const __grid_constant__ Sage3AttentionParams p) {
  extern __shared__ __align__(128) u8 smem[];
  u32 barriers = shared_address(smem + kBarrierOffset);
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; ++slot) {
      mbarrier_init(barriers + slot * 8, 1);
      mbarrier_init(barriers + (kStages + slot) * 8, 1);
      mbarrier_init(barriers + (2 * kStages + slot) * 8, kConsumerWarps);
    }
    mbarrier_init_fence();
  }
  __syncthreads();

  // Causal: the longest rows first, so that the short ones fill the end of the grid.
  int q_tile = blockIdx.x % p.q_tiles;
  if (p.causal) q_tile = p.q_tiles - 1 - q_tile;
  int local_pair = blockIdx.x / p.q_tiles;
  int pair = p.first_pair + local_pair;
  int head = pair % p.heads_q;
  int batch = pair / p.heads_q;
  i64 kv_pair = static_cast<i64>(batch) * (p.heads_q / p.heads_per_kv) + head / p.heads_per_kv;
  int tiles = p.causal ? min(p.k_tiles, q_tile + 1) : p.k_tiles;
  int delta_row = p.delta_rows == 1 ? 0 : q_tile;
  const float* delta_gmem =
    p.delta + (static_cast<i64>(local_pair) * p.delta_rows + delta_row) * p.k_tiles * kTile;

  if (warp >= kConsumerWarps) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kProducerRegisters));
    if (warp == kConsumerWarps && lane == 0) produce(p, shared_address(smem), barriers, tiles, kv_pair, delta_gmem);
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kConsumerRegisters));

  int g = lane / 4, t = lane % 4;
  int row = q_tile * kTile + warp * 16 + g;  // and row + 8

  const u8* q_gmem =
    p.q4 + (static_cast<i64>(pair) * p.q_tiles + q_tile) * Record<D>::kScaledBytes;
  u32 q[kSteps][4], q_scale[kSteps];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    uint4 w = *reinterpret_cast<const uint4*>(q_gmem + ((warp * kSteps + step) * 32 + lane) * 16);
    q[step][0] = w.x, q[step][1] = w.y, q[step][2] = w.z, q[step][3] = w.w;
    q_scale[step] = *reinterpret_cast<const u32*>(q_gmem + Record<D>::kValueBytes +
                                                           ((warp * kSteps + step) * 16 + g + 8 * (t % 2)) * 4);
  }
  float logit_scale = *reinterpret_cast<const float*>(q_gmem + Record<D>::kBytes) * p.scale_log2;

  // Byte order of a row's four P scales: lanes 0 and 1 of a quad know blocks 0 and 2, lanes 2 and 3 blocks 1 and 3.
  u32 own = 2 * (t % 2), other = own + 4;
  u32 gather = t < 2 ? own | other << 4 | (own + 1) << 8 | (other + 1) << 12
              : other | own << 4 | (other + 1) << 8 | (own + 1) << 12;

  const float minus_infinity = __uint_as_float(0xff800000u);
  float o[kChannelTiles][4] = {};
  float m[2] = {minus_infinity, minus_infinity};
  float l[2] = {0.0f, 0.0f};

  for (int j = 0; j < tiles; ++j) {
    int slot = j % kStages;
    u32 parity = (j / kStages) & 1;
    const u8* stage = smem + slot * kStageBytes;
    u32 k_full = barriers + slot * 8;

    float s[kKeyTiles][4] = {};
    mbarrier_wait(k_full, parity);
    multiply<kKeyTiles, kSteps>(s, q, q_scale, stage, stage + Record<D>::kValueBytes, lane);

    // s[4 h + i][2 r + e] is row + 8 r, token 32 h + 8 t + 2 i + e of this tile.
    float factor = logit_scale * *reinterpret_cast<const float*>(stage + Record<D>::kBytes);
#pragma unroll
    for (int h = 0; h < kGroups; ++h) {
      float delta[8];
      *reinterpret_cast<float4*>(delta) = *reinterpret_cast<const float4*>(stage + kDeltaOffset + (h * 32 + t * 8) * 4);
      *reinterpret_cast<float4*>(delta + 4) =
        *reinterpret_cast<const float4*>(stage + kDeltaOffset + (h * 32 + t * 8 + 4) * 4);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        s[4 * h + i / 2][i % 2] = fmaf(s[4 * h + i / 2][i % 2], factor, delta[i]);
        s[4 * h + i / 2][2 + i % 2] = fmaf(s[4 * h + i / 2][2 + i % 2], factor, delta[i]);
      }
    }
    if (p.causal && j == q_tile || (j + 1) * kTile > p.k_length) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        int limit = p.causal ? min(p.k_length, row + 8 * r + 1) : p.k_length;
#pragma unroll
        for (int h = 0; h < kGroups; ++h)
#pragma unroll
          for (int i = 0; i < 8; ++i)
            if (j * kTile + h * 32 + t * 8 + i >= limit) s[4 * h + i / 2][2 * r + i % 2] = minus_infinity;
      }
    }

    // Maxima of blocks of 16 tokens (two lanes), then of the row (the quad).
    float block_max[kGroups][2];
    float row_max[2] = {m[0], m[1]};
#pragma unroll
    for (int h = 0; h < kGroups; ++h)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float x = s[4 * h][2 * r];
#pragma unroll
        for (int i = 1; i < 8; ++i) x = fmaxf(x, s[4 * h + i / 2][2 * r + i % 2]);
        x = fmaxf(x, shuffle_xor(x, 1));
        block_max[h][r] = x;
        row_max[r] = fmaxf(row_max[r], x);
      }
#pragma unroll
    for (int r = 0; r < 2; ++r) row_max[r] = fmaxf(row_max[r], shuffle_xor(row_max[r], 2));

    if (__any_sync(0xffffffffu, row_max[0] > m[0] || row_max[1] > m[1])) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float rescale = row_max[r] > m[r] ? exp2_approx(m[r] - row_max[r]) : 1.0f;
        m[r] = row_max[r];
        l[r] *= rescale;
#pragma unroll
        for (int n = 0; n < kChannelTiles; ++n) o[n][2 * r] *= rescale, o[n][2 * r + 1] *= rescale;
      }
    }

    u32 prob[2][4], prob_scale[2];  // A fragments of P: two steps of 64 tokens
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      u32 pairs = 0;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float low = exp2_approx(block_max[2 * step][r] + (kLog2E4M3Max - m[r]));
        float high = exp2_approx(block_max[2 * step + 1][r] + (kLog2E4M3Max - m[r]));
        // Never zero, so that P / scale stays finite; what so small a scale would drop rounds to zero here too.
        u32 pair_bytes = e4m3x2(fmaxf(low, kE4M3Smallest), fmaxf(high, kE4M3Smallest));
        e4m3x2_values(pair_bytes, low, high);
        pairs |= pair_bytes << (16 * r);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int h = 2 * step + half;
          float scale = half ? high : low;
          float offset = m[r] - kLog2TwoLevel + log2_approx(scale);
          float x[8];
#pragma unroll
          for (int i = 0; i < 8; ++i) x[i] = exp2_approx(s[4 * h + i / 2][2 * r + i % 2] - offset);
          float sum = ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
          l[r] = fmaf(scale, sum, l[r]);
          prob[step][r + 2 * half] = e2m1x8(x);
        }
      }
      prob_scale[step] = __byte_perm(pairs, __shfl_xor_sync(0xffffffffu, pairs, 2), gather);
    }

    mbarrier_wait(k_full + kStages * 8, parity);
    multiply<kChannelTiles, 2>(o, prob, prob_scale, stage + kValueOffset,
                                   stage + kValueOffset + Record<D>::kValueBytes, lane);
    __syncwarp();
    if (lane == 0) mbarrier_arrive(k_full + 2 * kStages * 8);
  }

  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    l[r] += shuffle_xor(l[r], 1);
    l[r] += shuffle_xor(l[r], 2);
    inverse[r] = l[r] == 0.0f ? 0.0f : 1.0f / l[r];
    int token = row + 8 * r;
    if (p.lse != nullptr && t == 0 && token < p.q_length) {
      i64 index = static_cast<i64>(pair) * p.q_length + token;
      p.lse[index] = (m[r] + log2f(l[r]) - kLog2TwoLevel + p.k_mean_dot[index] * p.scale_log2) * kLn2;
    }
  }

  // The output tile goes through shared memory, so that it leaves in whole rows. All warps are done with the stages.
  asm volatile("bar.sync 1, %0;" ::"n"(kConsumerWarps * 32) : "memory");
  u8* out_smem = smem + warp * 16 * kOutRowBytes;
  const float* v_scale = p.v_scale + kv_pair * D;
#pragma unroll
  for (int n = 0; n < kChannelTiles; ++n) {
    float2 scale = *reinterpret_cast<const float2*>(v_scale + n * 8 + 2 * t);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float low = o[n][2 * r] * inverse[r] * scale.x, high = o[n][2 * r + 1] * inverse[r] * scale.y;
      u32 word;
      if (p.out_bf16)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
      else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
      *reinterpret_cast<u32*>(out_smem + (g + 8 * r) * kOutRowBytes + (n * 8 + 2 * t) * 2) = word;
    }
  }
  __syncwarp();
  u16* out_gmem = static_cast<u16*>(p.out.data) + batch * p.out.batch + head * p.out.head;
  int first_token = q_tile * kTile + warp * 16;
  bool wide = p.head_dim % 8 == 0;  // then rows of the output are whole 16-byte words
  int words = wide ? p.head_dim / 8 : p.head_dim;
  for (int i = lane; i < 16 * words; i += 32) {
    int out_row = i / words, word = i % words;
    if (first_token + out_row >= p.q_length) break;
    u16* to = out_gmem + (first_token + out_row) * p.out.token;
    const u8* from = out_smem + out_row * kOutRowBytes;
    if (wide)
      reinterpret_cast<uint4*>(to)[word] = reinterpret_cast<const uint4*>(from)[word];
    else
      to[word] = reinterpret_cast<const u16*>(from)[word];
  }
}
