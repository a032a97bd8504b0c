// exp2_lines.cuh, run on the CPU.
#include "emulator.h"

#include <sage/wgmma/exp2_lines.cuh>

/// 2^(x * scale + bias) of `pairs` pairs of x, and their bytes in e4m3, as a step of attention makes them.
extern "C" void lines(const float* x, float scale, float bias, int pairs, float* values, unsigned char* bytes) {
  for (int i = 0; i < pairs; i++) {
    const unsigned pair =
        sage::exp2_lines(sage::line_argument(x[2 * i], scale, bias), sage::line_argument(x[2 * i + 1], scale, bias));
    const float2 value = sage::Half::unpack(pair);
    values[2 * i] = value.x, values[2 * i + 1] = value.y;
    const unsigned word = sage::pack_e4m3(pair, pair);
    bytes[2 * i] = word & 255, bytes[2 * i + 1] = word >> 8 & 255;
  }
}
