// Warp 0 of the producer: claims work tiles, and brings K, its scales and V into rings of kStages by TMA.
#pragma once

#include "tiles.cuh"

namespace sage {

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
  u32 turn = 0;
  Tile tile = get_tile(w, blockIdx.x);
  if (tile.row0 >= tile.q_len) {
    if (!w.ready) wait_for_producers();  // they clear the counter
    tile = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
  }
  announce(tile, smem, turn);  // Q, and K in 16 bits, can be fetched before the operands are ready
  Place place;
  bool first = true;
  while (tile.kv_tiles >= 0) {
    // Everything that a tile of keys needs of its head, once: this thread must be quick when there is room again.
    const int head = tile.head / (p.Hq / p.Hkv), z = p.cu_q ? head : tile.batch * p.Hkv + head;
    const float* scales = kQK16 ? nullptr : p.k_scale + (z * p.k_rows + tile.k_start) / kN * 4;
    const int token0 = kQK16 && p.cu_k ? p.cu_k[tile.batch] : 0;
    const int k_head = w.k.head ? head : 0, k_batch = w.k.batch ? tile.batch : 0;
    const auto load_keys = [&](int n) {
      const u32 s = place.stage, to = smem + kK + s * kKBytes, full = smem + kKFull + 8 * s;
      mbarrier_wait(smem + kKEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(full, kKBytes + (kQK16 ? 0 : 16));
      if constexpr (kQK16) {
#pragma unroll
        for (int j = 0; j < kD / 64; j++)
          tma_load_4d(to + j * kN * 128, k_map, full, 64 * j, token0 + n * kN, k_head, k_batch);
      } else {
        tma_load_3d(to, k_map, full, 0, tile.k_start + n * kN, z);
        bulk_load(smem + kKScale + s * 16, scales + n * 4, 16, full);
      }
    };
    // The next tile is claimed late, for balance, but early enough to have its Q in time, which quantizing delays.
    const int last = max(tile.kv_tiles, 1) - 1, claim_at = min(kStages - (kQK16 ? 2 : 1), last);
    Tile next;
    if (kQK16 && tile.kv_tiles > 0) load_keys(last);
    await_operands(w, tile, first);
    first = false;
    for (int n = last; n >= 0; n--) {
      if (n < tile.kv_tiles && (!kQK16 || n < last)) load_keys(n);
      if (n == claim_at) {
        next = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
        announce(next, smem, ++turn);
      }
      if (n >= tile.kv_tiles) break;
      const u32 s = place.stage, full = smem + kVFull + 8 * s;
      mbarrier_wait(smem + kVEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(full, kN * kD);
      tma_load_3d(smem + kV + s * kVBytes, v_map, full, tile.k_start + n * kN, 0, z);
      place = place.next();
    }
    tile = next;
  }
  if (w.ready) wait_for_producers();  // memory that they write is free once this kernel has ended
}

}  // namespace sage
