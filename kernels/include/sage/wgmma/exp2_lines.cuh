// 2^y without MUFU, which has 16 exponentials a clock for a multiprocessor and would bound the softmax alone.
//
// The bits of an f16 hold y + 15 in fixed point, exponent and fraction: it then is 2^y interpolated linearly between powers
// of two (Schraudolph, Neural Computation 11, 1999), up to 6 % too large. Two such lines half an octave apart err against
// each other. Their sum, less its mean excess, is within 1.1 %, and .45 % rms, where rounding to e4m3 costs 2.5 % rms.
#pragma once

#include <sage/types.h>

namespace sage {

// log2 of what the sum of the lines is too large by in the mean.
constexpr float kLog2Excess = 1.057456f;

// Half of a pair's argument: y + 15 - kLog2Excess in the low 16 bits, with ten of fraction. y is x * scale + bias; below -13.9
// it counts as that, which is zero in e4m3, and it must stay below 15. NaN counts as the lowest.
SAGE_DEVICE u32 line_argument(float x, float scale, float bias) {
  const float part = fma_saturate(x, scale * (1.0f / 32), __fmaf_rn(bias, 1.0f / 32, (15.0f - kLog2Excess) / 32));
  return __float_as_uint(__fmaf_rn(part, 32768.0f, 8388608.0f));  // onto 2^23: an integer in the low bits
}

// 2^y of two arguments, as halves.
SAGE_DEVICE u32 exp2_lines(u32 a, u32 b) {
  const u32 line = __byte_perm(a, b, 0x5410), shifted = line + 0x02000200u;  // half an octave on
  return Half::fma(shifted, 0x39a839a8u, line);                              // by 2^-0.5
}

}  // namespace sage
