// Rows of any stride and alignment to aligned rows: sage2_pack_{f16,bf16}.
//
// Columns from head_dim to a multiple of 8 become zero. With smooth, the sampled mean of rows.h is subtracted in fp32 and
// written out, and the differences are fp16 whatever the input: bf16 would lose more of them than 8 bits of Q and K lose.
// A block copies 256 tokens of 32 columns.
#include <sage/rows.h>

using namespace sage;

namespace {

template <bool ALIGNED>
SAGE_DEVICE void pack(const PackParams& p) {
  __shared__ float slots[kSample / 2 * 32];
  const int parts = (p.S + 255) / 256, groups = p.D / 32;
  const int part = blockIdx.x % parts;
  const int column0 = blockIdx.x / parts % groups * 32, column = column0 + threadIdx.x % 4 * 8;
  const int h = blockIdx.x / parts / groups % p.H, b = blockIdx.x / parts / groups / p.H;
  const Sequence sequence = sequence_of(p.cu, b, p.S);
  const i64 batch = p.cu ? 0 : b;
  const u16* head = static_cast<const u16*>(p.x.data) + batch * p.x.batch + h * p.x.head + sequence.first * p.x.token;
  u16* out = static_cast<u16*>(p.out.data) + batch * p.out.batch + h * p.out.head + sequence.first * p.out.token;

  float mean[8] = {};
  if (p.smooth && sequence.length > 0) {
    mean_of_32_columns<Input, ALIGNED>(head, p.x.token, sequence.length, column0, p.head_dim, slots, Block{});
#pragma unroll
    for (int j = 0; j < 8; ++j) mean[j] = slots[threadIdx.x % 4 * 8 + j];
  }
  if (p.smooth && part == 0 && threadIdx.x < 32)
    p.mean[(i64(b) * p.H + h) * p.D + column0 + threadIdx.x] = sequence.length > 0 ? slots[threadIdx.x] : 0.0f;
  if (column >= p.columns) return;
  uint4 piece[4];
#pragma unroll
  for (int pass = 0; pass < 4; ++pass) {
    const int token = part * 256 + pass * 64 + threadIdx.x / 4;
    piece[pass] = load_columns<ALIGNED>(head + token * p.x.token, column, p.head_dim, token < sequence.length);
  }
#pragma unroll
  for (int pass = 0; pass < 4; ++pass) {
    const int token = part * 256 + pass * 64 + threadIdx.x / 4;
    if (token >= sequence.length) continue;
    if (p.smooth) {
      float value[8];
      unpack_columns<Input>(piece[pass], value);
#pragma unroll
      for (int j = 0; j < 8; ++j) value[j] -= mean[j];
      piece[pass] = make_uint4(Half::pack(value[0], value[1]), Half::pack(value[2], value[3]),
                               Half::pack(value[4], value[5]), Half::pack(value[6], value[7]));
    }
    *reinterpret_cast<uint4*>(out + token * p.out.token + column) = piece[pass];
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) ENTRY(const __grid_constant__ PackParams p) {
  if (is_aligned(p.x, p.head_dim)) pack<true>(p);
  else pack<false>(p);
}
