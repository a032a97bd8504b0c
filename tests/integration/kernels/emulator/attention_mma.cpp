// One instance of the mma.sync attention kernel, run on the CPU.
#define ENTRY entry
#include "sage2/attention_mma.cu"

/// Runs all blocks. Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::AttnParams* p, unsigned blocks) {
  for (unsigned i = 0; i < blocks; i++)
    if (!emulator::run(sage::kThreads, i, [p] { entry(*p); })) return i;
  return -1;
}
