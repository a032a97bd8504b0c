// INT8 QK^T, FP8 PV attention for sm_90a: TMA, wgmma and warp specialisation, persistent over tiles.
//
// A block has one producer warpgroup and CONSUMERS consumer warpgroups. A work tile is BLOCK_M = 64 * CONSUMERS query rows
// of one head; each consumer owns 64 of them and walks the keys in tiles of BLOCK_N from the last to the first, so that
// the masked tiles (tail of the keys, causal diagonal) come first and the long loop has no masks.
//   warp 0 of the producer    K, its scales and V by TMA into rings of STAGES
//   warps 1..3                the next tile's Q: 16-bit rows by cp.async, quantized to int8 into one of two buffers
//   consumers                 QK(j-1) and PV(j) issued together; the softmax of tile j-1 runs while PV(j) does
// Each PV product starts a fresh accumulator R and O = O * alpha + R in fp32 (two levels): the tensor core aligns FP8
// products at 13 bits, and a long sum in it drifts toward zero.
//
// Compiled with -DHEAD_DIM=64|128 -DPV_F16=0|1 -DVARIANT=0|1|2 (plain, lse, mask). The dtype, the granularity of Q,
// the causal mask and variable lengths are arguments.
#include "sage/params.h"
#include "sage/sm90_async.cuh"
#include "sage/sm90_wgmma.cuh"
#include "sage/sync.h"
#include "sage/types.h"

using namespace sage;

#ifndef BLOCK_N
#define BLOCK_N 128
#endif
#ifndef CONSUMERS
#define CONSUMERS kWgmmaConsumers[HEAD_DIM == 128][PV_F16]
#endif
#ifndef POLY
#define POLY 0
#endif
#ifndef HOLD_AT
#define HOLD_AT (BLOCK_N / 2)
#endif
#ifndef QRS
#define QRS 0
#endif

namespace {

constexpr bool kMask = VARIANT == 2;
// Row sums come from a column of ones appended to V, which the tensor core adds for nothing. They are sums of the
// rounded P: right for normalising, since the same P multiplies V, but too coarse for the lse, which sums in fp32.
constexpr bool kOnes = VARIANT == 0;

constexpr int kD = HEAD_DIM, kN = BLOCK_N, kConsumers = CONSUMERS, kM = 64 * CONSUMERS;
constexpr int kThreads = 128 * (kConsumers + 1);
constexpr int kScaleBlock = kN % 128 == 0 ? 128 : 64;  // keys to a row of k_scale
constexpr int kScaleRows = kN / kScaleBlock;           // rows of k_scale to a tile
constexpr int kVRow = kN % 128 == 0 ? 128 : 64;        // V lies in column blocks of this many tokens
constexpr int kVRows = kD + (kOnes ? 8 : 0);           // channels, and eight rows of ones
constexpr float kLog2P = PV_F16 ? 7.807354922f : 8.807354922f;  // P in [0, 224]: 128 * 224 * 2.25 < 65504; or [0, 448]

// Shared memory, in bytes from a 1024-byte boundary.
constexpr int kQBytes = kM * kD, kKBytes = kN * kD, kVBytes = kN * kVRows, kRawBytes = kM * kD * 2;
constexpr int kSharedLimit = kWgmmaShared;
constexpr int kSmallBytes = 2 * kM / 2 * 4 + 2 * kM * 4 + 4 * kD * 4 + 1024;
constexpr int kStagesFit = (kSharedLimit - 1024 - 2 * kQBytes - kRawBytes - kSmallBytes) / (kKBytes + kVBytes);
#ifdef STAGES
constexpr int kStages = STAGES;
#else
constexpr int kStages = kStagesFit < 5 ? kStagesFit : 5;
#endif
constexpr int kQ = 0, kK = kQ + 2 * kQBytes, kV = kK + kStages * kKBytes, kRaw = kV + kStages * kVBytes;
constexpr int kQScale = kRaw + kRawBytes;         // [2][BLOCK_M / 2] one per row pair
constexpr int kQDot = kQScale + 2 * kM / 2 * 4;   // [2][BLOCK_M] q . k_mean
constexpr int kVScale = kQDot + 2 * kM * 4;       // [2][D]
constexpr int kVMean = kVScale + 2 * kD * 4;      // [2][D]
constexpr int kKScale = kVMean + 2 * kD * 4;      // [STAGES][rows][4]
constexpr int kBarriers = kKScale + kStages * kScaleRows * 16;
constexpr int kKFull = kBarriers, kKEmpty = kKFull + 8 * kStages, kVFull = kKEmpty + 8 * kStages;
constexpr int kVEmpty = kVFull + 8 * kStages, kQFull = kVEmpty + 8 * kStages, kQEmpty = kQFull + 16;
constexpr int kSlots = 4;  // work tiles announced to the warps of the block
constexpr int kTileFull = kQEmpty + 16, kTileEmpty = kTileFull + 8 * kSlots, kTile = kTileEmpty + 8 * kSlots;
constexpr int kSharedBytes = kTile + 32 * kSlots;
static_assert(kTile % 16 == 0, "tiles are read 16 bytes at a time");
static_assert(kStages >= 2 && kSharedBytes + 1024 <= kSharedLimit, "shared memory");

// Registers of a thread: 65536 / kThreads at launch, moved from the producer to the consumers. 504 = 40 + 2 * 232,
// 512 = 32 + 3 * 160.
#ifndef PRODUCER_REGISTERS
#define PRODUCER_REGISTERS (CONSUMERS == 2 ? 40 : 32)
#endif
constexpr int kProducerRegisters = PRODUCER_REGISTERS;
constexpr int kConsumerRegisters = kConsumers == 2 ? (504 - kProducerRegisters) / 2 : 160;

constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding its bit pattern to an int of 23 bits makes kMagic + int
// A masked logit: below any product of int8, and minus infinity once kMagic's bit pattern is added.
constexpr int kHidden = (int)(0xff800000u - 0x4b400000u);
constexpr float kSmallestScale = 1.2e-38f;  // keeps scales of zero blocks positive: infinity times zero is NaN
constexpr float kFloor = -1e30f;       // the row maximum before any key; finite, so that differences stay defined

// ---- Shared memory --------------------------------------------------------------------------------------------------

SAGE_DEVICE uint4 load_shared_16(u32 address_smem) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address_smem));
  return v;
}
SAGE_DEVICE float load_shared_float(u32 address_smem) {
  float v;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(address_smem));
  return v;
}
SAGE_DEVICE float2 load_shared_float2(u32 address_smem) {
  float2 v;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address_smem));
  return v;
}
SAGE_DEVICE void store_shared_float(u32 address_smem, float value) {
  asm volatile("st.shared.f32 [%0], %1;" ::"r"(address_smem), "f"(value) : "memory");
}

// ---- Work tiles -------------------------------------------------------------------------------------------------

struct Tile {
  int batch, head;       // query head
  int row0;              // first query row within its sequence
  int q_len, kv_len;
  int q_start, k_start;  // first row of the sequence in q, and in the prepared operands
  int kv_tiles;          // -1: there is no more work
};

// Heads are taken in groups whose K and V stay in L2; in a group causal tiles go from the longest to the shortest.
SAGE_DEVICE Tile get_tile(const AttnWgmmaParams& w, int index) {
  const AttnParams& p = w.attn;
  Tile tile;
  const int heads = p.B * p.Hq, per_group = w.head_group * w.row_tiles;
  const int group = index / per_group, place = index - group * per_group;
  const int group_heads = min(w.head_group, heads - group * w.head_group);
  const int row_tile = place / group_heads, head = group * w.head_group + place - row_tile * group_heads;
  tile.batch = head / p.Hq;
  tile.head = head - tile.batch * p.Hq;
  tile.row0 = (p.causal ? w.row_tiles - 1 - row_tile : row_tile) * kM;
  tile.q_len = p.Sq;
  tile.kv_len = p.Sk;
  tile.q_start = tile.k_start = 0;
  if (p.cu_q) {
    const int q0 = p.cu_q[tile.batch], k0 = p.cu_k[tile.batch];
    tile.q_len = p.cu_q[tile.batch + 1] - q0;
    tile.kv_len = p.cu_k[tile.batch + 1] - k0;
    tile.q_start = q0;
    tile.k_start = (k0 / 128 + tile.batch) * 128;
  }
  const int visible = p.causal ? min(tile.kv_len, tile.row0 + kM) : tile.kv_len;
  tile.kv_tiles = (visible + kN - 1) / kN;
  return tile;
}

// The first tile with query rows from `index` on, which is claimed from the counter that all blocks share.
SAGE_DEVICE Tile find_tile(const AttnWgmmaParams& w, int index) {
  Tile tile;
  while (index < w.tiles) {
    tile = get_tile(w, index);
    if (tile.row0 < tile.q_len) return tile;
    index = gridDim.x + atomicAdd(w.attn.counter, 1);
  }
  tile.kv_tiles = -1;
  return tile;
}

// Tiles are announced to the other warps of the block in a ring of slots; turn n lies in slot n % kSlots.
SAGE_DEVICE void announce(const Tile& tile, u32 smem, u32 turn) {
  const u32 slot = turn % kSlots;
  mbarrier_wait(smem + kTileEmpty + 8 * slot, turn / kSlots & 1 ^ 1);
  asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};\n\tst.shared.v4.u32 [%0 + 16], {%5, %6, %7, %8};" ::"r"(
                   smem + kTile + 32 * slot),
               "r"(tile.batch), "r"(tile.head), "r"(tile.row0), "r"(tile.q_len), "r"(tile.kv_len), "r"(tile.q_start),
               "r"(tile.k_start), "r"(tile.kv_tiles)
               : "memory");
  mbarrier_arrive(smem + kTileFull + 8 * slot);
}

SAGE_DEVICE Tile read_tile(u32 smem, u32 turn) {
  const uint4 a = load_shared_16(smem + kTile + 32 * (turn % kSlots));
  const uint4 b = load_shared_16(smem + kTile + 32 * (turn % kSlots) + 16);
  return {(int)a.x, (int)a.y, (int)a.z, (int)a.w, (int)b.x, (int)b.y, (int)b.z, (int)b.w};
}
SAGE_DEVICE Tile await_tile(u32 smem, u32 turn) {
  mbarrier_wait(smem + kTileFull + 8 * (turn % kSlots), turn / kSlots & 1);
  return read_tile(smem, turn);
}
SAGE_DEVICE void release_tile(u32 smem, u32 turn) { mbarrier_arrive(smem + kTileEmpty + 8 * (turn % kSlots)); }

// ---- Producer: K and V ------------------------------------------------------------------------------------------

// A position in the rings of K and V, and the parity of the phase to wait for.
struct Place {
  u32 stage = 0, parity = 0;
  SAGE_DEVICE Place next() const {
    const bool wraps = stage + 1 == kStages;
    return {wraps ? 0 : stage + 1, parity ^ (u32)wraps};
  }
};

SAGE_DEVICE void load_keys_and_values(const AttnWgmmaParams& w, const TensorMap& k_map, const TensorMap& v_map,
                                      u32 smem) {
  const AttnParams& p = w.attn;
  tma_prefetch(k_map);
  tma_prefetch(v_map);
  u32 turn = 0;
  Tile tile = get_tile(w, blockIdx.x);
  const bool early = tile.row0 < tile.q_len;  // Q can be fetched before K and V are ready
  if (early) announce(tile, smem, turn);
  wait_for_producers();
  if (!early) {
    tile = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
    announce(tile, smem, turn);
  }
  Place place;
  while (tile.kv_tiles >= 0) {
    const int head = tile.head / (p.Hq / p.Hkv), z = p.cu_q ? head : tile.batch * p.Hkv + head;
    const float* scales = p.k_scale + (z * p.k_rows + tile.k_start) / kScaleBlock * 4;
    // The next tile is claimed late, for balance, but early enough to quantize its Q in time.
    const int claim_at = min(kStages, max(tile.kv_tiles, 1)) - 1;
    Tile next;
    for (int n = max(tile.kv_tiles, 1) - 1; n >= 0; n--) {
      if (n == claim_at) {
        next = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
        announce(next, smem, ++turn);
      }
      if (n >= tile.kv_tiles) break;
      const u32 s = place.stage, key = tile.k_start + n * kN;
      const u32 k_full = smem + kKFull + 8 * s, v_full = smem + kVFull + 8 * s;
      mbarrier_wait(smem + kKEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(k_full, kKBytes + 16 * kScaleRows);
      tma_load_3d(smem + kK + s * kKBytes, k_map, k_full, 0, key, z);
      bulk_load(smem + kKScale + s * 16 * kScaleRows, scales + n * 4 * kScaleRows, 16 * kScaleRows, k_full);
      mbarrier_wait(smem + kVEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(v_full, kN * kD);
#pragma unroll
      for (int c = 0; c < kN / kVRow; c++)
        tma_load_3d(smem + kV + s * kVBytes + c * kVRow * kVRows, v_map, v_full, key + c * kVRow, 0, z);
      place = place.next();
    }
    tile = next;
  }
}

// ---- Producer: Q ------------------------------------------------------------------------------------------------

constexpr int kLanesPerRow = kD / 8;                      // a lane holds 8 channels: 16 bytes of q
constexpr int kPairsPerStep = 32 / (2 * kLanesPerRow);    // row pairs (g, g + 8) a warp takes at once
constexpr int kQuantizers = 3;                            // warps
static_assert(kM % 16 == 0, "Q is quantized in groups of 16 rows, those of one consumer warp");

// Row of a 16-row group that this lane serves in a step.
SAGE_DEVICE int q_row(int step, int lane) {
  const int half = lane / kLanesPerRow;
  return step * kPairsPerStep + half / 2 + 8 * (half & 1);
}

SAGE_DEVICE void prefetch_q(const AttnParams& p, const Tile& tile, u32 smem, int warp, int lane) {
  const char* q = (const char*)p.q.data + 2 * (tile.batch * p.q.batch * (p.cu_q ? 0 : 1) + tile.head * p.q.head);
  const int chunk = lane % kLanesPerRow;
  for (int group = warp; group < kM / 16; group += kQuantizers) {
#pragma unroll 2
    for (int step = 0; step < 8 / kPairsPerStep; step++) {
      const int row = group * 16 + q_row(step, lane), token = tile.row0 + row;
      const bool valid = token < tile.q_len && chunk * 8 < p.head_dim;
      const i64 offset = valid ? (tile.q_start + token) * p.q.token + chunk * 8 : 0;
      cp_async_16(smem + kRaw + row * kD * 2 + chunk * 16, q + 2 * offset, valid);
    }
  }
}

// Larger of each 16-bit half, as magnitudes: the bits of a half or bfloat without its sign are ordered as integers, with
// NaN above infinity.
SAGE_DEVICE u32 max_magnitude(u32 a, u32 b) { return __vmaxu2(a, b & 0x7fff7fffu); }

SAGE_DEVICE float2 unpack_16(u32 pair, bool bf16) { return bf16 ? Bfloat::unpack(pair) : Half::unpack(pair); }

// Four products, each at most 127 in magnitude, to int8 with round to nearest even.
SAGE_DEVICE u32 round_s8(float2 ab, float2 cd, float inverse) {
  const u32 a = __float_as_uint(__fadd_rn(__fmul_rn(ab.x, inverse), kMagic));
  const u32 b = __float_as_uint(__fadd_rn(__fmul_rn(ab.y, inverse), kMagic));
  const u32 c = __float_as_uint(__fadd_rn(__fmul_rn(cd.x, inverse), kMagic));
  const u32 d = __float_as_uint(__fadd_rn(__fmul_rn(cd.y, inverse), kMagic));
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Quantizes this warp's 16-row groups of the tile from the raw rows in shared memory. A group of rows with one scale is
// a pair (g, g + 8), the rows one consumer lane owns, or all 16. scale = amax * (1 / 127); q8 = round(q * (127 / amax)), with
// the sign of sm_scale, so that the softmax sees a positive scale.
SAGE_DEVICE void quantize_q(const AttnWgmmaParams& w, u32 smem, u32 buffer, const float* k_mean, int warp, int lane) {
  const AttnParams& p = w.attn;
  const int chunk = lane % kLanesPerRow;
  const bool bf16 = w.bf16;
  for (int group = warp; group < kM / 16; group += kQuantizers) {
    u32 amax_bits = 0;  // lane i keeps that of pair i
#pragma unroll
    for (int step = 0; step < 8 / kPairsPerStep; step++) {
      const uint4 x = load_shared_16(smem + kRaw + (group * 16 + q_row(step, lane)) * kD * 2 + chunk * 16);
      u32 top = max_magnitude(max_magnitude(max_magnitude(max_magnitude(0, x.x), x.y), x.z), x.w);
      top = __vmaxu2(top, top >> 16 | top << 16);
#pragma unroll
      for (int i = 1; i < 2 * kLanesPerRow; i *= 2) top = __vmaxu2(top, __shfl_xor_sync(~0u, top, i));
      if constexpr (kPairsPerStep == 2) top = __shfl_sync(~0u, top, (lane & 1) * 16);
      if (lane / kPairsPerStep == step) amax_bits = top;
    }
    if (w.per_warp) {
#pragma unroll
      for (int i = 1; i < 8; i *= 2) amax_bits = __vmaxu2(amax_bits, __shfl_xor_sync(~0u, amax_bits, i));
    }
    const float amax = unpack_16(amax_bits, bf16).x;
    const float all_inverse = amax == 0.0f ? 0.0f : __fdiv_rn(p.scale_log2 < 0.0f ? -127.0f : 127.0f, amax);
    if (lane < 8)
      store_shared_float(smem + kQScale + (buffer * kM / 2 + group * 8 + lane) * 4, amax * (1.0f / 127.0f));
#pragma unroll 1
    for (int step = 0; step < 8 / kPairsPerStep; step++) {
      const int in_group = q_row(step, lane), row = group * 16 + in_group;
      const float inverse = __shfl_sync(~0u, all_inverse, in_group & 7);
      const uint4 x = load_shared_16(smem + kRaw + row * kD * 2 + chunk * 16);
      const float2 a = unpack_16(x.x, bf16), b = unpack_16(x.y, bf16), c = unpack_16(x.z, bf16), d = unpack_16(x.w, bf16);
      const u32 at = smem + kQ + buffer * kQBytes + swizzled<kD>(row * kD + chunk * 8);
      asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(at), "r"(round_s8(a, b, inverse)),
                   "r"(round_s8(c, d, inverse))
                   : "memory");
      if constexpr (!kOnes) {
        if (k_mean) {
          const float4 m = *(const float4*)(k_mean + chunk * 8), n = *(const float4*)(k_mean + chunk * 8 + 4);
          float dot = a.x * m.x + a.y * m.y + b.x * m.z + b.y * m.w + c.x * n.x + c.y * n.y + d.x * n.z + d.y * n.w;
          dot = lanes_sum<kLanesPerRow>(dot);
          if (chunk == 0) store_shared_float(smem + kQDot + (buffer * kM + row) * 4, dot);
        }
      }
    }
  }
}

SAGE_DEVICE void produce_queries(const AttnWgmmaParams& w, u32 smem) {
  const AttnParams& p = w.attn;
  const int warp = threadIdx.x / 32 - 1, lane = threadIdx.x % 32;
  Tile tile = await_tile(smem, 0);
  if (tile.kv_tiles >= 0) prefetch_q(p, tile, smem, warp, lane);
  wait_for_producers();
  for (u32 turn = 0; tile.kv_tiles >= 0; turn++) {
    const u32 buffer = turn & 1;
    mbarrier_wait(smem + kQEmpty + 8 * buffer, turn / 2 & 1 ^ 1);
    const int head = tile.head / (p.Hq / p.Hkv), z = tile.batch * p.Hkv + head;
    const i64 v_at = (i64)z * kD;
    for (int c = threadIdx.x - 32; c < kD; c += 32 * kQuantizers) {
      store_shared_float(smem + kVScale + (buffer * kD + c) * 4, p.v_scale[v_at + c]);
      store_shared_float(smem + kVMean + (buffer * kD + c) * 4, p.v_mean ? p.v_mean[v_at + c] : 0.0f);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    quantize_q(w, smem, buffer, p.k_mean ? p.k_mean + (i64)z * kD : nullptr, warp, lane);
    fence_async_shared();
    __syncwarp();
    if (lane == 0) {
      mbarrier_arrive(smem + kQFull + 8 * buffer);
      release_tile(smem, turn);
    }
    tile = await_tile(smem, turn + 1);
    if (tile.kv_tiles >= 0) prefetch_q(p, tile, smem, warp, lane);
  }
}

// ---- Consumers --------------------------------------------------------------------------------------------------

SAGE_DEVICE float exp2_mufu(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// exp2 without the special function unit, for x <= 9: x = t + r with t whole and |r| <= 1/2, and a cubic for 2^r
// (relative error 8.8e-4, against the 3e-2 of rounding P to e4m3).
SAGE_DEVICE float exp2_fma(float x) {
  x = fmaxf(x, -126.0f);
  const float t = __fadd_rn(x, kMagic), r = __fadd_rn(x, -__fadd_rn(t, -kMagic));
  const float y = __fmaf_rn(r, __fmaf_rn(r, __fmaf_rn(r, 0.0558269f, 0.2401397f), 0.6931472f), 1.0f);
  return __int_as_float(__float_as_int(y) + (__float_as_int(t) << 23));
}

SAGE_DEVICE float half_to_float(u32 pair, int high) {
  const float2 f = Half::unpack(pair);
  return high ? f.y : f.x;
}

template <int N>
struct Int8Product;  // S[64][N] += Q K^T for one k32 step, both in shared memory
#define SAGE_INT8_PRODUCT(N)                                                                  \
  template <>                                                                                 \
  struct Int8Product<N> {                                                                     \
    static SAGE_DEVICE void issue(u32 (&s)[N / 2], u64 q, u64 k, bool accumulate) {           \
      wgmma_m64n##N##k32_s32_s8_s8_ss(s, q, k, accumulate);                                   \
    }                                                                                         \
  };
SAGE_INT8_PRODUCT(64)
SAGE_INT8_PRODUCT(96)
SAGE_INT8_PRODUCT(128)
SAGE_INT8_PRODUCT(192)

#if PV_F16
typedef u32 Partial;  // R in packed halves
constexpr int kPartials = kVRows / 4;
#else
typedef float Partial;
constexpr int kPartials = kVRows / 2;
#endif

template <int N>
struct Fp8Product;  // R[64][N] += P V for one k32 step, P in registers
#if PV_F16
#define SAGE_FP8_PRODUCT(N)                                                                   \
  template <>                                                                                 \
  struct Fp8Product<N> {                                                                      \
    static SAGE_DEVICE void issue(u32 (&r)[N / 4], const u32* p, u64 v, bool accumulate) {    \
      wgmma_m64n##N##k32_f16_e4m3_e4m3_rs(r, p, v, accumulate);                               \
    }                                                                                         \
  };
#else
#define SAGE_FP8_PRODUCT(N)                                                                   \
  template <>                                                                                 \
  struct Fp8Product<N> {                                                                      \
    static SAGE_DEVICE void issue(float (&r)[N / 2], const u32* p, u64 v, bool accumulate) {  \
      wgmma_m64n##N##k32_f32_e4m3_e4m3_rs(r, p, v, accumulate);                               \
    }                                                                                         \
  };
#endif
SAGE_FP8_PRODUCT(64)
SAGE_FP8_PRODUCT(72)
SAGE_FP8_PRODUCT(128)
SAGE_FP8_PRODUCT(136)

// Register arrays follow the fragments of sm90_wgmma.cuh: element i of S or O is row g + 8 * (i / 2 % 2), column
// 8 * (i / 4) + 2 t + i % 2.
struct Consumer {
  u32 s[kN / 2];        // logits: int32, then P in fp32
  u32 p[kN / 8];        // P in e4m3, A fragments
  float o[kD / 2];
  Partial r[kPartials];
  float m[2], l[2], alpha[2], next_alpha[2];
  float k_scale[kScaleRows], bias[kScaleRows][2], sum[2][2];
#if QRS
  u32 q[kD / 8];
#endif
  Place place;  // of the V tile that P belongs to; K is one ahead
  u32 smem, lane;

  SAGE_DEVICE void issue_qk(Place at, u32 q_smem) {
    const u64 key = wgmma_descriptor<kD>(smem + kK + at.stage * kKBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kD / 32; k++) {
#if QRS
      wgmma_m64n128k32_s32_s8_s8_rs(s, q + 4 * k, key + 2 * k, k > 0);
#else
      Int8Product<kN>::issue(s, wgmma_descriptor<kD>(q_smem) + 2 * k, key + 2 * k, k > 0);
#endif
    }
    wgmma_commit();
  }

#if QRS
  // This warpgroup's rows of Q as A fragments.
  SAGE_DEVICE void load_q(u32 q_smem) {
    const int warp = threadIdx.x / 32 % 4;
#pragma unroll
    for (int i = 0; i < kD / 8; i++) {
      const u32 row = 16 * warp + lane / 4 + 8 * (i & 1), byte = 32 * (i >> 2) + 16 * (i >> 1 & 1) + 4 * (lane & 3);
      asm volatile("ld.shared.u32 %0, [%1];" : "=r"(q[i]) : "r"(q_smem + swizzled<kD>(row * kD + byte)));
    }
  }
#endif

  SAGE_DEVICE void issue_pv() {
    const u64 v = wgmma_descriptor<kVRow>(smem + kV + place.stage * kVBytes);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kN / 32; k++) {
      const int block = 32 * k / kVRow, in_block = 32 * k % kVRow;
      Fp8Product<kVRows>::issue(r, p + 4 * k, v + (block * kVRow * kVRows + in_block) / 16, k > 0);
    }
    wgmma_commit();
  }

  bool k_ready, v_ready;
  SAGE_DEVICE void load_k_scale(Place at, float q_scale) {
#pragma unroll
    for (int i = 0; i < kScaleRows; i++)
      k_scale[i] = __fmaf_rn(
          q_scale, load_shared_float(smem + kKScale + (at.stage * kScaleRows + i) * 16 + (lane & 3) * 4), kSmallestScale);
  }
  SAGE_DEVICE void release_k(Place at) {
    if (lane == 0) mbarrier_arrive(smem + kKEmpty + 8 * at.stage);
  }
  SAGE_DEVICE void release_v() {
    if (lane == 0) mbarrier_arrive(smem + kVEmpty + 8 * place.stage);
  }

  // New row maximum over the four lanes of a row; sets next_alpha.
  SAGE_DEVICE void raise_maximum(int row, float top) {
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    const float raised = fmaxf(m[row], top);
    next_alpha[row] = exp2_mufu(m[row] - raised);
    m[row] = raised;
  }

  // Masks the columns from limit[row] on, counted from this lane's first.
  SAGE_DEVICE void hide(const int (&limit)[2]) {
#pragma unroll
    for (int i = 0; i < kN / 2; i++)
      if (8 * (i >> 2) + (i & 1) >= limit[i >> 1 & 1]) s[i] = kHidden;
  }

  // Raises the row maxima to those of S, taken on the integers (three-input max). EDGE: there are masked elements.
  template <bool EDGE>
  SAGE_DEVICE void find_maximum() {
    float top[2] = {-__int_as_float(0x7f800000), -__int_as_float(0x7f800000)};
    constexpr int kBlock = kN / 2 / kScaleRows;
#pragma unroll
    for (int b = 0; b < kScaleRows; b++) {
      int high[2][2];
#pragma unroll
      for (int e = 0; e < kBlock; e++) {
        const int i = b * kBlock + e, row = i >> 1 & 1;
        high[row][i & 1] = e < 4 ? (int)s[i] : max(high[row][i & 1], (int)s[i]);
      }
#pragma unroll
      for (int row = 0; row < 2; row++) {
        const int highest = max(high[row][0], high[row][1]);
        const float scaled = (float)highest * k_scale[b];
        if (!EDGE || highest != kHidden) top[row] = kScaleRows == 1 ? scaled : fmaxf(top[row], scaled);
      }
    }
    raise_maximum(0, top[0]);
    raise_maximum(1, top[1]);
#pragma unroll
    for (int b = 0; b < kScaleRows; b++)
#pragma unroll
      for (int row = 0; row < 2; row++) {
        bias[b][row] = __fmaf_rn(-kMagic, k_scale[b], kLog2P - m[row]);
        if (b == 0) sum[row][0] = sum[row][1] = 0.0f;
      }
  }

  // S to P, still in fp32, for the elements from `FROM` up to `TO`: one FMA dequantizes, subtracts the maximum and scales.
  template <int FROM, int TO>
  SAGE_DEVICE void exponentiate() {
#pragma unroll
    for (int i = FROM; i < TO; i++) {
      const int row = i >> 1 & 1, b = i / (kN / 2 / kScaleRows);
      const float x = __fmaf_rn(__uint_as_float(s[i] + 0x4B400000u), k_scale[b], bias[b][row]);
      const float y = (i & 7) < POLY ? exp2_fma(x) : exp2_mufu(x);
      if (!kOnes) sum[row][i & 1] += y;
      s[i] = __float_as_uint(y);
    }
  }
  SAGE_DEVICE void add_sums() {
    if (!kOnes) {
#pragma unroll
      for (int row = 0; row < 2; row++) l[row] = __fmaf_rn(l[row], next_alpha[row], sum[row][0] + sum[row][1]);
    }
  }

  SAGE_DEVICE void pack() {
#pragma unroll
    for (int i = 0; i < kN / 8; i++) {  // p[4 k + 2 h + row]: k32 step k, its half h
      const int e = 16 * (i >> 2) + 8 * (i >> 1 & 1) + 2 * (i & 1);
      p[i] = pack_e4m3(__uint_as_float(s[e]), __uint_as_float(s[e + 1]), __uint_as_float(s[e + 4]),
                       __uint_as_float(s[e + 5]));
    }
  }

  SAGE_DEVICE float partial(int i) const {
#if PV_F16
    return half_to_float(r[i >> 1], i & 1);
#else
    return r[i];
#endif
  }

  // O = O * alpha + R, for the tile whose P was just multiplied.
  SAGE_DEVICE void accumulate() {
#pragma unroll
    for (int i = 0; i < kD / 2; i++) o[i] = __fmaf_rn(o[i], alpha[i >> 1 & 1], partial(i));
    if (kOnes) {
#pragma unroll
      for (int row = 0; row < 2; row++) l[row] = __fmaf_rn(l[row], alpha[row], partial(kD / 2 + 2 * row));
    }
  }

  // Looks at the barriers of the next step before the work that comes first, so that their latency is hidden.
  SAGE_DEVICE void look_ahead() {
    const Place ahead = place.next();
    k_ready = mbarrier_try_wait(smem + kKFull + 8 * ahead.stage, ahead.parity);
    v_ready = mbarrier_try_wait(smem + kVFull + 8 * place.stage, place.parity);
  }

  SAGE_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kD / 2; i++) o[i] = 0.0f;
    m[0] = m[1] = kFloor;
    l[0] = l[1] = 0.0f;
  }

  // QK and softmax of the first key tile, with nothing to overlap with.
  SAGE_DEVICE void first(u32 q_smem, float q_scale, const int (&limit)[2]) {
    clear();
    mbarrier_wait(smem + kKFull + 8 * place.stage, place.parity);
    load_k_scale(place, q_scale);
#if QRS
    load_q(q_smem);
#endif
    issue_qk(place, q_smem);
    wgmma_wait<0>();
    pin_registers(s);
    release_k(place);
    hide(limit);
    find_maximum<true>();
    exponentiate<0, kN / 2>();
    add_sums();
    alpha[0] = next_alpha[0];
    alpha[1] = next_alpha[1];
    look_ahead();
    pack();
  }

  // QK of the next key tile beside PV of this one, and the softmax of the next while PV runs. `finish` is called once O
  // is up to date and P still belongs to the next tile only in S: there a finished work tile is stored.
  template <bool EDGE, typename Begin, typename Finish>
  SAGE_DEVICE void step(u32 q_smem, float q_scale, const int (&limit)[2], Begin begin, Finish finish) {
    const Place ahead = place.next();
    if (!k_ready) mbarrier_wait(smem + kKFull + 8 * ahead.stage, ahead.parity);
    if (!v_ready) mbarrier_wait(smem + kVFull + 8 * place.stage, place.parity);
    load_k_scale(ahead, q_scale);
    issue_qk(ahead, q_smem);
    issue_pv();
    wgmma_wait<1>();
    pin_registers(s);
    release_k(ahead);
    if (EDGE) hide(limit);
    begin();
    find_maximum<EDGE>();
    exponentiate<0, HOLD_AT>();
#if HOLD_AT
#pragma unroll
    for (int i = 0; i < HOLD_AT; i++) asm volatile("" : "+r"(s[i]));
    // The assembler moves a wait above register work it does not order; a store that never happens keeps it here.
    asm volatile("{ .reg .pred p; setp.gt.f32 p, %0, %1; @p st.volatile.shared.u32 [%2], %3; }" ::"f"(
                     __uint_as_float(s[HOLD_AT - 1]) + __uint_as_float(s[HOLD_AT - 2]) + __uint_as_float(s[HOLD_AT - 3])),
                 "f"(1e38f), "r"(smem + kQ), "r"(0)
                 : "memory");
#endif
    wgmma_wait<0>();
    pin_registers(r);
    release_v();
    place = ahead;
    look_ahead();
    accumulate();
    exponentiate<HOLD_AT, kN / 2>();
    add_sums();
    finish();
    alpha[0] = next_alpha[0];
    alpha[1] = next_alpha[1];
    pack();
  }

  SAGE_DEVICE void last() {
    mbarrier_wait(smem + kVFull + 8 * place.stage, place.parity);
    issue_pv();
    wgmma_wait<0>();
    pin_registers(r);
    release_v();
    place = place.next();
    accumulate();
  }

  // Turns the rows of a 4 x 4 matrix of words, one per lane of a quad, into its columns.
  SAGE_DEVICE void transpose_quad(u32 (&a)[4]) const {
    const bool odd = lane & 1, upper = lane & 2;
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const u32 got = __shfl_xor_sync(~0u, odd ? a[i] : a[i + 1], 1);
      (odd ? a[i] : a[i + 1]) = got;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const u32 got = __shfl_xor_sync(~0u, upper ? a[i] : a[i + 2], 2);
      (upper ? a[i] : a[i + 2]) = got;
    }
  }

  // Normalises O and writes 16 rows of this warp: 16 bytes per lane.
  SAGE_DEVICE void store(const AttnWgmmaParams& w, const Tile& tile, int row_of_tile, u32 buffer, float (&l)[2],
                         const float (&m)[2]) {
    const AttnParams& a = w.attn;
    const int t = lane & 3;
    float inverse[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
      if (!kOnes) l[row] = lanes_sum<4>(l[row]);
      inverse[row] = l[row] == 0.0f ? 0.0f : __frcp_rn(l[row]);
    }
    char* const out =
        (char*)a.out.data + 2 * (tile.batch * a.out.batch * (a.cu_q ? 0 : 1) + tile.head * a.out.head);
#pragma unroll
    for (int j = 0; j < kD / 8; j += 4) {
      u32 words[2][4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const u32 at = 4 * (buffer * kD + 8 * (j + i) + 2 * t);
        const float2 scale = load_shared_float2(smem + kVScale + at), mean = load_shared_float2(smem + kVMean + at);
#pragma unroll
        for (int row = 0; row < 2; row++) {
          float x = o[4 * (j + i) + 2 * row] * inverse[row] * scale.x;
          float y = o[4 * (j + i) + 2 * row + 1] * inverse[row] * scale.y;
          if (l[row] != 0.0f) {
            x += mean.x;
            y += mean.y;
          }
          words[row][i] = w.bf16 ? Bfloat::pack(x, y) : Half::pack(x, y);
        }
      }
#pragma unroll
      for (int row = 0; row < 2; row++) {
        transpose_quad(words[row]);
        const int token = tile.row0 + row_of_tile + 8 * row, column = 8 * (j + t);
        if (token < tile.q_len && column < a.head_dim)
          *(uint4*)(out + 2 * ((tile.q_start + token) * a.out.token + column)) =
              make_uint4(words[row][0], words[row][1], words[row][2], words[row][3]);
      }
    }
    if (!kOnes && a.lse && t == 0) {
#pragma unroll
      for (int row = 0; row < 2; row++) {
        const int token = tile.row0 + row_of_tile + 8 * row;
        float lse = (m[row] + __log2f(l[row]) - kLog2P) * 0.69314718f;
        if (a.k_mean) lse += a.sm_scale * load_shared_float(smem + kQDot + (buffer * kM + row_of_tile + 8 * row) * 4);
        if (l[row] == 0.0f) lse = -__int_as_float(0x7f800000);
        if (token < tile.q_len)
          a.lse[tile.batch * a.lse_batch * (a.cu_q ? 0 : 1) + tile.head * a.lse_head + tile.q_start + token] = lse;
      }
    }
  }

  // S to P with a mask on every element: dequantized logits plus the mask's value, in base 2.
  SAGE_DEVICE void exponentiate_masked(const AttnParams& a, const char* const (&mask)[2], const bool (&live)[2],
                                       const int (&limit)[2]) {
    const float hidden = -__int_as_float(0x7f800000);
    float top[2] = {hidden, hidden};
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1, column = 8 * (i >> 2) + (i & 1);
      float x = hidden;
      if (column < limit[row] && live[row]) {
        const i64 at = column * a.mask_stride[3];
        float bias = 0.0f;
        if (a.mask_kind == MASK_BOOL) {
          if (!*((const u8*)mask[row] + at)) bias = hidden;
        } else if (a.mask_kind == MASK_F32) {
          bias = *((const float*)mask[row] + at);
        } else {
          bias = unpack_16(*((const u16*)mask[row] + at), a.mask_kind == MASK_BF16).x;
        }
        x = __fmaf_rn((float)(int)s[i], k_scale[i / (kN / 2 / kScaleRows)], bias * 1.44269504f);
      }
      top[row] = fmaxf(top[row], x);
      s[i] = __float_as_uint(x);
    }
    raise_maximum(0, top[0]);
    raise_maximum(1, top[1]);
    float sum[2] = {};
#pragma unroll
    for (int i = 0; i < kN / 2; i++) {
      const int row = i >> 1 & 1;
      const float y = exp2_mufu(__uint_as_float(s[i]) - m[row] + kLog2P);
      sum[row] += y;
      s[i] = __float_as_uint(y);
    }
#pragma unroll
    for (int row = 0; row < 2; row++) l[row] = __fmaf_rn(l[row], next_alpha[row], sum[row]);
  }
};

SAGE_DEVICE void consume(const AttnWgmmaParams& w, u32 smem) {
  const AttnParams& a = w.attn;
  // The shuffles tell the compiler that these are the same in every lane: descriptors and branches become uniform.
  const int warp_of_block = __shfl_sync(~0u, threadIdx.x / 32, 0), group = warp_of_block / 4 - 1, warp = warp_of_block % 4;
  Consumer c;
  c.smem = smem;
  c.lane = threadIdx.x % 32;
  const int row_of_tile = group * 64 + warp * 16 + c.lane / 4;
  // Visible keys of this lane's rows, counted from its first column of key tile n.
  auto limits = [&](const Tile& tile, int n, int (&limit)[2]) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int visible = a.causal ? min(tile.kv_len, tile.row0 + row_of_tile + 8 * row + 1) : tile.kv_len;
      limit[row] = visible - n * kN - 2 * (int)(c.lane & 3);
    }
  };
  // Everything of a turn that the loop needs; waits for the tile and its Q.
  u32 q_smem;
  float q_scale;
  int n, open;  // key tiles below `open` are visible to every row of this warpgroup
  auto begin = [&](u32 turn, Tile& tile) {
    tile = await_tile(smem, turn);
    n = __shfl_sync(~0u, tile.kv_tiles, 0) - 1;
    if (n < -1) return;
    open = __shfl_sync(~0u, (a.causal ? min(tile.kv_len, tile.row0 + group * 64 + 1) : tile.kv_len) / kN, 0);
    mbarrier_wait(smem + kQFull + 8 * (turn & 1), turn / 2 & 1);
    q_smem = smem + kQ + (turn & 1) * kQBytes + group * 64 * kD;
    q_scale = fabsf(a.scale_log2) *
              load_shared_float(smem + kQScale + ((turn & 1) * kM / 2 + (group * 4 + warp) * 8 + c.lane / 4) * 4);
  };
  auto release = [&](u32 turn) {
    __syncwarp();
    if (c.lane == 0) {
      mbarrier_arrive(smem + kQEmpty + 8 * (turn & 1));
      release_tile(smem, turn);
    }
  };
  u32 turn = 0;
  Tile tile;
  int limit[2];
  begin(turn, tile);
  if constexpr (kMask) {
    for (; n >= -1; begin(++turn, tile)) {
      c.clear();
      const i64 size = a.mask_kind == MASK_BOOL ? 1 : a.mask_kind == MASK_F32 ? 4 : 2;
      for (; n >= 0; n--) {
        mbarrier_wait(smem + kKFull + 8 * c.place.stage, c.place.parity);
        c.load_k_scale(c.place, q_scale);
        c.issue_qk(c.place, q_smem);
        wgmma_wait<0>();
        pin_registers(c.s);
        c.release_k(c.place);
        limits(tile, n, limit);
        const char* mask[2];
        bool live[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
          const i64 token = tile.row0 + row_of_tile + 8 * row;
          live[row] = token < tile.q_len;
          mask[row] = (const char*)a.mask + size * (tile.batch * a.mask_stride[0] + tile.head * a.mask_stride[1] +
                                                    token * a.mask_stride[2] +
                                                    (n * kN + 2 * (int)(c.lane & 3)) * a.mask_stride[3]);
        }
        c.exponentiate_masked(a, mask, live, limit);
        c.alpha[0] = c.next_alpha[0];
        c.alpha[1] = c.next_alpha[1];
        c.pack();
        c.last();
      }
      c.store(w, read_tile(smem, turn), row_of_tile, turn & 1, c.l, c.m);
      release(turn);
    }
  } else {
    while (n >= -1) {
      if (n == -1) {  // no keys at all
        c.clear();
        c.store(w, tile, row_of_tile, turn & 1, c.l, c.m);
        release(turn);
        begin(++turn, tile);
        continue;
      }
      limits(tile, n, limit);
      c.first(q_smem, q_scale, limit);
      n--;
      while (true) {
        for (; n >= open; n--) {
          limits(read_tile(smem, turn), n, limit);
          c.step<true>(q_smem, q_scale, limit, [] {}, [] {});
        }
        // Reductions put these into uniform registers, where descriptors are computed.
        c.place.stage = __reduce_max_sync(~0u, c.place.stage);
        c.place.parity = __reduce_max_sync(~0u, c.place.parity);
        n = __reduce_max_sync(~0u, n);
        q_smem = __reduce_max_sync(~0u, q_smem);
#pragma unroll 1
        for (; n >= 0; n--) c.step<false>(q_smem, q_scale, limit, [] {}, [] {});
        begin(turn + 1, tile);
        if (n < 0) break;
        // The first key tile of the next work tile goes through the pipeline with the last one of this.
        limits(tile, n, limit);
#if QRS
        c.load_q(q_smem);
#endif
        float done_l[2], done_m[2];
        c.step<true>(
            q_smem, q_scale, limit,
            [&] {
#pragma unroll
              for (int row = 0; row < 2; row++) {
                done_m[row] = c.m[row];
                c.m[row] = kFloor;
                if (!kOnes) {
                  done_l[row] = c.l[row];
                  c.l[row] = 0.0f;
                }
              }
            },
            [&] {
              c.store(w, read_tile(smem, turn), row_of_tile, turn & 1, kOnes ? c.l : done_l, done_m);
              if (kOnes) c.l[0] = c.l[1] = 0.0f;
#pragma unroll
              for (int i = 0; i < kD / 2; i++) c.o[i] = 0.0f;
            });
        release(turn++);
        n--;
      }
      c.last();
      c.store(w, read_tile(smem, turn), row_of_tile, turn & 1, c.l, c.m);
      release(turn++);
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    ENTRY(const __grid_constant__ AttnWgmmaParams w, const __grid_constant__ TensorMap k_map,
          const __grid_constant__ TensorMap v_map) {
  extern __shared__ __align__(1024) char shared[];
  const u32 smem = (shared_address(shared) + 1023) & ~1023u;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) {
      mbarrier_init(smem + kKFull + 8 * i, 1);
      mbarrier_init(smem + kVFull + 8 * i, 1);
      mbarrier_init(smem + kKEmpty + 8 * i, 4 * kConsumers);
      mbarrier_init(smem + kVEmpty + 8 * i, 4 * kConsumers);
    }
    for (int i = 0; i < 2; i++) {
      mbarrier_init(smem + kQFull + 8 * i, kQuantizers);
      mbarrier_init(smem + kQEmpty + 8 * i, 4 * kConsumers);
    }
    for (int i = 0; i < kSlots; i++) {
      mbarrier_init(smem + kTileFull + 8 * i, 1);
      mbarrier_init(smem + kTileEmpty + 8 * i, kQuantizers + 4 * kConsumers);
    }
    mbarrier_init_fence();
  }
  if constexpr (kOnes) {  // eight rows of 1.0 below the channels of every V tile; TMA never writes them
    constexpr int kWords = 8 * kVRow / 4;
    for (int i = threadIdx.x; i < kStages * (kN / kVRow) * kWords; i += kThreads) {
      const u32 at = smem + kV + (i / kWords) * kVRow * kVRows + kVRow * kD + i % kWords * 4;
      asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(0x38383838u) : "memory");
    }
    fence_async_shared();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    setmaxnreg_decrease<kProducerRegisters>();
    if (threadIdx.x == 0) {
      load_keys_and_values(w, k_map, v_map, smem);
    } else if (threadIdx.x >= 32) {
      produce_queries(w, smem);
    }
  } else {
    setmaxnreg_increase<kConsumerRegisters>();
    consume(w, smem);
  }
}
