// sage2 attention with mma.sync, for every architecture from sm_80: int8 QK, online softmax in base 2, and PV in fp16,
// bf16 or e4m3. Operands: AttnParams (sage/params.h), K in blocks of 64 tokens.
//
// -D parameters of an instance:
//   ENTRY     the kernel's name
//   HEAD_DIM  64, 128 or 256: channels held on chip; those from head_dim on are zero
//   PV        a PV_ constant of sage/mma/config.cuh
//   MASK      1: attn_mask is read (any MaskKind but MASK_NONE); 0: it is not
// Causal or not, packed or not, the granularity of Q, lse and the layout are run-time choices: they cost nothing in the
// inner loop.
//
// One buffer each for K and V: the next K travels while P V is multiplied, V while Q K^T is. Two blocks to a
// multiprocessor hide what is left.
#include <sage/mma/output.cuh>
#include <sage/mma/softmax.cuh>

// Blocks to a multiprocessor: as many as the registers of one allow without spills.
#if HEAD_DIM == 64 && PV != PV_FLUSH16 && __CUDA_ARCH__ < 1000
#define MIN_BLOCKS 3
#else
#define MIN_BLOCKS 2
#endif

extern "C" __global__ void __launch_bounds__(sage::kThreads, MIN_BLOCKS)
    ENTRY(const __grid_constant__ sage::AttnParams p) {
  using namespace sage;
  extern __shared__ __align__(128) u8 shared[];
  const u32 smem = shared_address(shared);
  float* const dots = reinterpret_cast<float*>(shared + DOT_SMEM);
  const Lane at = this_lane();

  wait_for_producers();
  Position block;
  if (!locate(p, block)) return;
  const int warp_row = block.q_tile * BLOCK_M + at.warp * WARP_M;
  const int k_end = p.causal ? min_int(block.k_len, (block.q_tile + 1) * BLOCK_M) : block.k_len;

  // Rows of k8 fit 32 bits: it has fewer than 2^32.
  const u32 k_row = (static_cast<i64>(block.batch) * p.Hkv + block.kv_head) * p.k_rows + block.k_prepared;
  if (k_end > 0) load_k(p, smem, k_row);
  cp_async_commit();
  park(smem, K_ROW, k_row);
  park(smem, LENGTH, block.k_len);
  park(smem, DIAGONAL, p.causal ? warp_row + at.g + 1 : 0x7FFFFF00u);
  park(smem, FULL, p.causal ? min_int(block.k_len, warp_row + 1) : block.k_len);
  const u64 v = v_source(p, block);
  park(smem, V_LOW, v);
  park(smem, V_HIGH, v >> 32);
  park(smem, Q_SCALE, __float_as_uint(quantize_q(p, block, smem, dots) * fabsf(p.scale_log2)));

  OTile o = {};
  float rows[ROWS] = {};
  park_rows(smem, SUM, rows);
#pragma unroll
  for (int i = 0; i < ROWS; i++) rows[i] = kLowest;
  park_rows(smem, MAXIMUM, rows);

#pragma unroll 1
  for (int k = 0; k < k_end; k += BLOCK_N) {
    cp_async_wait<0>();
    __syncthreads();  // K's tile is there for all; nobody reads V's previous tile any more
#if PV >= PV_F8
    load_v8(p, smem, k);
#else
    load_v16(p, smem, k);
#endif
    cp_async_commit();
#if PV == PV_ACC16 || PV == PV_FLUSH16
    if (p.bf16 && !p.v_mean) {  // here, where S does not yet need the registers
      cp_async_wait<0>();
      convert_v16(smem);
    }
#endif

    const u32 t = recomputed(threadIdx.x) % 4;
    const float k_scale = __ldg(p.k_scale + (parked(smem, K_ROW) + k) / BLOCK_N * 4 + t);
    // Never zero, which would make NaN of a masked column's -inf; NaN must stay.
    const float scale = max_abs(__uint_as_float(parked(smem, Q_SCALE)) * k_scale, 1e-30f);
    STile s;
    multiply_qk(smem, s);
#if MASK
    apply_mask(p, block, warp_row + at.g, k + 2 * t, scale, s);
#endif
    if (k + BLOCK_N > static_cast<int>(parked(smem, FULL))) {
      const int column = k + 2 * t, end = parked(smem, LENGTH) - column, diagonal = parked(smem, DIAGONAL) - column;
      int limit[ROWS];
#pragma unroll
      for (int i = 0; i < ROWS; i++) limit[i] = min_int(end, diagonal + 8 * i);
      mask_columns(s, limit);
    }

    float maximum[ROWS], m[ROWS];
    row_maxima(s, scale, maximum);
    parked_rows(smem, MAXIMUM, m);
    bool grown = false;
#pragma unroll
    for (int i = 0; i < ROWS; i++) grown |= maximum[i] > m[i] + kSlack;
    if (__any_sync(~0u, grown)) {
      float alpha[ROWS], l[ROWS];
      parked_rows(smem, SUM, l);
#pragma unroll
      for (int i = 0; i < ROWS; i++) {
        const float larger = fmaxf(m[i], maximum[i]);
        alpha[i] = exp2_approx(m[i] - larger);
        m[i] = larger;
        l[i] *= alpha[i];
      }
      park_rows(smem, MAXIMUM, m);
      park_rows(smem, SUM, l);
      scale_o(o, alpha);
    }

    PTile a;
    exponentials(smem, s, scale, m, a);

    cp_async_wait<0>();
    __syncthreads();  // V's tile is there for all; nobody reads K's tile any more
    if (k + BLOCK_N < k_end) load_k(p, smem, parked(smem, K_ROW) + k + BLOCK_N);
    cp_async_commit();
    multiply_pv(smem, a, o);
  }
  store(p, smem, dots, o);
}
