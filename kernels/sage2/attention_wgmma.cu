// INT8 (or 16-bit) QK^T, FP8 PV attention for sm_90a: TMA, wgmma and warp specialisation, persistent over tiles.
//
// A block has one producer warpgroup and kConsumers consumer warpgroups. A work tile is kM = 64 * kConsumers query rows of
// one head; each consumer owns 64 of them and walks the keys in tiles of kN from the last to the first, so that the masked
// tiles (tail of the keys, causal diagonal) come first and the long loop has no masks.
//   warp 0 of the producer    claims tiles; K, its scales and V into rings of kStages (keys.cuh)
//   warps 1..3                the next tile's Q, quantized to int8 or as it is, into one of two buffers (queries.cuh)
//   consumers                 QK(j-1) and PV(j) issued together; the softmax of tile j-1 runs while PV(j) does
// The dtype, the granularity of Q, the causal mask and variable lengths are arguments.
#include <sage/wgmma/output.cuh>
#include <sage/wgmma/queries.cuh>

using namespace sage;

namespace {

// Rows with many keys are taken two tiles at a time, with one addition of R; with few, that is only more code to fetch.
constexpr bool kPairs = PV_F16 && (kD == 128 || kQK16);
constexpr int kPairsFrom = kWgmmaHeldTiles * 3 - 1;

// A consumer's 64 rows are masked in one key tile at most, the last that they see: a boundary of key tiles is one of
// consumers too. Work tiles of more rows than keys have one tile at most that the first consumer sees nothing of, and it
// is passed over with one more of V in hand.
static_assert(kN % 64 == 0 && kM <= 64 + kN && kStages > 2, "advance() masks the first tile and passes over one");

SAGE_DEVICE int visible_keys(const AttnParams& a, const Tile& tile, int row) {
  return a.causal ? min(tile.kv_len, tile.row0 + row + 1) : tile.kv_len;
}

// Attention of one work tile under a mask, tile by tile without overlap.
SAGE_DEVICE void attend_masked(const AttnParams& a, Consumer& c, const Tile& tile, int n, int row_of_tile, u32 q_smem,
                               float q_scale) {
  const i64 size = a.mask_kind == MASK_BOOL ? 1 : a.mask_kind == MASK_F32 ? 4 : 2;
  const int column = 2 * (int)(c.lane & 3);
  c.clear_output();
  c.l[0] = c.l[1] = 0.0f;
  c.m[0] = c.m[1] = kFloor;
  for (; n >= 0; n--) {
    mbarrier_wait(c.smem + kKFull + 8 * c.place.stage, c.place.parity);
    c.load_k_scale(c.place, q_scale);
    c.issue_qk(c.place, q_smem);
    wgmma_wait<0>();
    pin_registers(c.s);
    c.release_k(c.place);
    const char* mask[2];
    int limit[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const i64 token = tile.row0 + row_of_tile + 8 * row;
      limit[row] = token < tile.q_len ? visible_keys(a, tile, row_of_tile + 8 * row) - n * kN - column : 0;
      mask[row] = (const char*)a.mask + size * (tile.batch * a.mask_stride[0] + tile.head * a.mask_stride[1] +
                                                token * a.mask_stride[2] + (n * kN + column) * a.mask_stride[3]);
    }
    c.exponentiate_masked(a, mask, limit);
    c.alpha[0] = c.next_alpha[0];
    c.alpha[1] = c.next_alpha[1];
    c.pack();
    c.multiply_alone();
  }
}

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
    for (int row = 0; row < 2; row++)
      limit[row] = visible_keys(a, tile, row_of_tile + 8 * row) - n * kN - 2 * (int)(c.lane & 3);
  };
  // Everything of a turn that the loop needs; waits for the tile and its Q. The keys that no row of this warpgroup sees are
  // `skipped` tiles at the end: all, if its rows are past the sequence.
  float q_scale;
  int n, skipped, open = 0;  // key tiles below `open` are visible to every row of this warpgroup
  auto begin = [&](u32 turn) {
    const Tile tile = await_tile(smem, turn);
    const int row = tile.row0 + group * 64, last = __shfl_sync(~0u, tile.kv_tiles, 0) - 1;
    n = last;
    if (n < -1) return;
    if constexpr (!kMask) {
      const int visible = row < 0 || row >= tile.q_len ? 0 : a.causal ? min(tile.kv_len, row + 64) : tile.kv_len;
      n = __shfl_sync(~0u, (visible + kN - 1) / kN - 1, 0);
    }
    skipped = last - n;
    open = __shfl_sync(~0u, (a.causal ? min(tile.kv_len, row + 1) : tile.kv_len) / kN, 0);
    mbarrier_wait(smem + kQFull + 8 * (turn & 1), turn / 2 & 1);
    if constexpr (kQK16) q_scale = fmaxf(a.scale_log2, kSmallestScale);
    else q_scale = fabsf(a.scale_log2) *
              load_shared_float(smem + kQScale + ((turn & 1) * kM / 2 + (group * 4 + warp) * 8 + c.lane / 4) * 4);
  };
  auto query = [&](u32 turn) { return smem + kQ + (turn & 1) * kQBytes + group * 64 * (kQK16 ? 128 : kD); };
  auto release_query = [&](u32 turn) {
    __syncwarp();
    if (c.lane == 0) mbarrier_arrive(smem + kQEmpty + 8 * (turn & 1));
  };
  auto release = [&](u32 turn) {
    __syncwarp();
    if (c.lane == 0) release_tile(smem, turn);
  };
  u32 turn = 0;
  begin(turn);
  if constexpr (kMask) {
    for (; n >= -1; begin(++turn)) {
      attend_masked(a, c, read_tile(smem, turn), n, row_of_tile, query(turn), q_scale);
      store_output(w, c, read_tile(smem, turn), row_of_tile, turn, c.l, c.m);
      release_query(turn);
      release(turn);
    }
    return;
  }
  c.k_ready = c.v_ready = false;
#pragma unroll
  for (int i = 0; i < kN / 8; i++) c.p[i] = 0;
  bool pending = false;  // P of the step before waits for its PV
  // The first step of a turn, the only one with masks: it takes the last PV of the turn before along and
  // then writes its O. Where a tile is missing, the products are of whatever lies in shared memory, and nobody looks at them.
  auto advance = [&]() __attribute__((always_inline)) {
    const bool keys = n >= 0, values = pending;
    Place ahead = values ? c.place.next() : c.place;
    if (keys && skipped > 0) {
      c.pass_over(ahead);
      ahead = ahead.next();
      c.k_ready = false;
    }
    if (keys) {
      if (!c.k_ready) mbarrier_wait(smem + kKFull + 8 * ahead.stage, ahead.parity);
      c.load_k_scale(ahead, q_scale);
    }
    if (values && !c.v_ready) mbarrier_wait(smem + kVFull + 8 * c.place.stage, c.place.parity);
    c.issue_qk(ahead, query(turn));
    c.issue_pv<true>();
    wgmma_wait<1>();
    pin_registers(c.s);
    if (keys) c.release_k(ahead);
    if (n >= open) {
      int limit[2];
      limits(read_tile(smem, turn), n, limit);
      c.hide(limit);
    }
    float done_l[2], done_m[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
      done_m[row] = c.m[row];
      c.m[row] = kFloor;
      if constexpr (!kOnes) {
        done_l[row] = c.l[row];
        c.l[row] = 0.0f;
      }
    }
    c.finish_step<true, false>(ahead, values);
    if (values) {
      if constexpr (kQK16) mbarrier_wait(smem + kChannelsFull + 8 * ((turn - 1) % kSlots), (turn - 1) / kSlots & 1);
      store_output(w, c, read_tile(smem, turn - 1), row_of_tile, turn - 1, kOnes ? c.l : done_l, done_m);
      release(turn - 1);
      if constexpr (kStagedInQ) {  // O went out through its buffer
        fence_async_shared();
        release_query(turn - 1);
      }
    }
    c.clear_output();
    if constexpr (kOnes) c.l[0] = c.l[1] = 0.0f;
    c.pack();
    pending = keys;
  };
#pragma unroll 1
  while (true) {
    if (n >= 0 || pending) advance();
    if (!pending) {  // no keys: the end, an empty sequence, or no rows
      if (n == -2) break;
      if (skipped == 0) store_nothing(a, read_tile(smem, turn), threadIdx.x - 128, 128 * kConsumers);
#pragma unroll 1
      for (; skipped > 0; skipped--) {
        c.pass_over(c.place);
        c.place = c.place.next();
      }
      release(turn);
      if constexpr (kStagedInQ) release_query(turn);
      c.k_ready = c.v_ready = false;
    } else if (--n >= 0) {
      // Reductions put these into uniform registers, where descriptors are computed.
      c.place.stage = __reduce_max_sync(~0u, c.place.stage);
      c.place.parity = __reduce_max_sync(~0u, c.place.parity);
      n = __reduce_max_sync(~0u, n);
      const u32 q_smem = __reduce_max_sync(~0u, query(turn));
      if constexpr (kPairs) {
        if (n >= kPairsFrom) {
#pragma unroll 1
          for (; n > 0; n -= 2) {
            c.step<true, true>(q_smem, q_scale);
            c.step<false, false>(q_smem, q_scale);
          }
        }
      }
#pragma unroll 1
      for (; n >= 0; n--) c.step<true, false>(q_smem, q_scale);
    }
    if constexpr (!kStagedInQ) release_query(turn);
    begin(++turn);
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads, 1)
    ENTRY(const __grid_constant__ AttnWgmmaParams w, const __grid_constant__ TensorMap q_map,
          const __grid_constant__ TensorMap k_map, const __grid_constant__ TensorMap v_map) {
  extern __shared__ __align__(1024) u8 shared[];
  const u32 smem = (shared_address(shared) + 1023) & ~1023u;
  if (threadIdx.x == 32) tma_prefetch(q_map), tma_prefetch(k_map), tma_prefetch(v_map);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; i++) {
      mbarrier_init(smem + kKFull + 8 * i, 1);
      mbarrier_init(smem + kVFull + 8 * i, 1);
      mbarrier_init(smem + kKEmpty + 8 * i, 4 * kConsumers);
      mbarrier_init(smem + kVEmpty + 8 * i, 4 * kConsumers);
    }
    for (int i = 0; i < 2; i++) {
      mbarrier_init(smem + kQFull + 8 * i, kQK16 ? 1 : kQuantizers);
      mbarrier_init(smem + kQEmpty + 8 * i, 4 * kConsumers);
    }
    mbarrier_init(smem + kRawFull, 1);
    mbarrier_init(smem + kRawEmpty, kQuantizers);
    for (int i = 0; i < kSlots; i++) {
      mbarrier_init(smem + kTileFull + 8 * i, 1);
      mbarrier_init(smem + kChannelsFull + 8 * i, kQuantizers);
      mbarrier_init(smem + kTileEmpty + 8 * i, kQuantizers + 4 * kConsumers);
    }
    mbarrier_init_fence();
  }
  if constexpr (kOnes) {  // eight rows of 1.0 below the channels of every V tile; TMA never writes them
    constexpr int kWords = 8 * kN / 4;
    for (int i = threadIdx.x; i < kStages * kWords; i += kThreads) {
      const u32 at = smem + kV + (i / kWords) * kVBytes + kN * kD + i % kWords * 4;
      store_shared_4(at, 0x38383838u);
    }
    fence_async_shared();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    setmaxnreg_decrease<kProducerRegisters>();
    if (threadIdx.x == 0) {
      load_keys_and_values(w, k_map, v_map, smem);
    } else if (threadIdx.x >= 32) {
      produce_queries(w, q_map, smem);
    }
  } else {
    setmaxnreg_increase<kConsumerRegisters>();
    consume(w, smem);
  }
}
