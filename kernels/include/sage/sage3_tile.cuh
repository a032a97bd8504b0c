// Reading 16-bit tiles and reducing over a thread block, for the quantizers.
#pragma once

#include "types.h"

namespace sage {

constexpr int kQuantizeThreads = 256;

// Eight channels from `channel` on of one row, two to a word; those from head_dim on are zero.
SAGE_DEVICE uint4 load8(const u16* row, int channel, int head_dim, bool aligned) {
  if (aligned && channel < head_dim) return *reinterpret_cast<const uint4*>(row + channel);
  u32 x[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = channel + i < head_dim ? row[channel + i] : 0;
  return make_uint4(x[0] | x[1] << 16, x[2] | x[3] << 16, x[4] | x[5] << 16, x[6] | x[7] << 16);
}

// Row (batch, head, token) of a 16-bit tensor.
SAGE_DEVICE const u16* row_of(const Rows& rows, i64 batch, i64 head, i64 token) {
  return static_cast<const u16*>(rows.data) + batch * rows.batch + head * rows.head + token * rows.token;
}

// |x| as bits: ordered like the value, with infinity and NaN above every finite one, so that a maximum keeps them.
SAGE_DEVICE u32 magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }

// The maximum over the block, for every thread; `scratch` holds one word for each warp.
SAGE_DEVICE u32 block_max(u32 value, u32* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, offset));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kQuantizeThreads / 32; ++i) value = max(value, scratch[i]);
  return value;
}

// Copies a finished record (a multiple of 16 bytes) from shared to global memory.
template <int BYTES>
SAGE_DEVICE void store_record(u8* out, const u8* record_smem) {
  static_assert(BYTES % 16 == 0, "records are made of 16-byte words");
  for (int i = threadIdx.x; i < BYTES / 16; i += kQuantizeThreads)
    reinterpret_cast<uint4*>(out)[i] = reinterpret_cast<const uint4*>(record_smem)[i];
}

}  // namespace sage
