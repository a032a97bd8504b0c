// Work tiles: BLOCK_M query rows of one head. Blocks claim them from a counter, and a block's warps learn of them through
// a ring of slots in shared memory.
#pragma once

#include <sage/ready.cuh>

#include "config.cuh"

namespace sage {

struct Tile {
  int batch, head;       // query head
  int row0;              // first query row within its sequence; negative: consumers before row 0 have no rows
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
  const int place_of_rows = p.causal ? w.row_tiles - 1 - row_tile : row_tile;
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
  tile.row0 = place_of_rows * kM;
  // Of causal tiles the first, with the fewest keys, is the one that is not full: it begins before the sequence.
  if (p.causal && !kMask) tile.row0 -= ((tile.q_len + kM - 1) / kM * (kM / 64) - (tile.q_len + 63) / 64) * 64;
  const int visible = p.causal ? min(tile.kv_len, tile.row0 + kM) : tile.kv_len;
  tile.kv_tiles = (visible + kN - 1) / kN;
  return tile;
}

// Waits for the tile's K and V, if they are prepared beside this kernel; else the first wait is for the kernels before.
SAGE_DEVICE void await_operands(const AttnWgmmaParams& w, const Tile& tile, bool first) {
  const AttnParams& p = w.attn;
  if (w.ready) await_ready(w.ready, tile.batch * p.Hkv + tile.head / (p.Hq / p.Hkv));
  else if (first) wait_for_producers();
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
  const u32 slot = turn % kSlots, at = smem + kTile + 32 * slot;
  mbarrier_wait(smem + kTileEmpty + 8 * slot, turn / kSlots & 1 ^ 1);
  store_shared_16(at, make_uint4(tile.batch, tile.head, tile.row0, tile.q_len));
  store_shared_16(at + 16, make_uint4(tile.kv_len, tile.q_start, tile.k_start, tile.kv_tiles));
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

}  // namespace sage
