// The kernels that prepare K and V, run on the CPU, V's blocks in clusters where it takes one pass.
#define ENTRY prepare
#include "sage2/quant_kv.cu"
#undef ENTRY
#define ENTRY apply
#include "sage2/quant_v.cu"

/// Runs the blocks of both, then V's second pass if it takes two. Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::QuantKVParams* p) {
  const int cluster = MODE ? 1 : p->v.chunks;
  const int blocks = (p->k_blocks + cluster - 1) / cluster * cluster + p->v_blocks;
  for (int i = 0; i < blocks; i += cluster)
    if (!emulator::run(256, i, [p] { prepare(*p); }, cluster)) return i;
  for (int i = 0; i < (MODE ? p->v_blocks : 0); i++)
    if (!emulator::run(256, i, [p] { apply(p->v); })) return blocks + i;
  return -1;
}
