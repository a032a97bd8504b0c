// The kernel that copies rows to aligned ones, run on the CPU.
#define ENTRY entry
#include "sage2/pack.cu"

/// Returns -1, or the index of the first block that hangs.
extern "C" long long run(const sage::PackParams* p, int blocks) {
  for (int i = 0; i < blocks; i++)
    if (!emulator::run(256, i, [p] { entry(*p); })) return i;
  return -1;
}
