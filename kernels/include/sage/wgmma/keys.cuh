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
  tma_prefetch(k_map);
  tma_prefetch(v_map);
  u32 turn = 0;
  Tile tile = get_tile(w, blockIdx.x);
  const bool early = tile.row0 < tile.q_len;  // Q can be fetched before K and V are ready
  if (early) announce(tile, smem, turn);
  if (!w.ready) wait_for_producers();
  if (!early) {
    tile = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
    announce(tile, smem, turn);
  }
  Place place;
  while (tile.kv_tiles >= 0) {
    const int head = tile.head / (p.Hq / p.Hkv), z = p.cu_q ? head : tile.batch * p.Hkv + head;
    const float* scales = p.k_scale + (z * p.k_rows + tile.k_start) / kN * 4;
    // The next tile is claimed late, for balance, but early enough to quantize its Q in time.
    const int claim_at = min(kStages, max(tile.kv_tiles, 1)) - 1;
    Tile next;
    await_operands(w, tile, false);
    for (int n = max(tile.kv_tiles, 1) - 1; n >= 0; n--) {
      if (n == claim_at) {
        next = find_tile(w, gridDim.x + atomicAdd(w.attn.counter, 1));
        announce(next, smem, ++turn);
      }
      if (n >= tile.kv_tiles) break;
      const u32 s = place.stage, key = tile.k_start + n * kN;
      const u32 k_full = smem + kKFull + 8 * s, v_full = smem + kVFull + 8 * s;
      mbarrier_wait(smem + kKEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(k_full, kKBytes + 16);
      tma_load_3d(smem + kK + s * kKBytes, k_map, k_full, 0, key, z);
      bulk_load(smem + kKScale + s * 16, scales + n * 4, 16, k_full);
      mbarrier_wait(smem + kVEmpty + 8 * s, place.parity ^ 1);
      mbarrier_arrive_expect(v_full, kN * kD);
      tma_load_3d(smem + kV + s * kVBytes, v_map, v_full, key, 0, z);
      place = place.next();
    }
    tile = next;
  }
  if (w.ready) wait_for_producers();  // memory that they write is free once this kernel has ended
}

}  // namespace sage
