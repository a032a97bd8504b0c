// The kernels that prepare K and V, run on the CPU. Static shared memory is a static variable: one block runs at a time.
#define ENTRY prepare
#include "sage2/quant_kv.cu"
#undef ENTRY
#define ENTRY apply
#include "sage2/quant_v.cu"

/// Runs the blocks of both, then V's second pass if it takes two. Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::QuantKVParams* p) {
  const int blocks = p->k_blocks + p->v_blocks;
  for (int i = 0; i < blocks; i++)
    if (!emulator::run(256, i, [p] { prepare(*p); })) return i;
  for (int i = 0; i < (MODE ? p->v_blocks : 0); i++)
    if (!emulator::run(256, i, [p] { apply(p->v); })) return blocks + i;
  return -1;
}
