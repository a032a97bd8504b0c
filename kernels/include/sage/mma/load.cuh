// From global to shared memory: Q quantized on the way, tiles of K and V copied asynchronously.
#pragma once

#include "../sync.h"
#include "config.cuh"
#include "../shared.cuh"

namespace sage {

/// Address of this lane's 16 bytes of Q's int8 fragment for m tile i and k step j. Only this lane writes and reads them,
/// so they need neither a barrier nor a swizzle.
SAGE_DEVICE u32 q_fragment(u32 smem, int i, int j) {
  const Lane at = this_lane();
  return smem + Q_SMEM + ((at.warp * M_TILES + i) * QK_STEPS + j) * 512 + at.lane * 16;
}

SAGE_DEVICE void park(u32 smem, int slot, u32 x) { store_shared_4(smem + PARK_SMEM + threadIdx.x * 4 + slot, x); }
SAGE_DEVICE u32 parked(u32 smem, int slot) {
  return load_shared_4(smem + PARK_SMEM + recomputed(threadIdx.x) * 4 + slot);
}
SAGE_DEVICE void park_rows(u32 smem, int slot, const float (&x)[ROWS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) park(smem, slot + i * kThreads * 4, __float_as_uint(x[i]));
}
SAGE_DEVICE void parked_rows(u32 smem, int slot, float (&x)[ROWS]) {
#pragma unroll
  for (int i = 0; i < ROWS; i++) x[i] = __uint_as_float(parked(smem, slot + i * kThreads * 4));
}

/// Four channels of one row of Q as floats; zero outside the tensor.
SAGE_DEVICE float4 load_q(const AttnParams& p, const u16* row, int channel, bool inside) {
  uint2 x = make_uint2(0, 0);
  if (inside && channel < p.head_dim) x = __ldg(reinterpret_cast<const uint2*>(row + channel));
  const float2 a = unpack16(x.x, p.bf16), b = unpack16(x.y, p.bf16);
  return make_float4(a.x, a.y, b.x, b.y);
}

/// Quantize this warp's rows of Q into shared memory: round(q * (127 / amax)), the exact product to nearest even. Returns
/// amax * (1 / 127), where amax is taken over the lane's ROWS rows, or the warp's with per_warp. A negative softmax scale
/// becomes the sign of the integers, so that no factor of S is negative and maxima may be taken before scaling. If lse is
/// asked for, dots[row] becomes q . k_mean in fp32.
SAGE_DEVICE float quantize_q(const AttnParams& p, const Position& block, u32 smem, float* dots) {
  const Lane at = this_lane();
  const int first = block.q_tile * BLOCK_M + at.warp * WARP_M + at.g;
  const u16* q = static_cast<const u16*>(p.q.data) + block.batch * p.q.batch + block.q_head * p.q.head +
                 static_cast<i64>(block.q_first + first) * p.q.token;
  const bool dot_mean = p.lse && p.k_mean;
  const float* mean = p.k_mean + statistics(p, block);
  float amax = 0.0f, dot[ROWS] = {};
#pragma unroll 2
  for (int c = 4 * at.t; c < HEAD_DIM; c += 16) {
    const float4 k = dot_mean ? *reinterpret_cast<const float4*>(mean + c) : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      const float4 x = load_q(p, q + 8 * i * p.q.token, c, first + 8 * i < block.q_len);
      amax = max_abs(max_abs(max_abs(max_abs(amax, x.x), x.y), x.z), x.w);
      dot[i] += x.x * k.x + x.y * k.y + x.z * k.z + x.w * k.w;
    }
  }
  amax = lanes_max_abs<4>(amax);
  if (p.per_warp) amax = lanes_max_abs<8, 4>(amax);
  if (dot_mean) {
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      dot[i] = lanes_sum<4>(dot[i]);
      if (at.t == 0) dots[at.warp * WARP_M + at.g + 8 * i] = dot[i];
    }
  }
  const bool zero = is_zero_group(amax);
  const float inverse = zero ? 0.0f : __fdiv_rn(p.scale_log2 < 0.0f ? -127.0f : 127.0f, amax);
#pragma unroll 1
  for (int j = 0; j < QK_STEPS; j++) {
#pragma unroll
    for (int i = 0; i < M_TILES; i++) {
      u32 a[4];
#pragma unroll
      for (int r = 0; r < 4; r++) {
        const int row = 16 * i + 8 * (r % 2);
        const float4 x = load_q(p, q + row * p.q.token, j * QK_K + 16 * (r / 2) + 4 * at.t, first + row < block.q_len);
        a[r] = pack_scaled_s8(x.x, x.y, x.z, x.w, inverse);
      }
      store_shared_16(q_fragment(smem, i, j), make_uint4(a[0], a[1], a[2], a[3]));
    }
  }
  // An infinite element makes NaN of its rows, like a NaN.
  return zero ? 0.0f : amax > 3.4e38f ? __uint_as_float(0x7FFFFFFFu) : amax * (1.0f / 127.0f);
}

/// Start the copy of the tile of K that starts at `row` of k8; its rows lie together.
SAGE_DEVICE void load_k(const AttnParams& p, u32 smem, u32 row) {
  constexpr int chunks = HEAD_DIM / 16, step = kThreads / chunks;
  const u32 thread = recomputed(threadIdx.x), first = thread / chunks, chunk = thread % chunks;
  const signed char* source = p.k8 + static_cast<u64>(row) * HEAD_DIM + thread * 16;
#pragma unroll
  for (int i = 0; i < BLOCK_N / step; i++)
    cp_async_16(smem + K_SMEM + swizzled<HEAD_DIM>(first + i * step, chunk), source + i * kThreads * 16, true);
}

/// Where this thread starts reading V: 16-bit rows of head_dim channels, p.v.token apart, or e4m3 channels of tokens,
/// p.k_rows apart.
SAGE_DEVICE u64 v_source(const AttnParams& p, const Position& block) {
#if PV >= PV_F8
  constexpr u32 chunks = BLOCK_N / 16;
  const i64 channel = (static_cast<i64>(block.batch) * p.Hkv + block.kv_head) * HEAD_DIM + threadIdx.x / chunks;
  return reinterpret_cast<u64>(p.v8 + channel * p.k_rows + block.k_prepared + threadIdx.x % chunks * 16);
#else
  constexpr u32 chunks = HEAD_DIM / 8;
  return reinterpret_cast<u64>(static_cast<const u16*>(p.v.data) + block.batch * p.v.batch + block.kv_head * p.v.head +
                               static_cast<i64>(block.k_first + threadIdx.x / chunks) * p.v.token +
                               threadIdx.x % chunks * 8);
#endif
}
SAGE_DEVICE u64 parked_v_source(u32 smem) {
  return parked(smem, V_LOW) | static_cast<u64>(parked(smem, V_HIGH)) << 32;
}

/// Start the copy of the tile of 16-bit V from token k on; tokens that do not exist are zero.
SAGE_DEVICE void load_v16(const AttnParams& p, u32 smem, int k) {
  constexpr int chunks = HEAD_DIM / 8, step = kThreads / chunks;
  const u32 thread = recomputed(threadIdx.x), first = thread / chunks, chunk = thread % chunks;
  const u16* source = reinterpret_cast<const u16*>(parked_v_source(smem)) + k * p.v.token;
  const int left = static_cast<int>(parked(smem, LENGTH) - k - first);  // by all lanes: not inside the choice below
  const int rows = chunk * 8 < p.head_dim ? left : 0;
#pragma unroll
  for (int i = 0; i < BLOCK_N / step; i++) {
    cp_async_16(smem + V_SMEM + swizzled<2 * HEAD_DIM>(first + i * step, chunk), source, i * step < rows);
    source += step * p.v.token;
  }
}

/// bf16 input for fp16 matrix instructions: each thread rewrites the chunks it has copied itself, so that its own
/// cp_async_wait is all it needs. Values beyond fp16's range become infinite.
SAGE_DEVICE void convert_v16(u32 smem) {
  constexpr int chunks = HEAD_DIM / 8, step = kThreads / chunks;
#pragma unroll 1
  for (u32 row = threadIdx.x / chunks; row < BLOCK_N; row += step) {
    const u32 address = smem + V_SMEM + swizzled<2 * HEAD_DIM>(row, threadIdx.x % chunks);
    const uint4 x = load_shared_16(address);
    u32 e[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 y = Bfloat::unpack(e[i]);
      e[i] = Half::pack(y.x, y.y);
    }
    store_shared_16(address, make_uint4(e[0], e[1], e[2], e[3]));
  }
}

/// Start the copy of the tile of e4m3 V from token k on.
SAGE_DEVICE void load_v8(const AttnParams& p, u32 smem, int k) {
  constexpr int chunks = BLOCK_N / 16, step = kThreads / chunks;
  const u32 thread = recomputed(threadIdx.x), first = thread / chunks, chunk = thread % chunks;
  const u8* source = reinterpret_cast<const u8*>(parked_v_source(smem)) + k;
#pragma unroll
  for (int i = 0; i < HEAD_DIM / step; i++) {
    cp_async_16(smem + V_SMEM + swizzled<BLOCK_N>(first + i * step, chunk), source, true);
    source += step * p.k_rows;
  }
}

}  // namespace sage
