// One instance of the wgmma attention kernel, run on the CPU: what launch/attention_wgmma.h sets up, and its blocks one after
// the other.
#define ENTRY entry
#include "sage2/attention_wgmma.cu"

#include <tuple>

using sage::i64;

/// A part of an operand: it lies in memory as anything until its head is ready.
struct Part {
  unsigned char* at;
  std::vector<unsigned char> value;
  Part(const void* data, i64 size) : at((unsigned char*)data), value(at, at + size) { std::memset(at, 0x7f, size); }
  void appear() const { std::memcpy(at, value.data(), value.size()); }
};

/// Hides the operands of every head, to appear one head at a time when no thread can go on. One batch, not packed.
static void prepare_late(const sage::AttnParams* p, sage::u8* ready) {
  for (int h = 0; h < p->Hkv; h++) {
    const i64 operand = p->k_rows * sage::kD, scales = p->k_rows / 128 * 16, channels = sage::kD * 4;
    std::vector<Part> parts;
    for (const auto& [data, size] : {std::make_tuple((const void*)p->k8, operand), {p->v8, operand}, {p->k_scale, scales},
                                     {p->v_scale, channels}, {p->k_mean, channels}})
      if (data) parts.emplace_back((const char*)data + h * size, size);
    emulator::later.push_back([parts, flags = ready + 16 * h] {
      for (const Part& part : parts) part.appear();
      std::memset(flags, 1, 16);
      emulator::progress++;
    });
  }
}

static sage::TensorMap row_map(const sage::Rows& rows, const sage::AttnParams& p, int heads, i64 tokens, int box_rows) {
  return {(const sage::u8*)rows.data, 2, 128, 4, {p.head_dim, tokens, rows.head ? heads : 1, rows.batch ? p.B : 1},
          {2, 2 * rows.token, 2 * rows.head, 2 * rows.batch}, {64, box_rows, 1, 1}};
}

static sage::TensorMap operand_map(const void* data, i64 heads, i64 rows, i64 columns, int box_rows, int box_columns) {
  return {(const sage::u8*)data, 1, box_columns, 3, {columns, rows, heads, 1}, {1, columns, columns * rows, 0},
          {box_columns, box_rows, 1, 1}};
}

/// `q_tokens`: rows of q, `k_tokens` of `k`, which is K in 16 bits; `blocks` of a grid; `ready`: 16 bytes for each head, to be prepared beside the kernel, or null. Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::AttnParams* p, long long q_tokens, int head_group, unsigned blocks, sage::u8* ready,
                         const sage::Rows* k, long long k_tokens) {
  int counter = 0;
  sage::AttnWgmmaParams w{*p};
  w.attn.counter = &counter;
  w.bf16 = p->bf16, w.per_warp = p->per_warp, w.head_group = head_group;
  w.row_tiles = (p->Sq + sage::kM - 1) / sage::kM;
  w.tiles = p->B * p->Hq * w.row_tiles;
  w.ready = ready;
  w.k = *k;
  const sage::TensorMap queries = row_map(p->q, *p, p->Hq, q_tokens, sage::kM);
  const i64 heads = i64(p->cu_k ? 1 : p->B) * p->Hkv;
  const sage::TensorMap keys = sage::kQK16 ? row_map(*k, *p, p->Hkv, k_tokens, 128)
                                           : operand_map(p->k8, heads, p->k_rows, sage::kD, 128, sage::kD);
  const sage::TensorMap values = operand_map(p->v8, heads, sage::kD, p->k_rows, sage::kD, 128);
  gridDim.x = blocks;
  bool hidden = !ready;
  for (unsigned i = 0; i < blocks; i++) {
    const auto block = [&] {
      if (!std::exchange(hidden, true)) prepare_late(p, ready);
      entry(w, queries, keys, values);
    };
    if (!emulator::run(sage::kThreads, i, block)) return i;
  }
  return -1;
}
