// One instance of the wgmma attention kernel, run on the CPU: what launch/attention_wgmma.h sets up, and its blocks one after
// the other.
#define ENTRY entry
#include "sage2/attention_wgmma.cu"

using sage::i64;

static sage::TensorMap operand_map(const void* data, i64 heads, i64 rows, i64 columns, int box_rows, int box_columns) {
  return {(const sage::u8*)data, 1, box_columns, 3, {columns, rows, heads, 1}, {1, columns, columns * rows, 0},
          {box_columns, box_rows, 1, 1}};
}

/// `q_tokens`: rows of q; `blocks` of a grid. Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::AttnParams* p, long long q_tokens, int head_group, unsigned blocks) {
  int counter = 0;
  sage::AttnWgmmaParams w{*p};
  w.attn.counter = &counter;
  w.bf16 = p->bf16, w.per_warp = p->per_warp, w.head_group = head_group;
  w.row_tiles = (p->Sq + sage::kM - 1) / sage::kM;
  w.tiles = p->B * p->Hq * w.row_tiles;
  const sage::Rows& q = p->q;
  const sage::TensorMap queries{(const sage::u8*)q.data, 2, 128, 4,
                                {p->head_dim, q_tokens, q.head ? p->Hq : 1, q.batch ? p->B : 1},
                                {2, 2 * q.token, 2 * q.head, 2 * q.batch}, {64, sage::kM, 1, 1}};
  const i64 heads = i64(p->cu_k ? 1 : p->B) * p->Hkv;
  const sage::TensorMap keys = operand_map(p->k8, heads, p->k_rows, sage::kD, 128, sage::kD);
  const sage::TensorMap values = operand_map(p->v8, heads, sage::kD, p->k_rows, sage::kD, 128);
  gridDim.x = blocks;
  for (unsigned i = 0; i < blocks; i++)
    if (!emulator::run(sage::kThreads, i, [&] { entry(w, queries, keys, values); })) return i;
  return -1;
}
