// Kernel arguments, shared by the host launchers and the device code: plain C layout, no includes, no std.
//
// Every kernel takes one of these structs by value as `const __grid_constant__`. Strides count elements, never bytes, and
// are 64-bit; the channels of a row are always contiguous. "Padded" lengths are multiples of 128 tokens, padded head
// dims are the instance's D (64, 128 or 256); the prepared operands hold zeros in all padding.
#pragma once

namespace sage {

typedef long long i64;

/// 16-bit rows in the caller's layout (HND or NHD is only a choice of strides). Row (b, h, s) starts at
/// data + b * batch + h * head + s * token. Packed sequences have batch = 0 and are offset by cu_seqlens instead.
struct Rows {
  const void* data;
  i64 batch, head, token;
};

/// The same, to be written.
struct OutRows {
  void* data;
  i64 batch, head, token;
};

enum MaskKind { MASK_NONE = 0, MASK_BOOL = 1, MASK_F16 = 2, MASK_BF16 = 3, MASK_F32 = 4 };

/// Arguments of every sage2 attention kernel.
///
/// What the binding guarantees: q, v and out start on 16 bytes, their strides and head_dim are multiples of 8, so a row is
/// a whole number of 16-byte pieces (columns from head_dim to D are not there: take them as zero, do not store them).
/// B, Hq, Hkv, Sq and Sk are at least 1 and Hq is a multiple of Hkv. B * Hq may exceed 65535: put it in grid.x.
struct AttnParams {
  Rows q;                 ///< 16-bit; quantized to int8 inside the kernel, where K is int8
  Rows v;                 ///< V of the f16 path: q's dtype, or with v_mean fp16 less that mean; data = null on the f8 paths
  OutRows out;            ///< q's dtype
  const signed char* k8;  ///< [B, Hkv, k_rows, D]; null for the kernels that take K in 16 bits, as k_scale and k_mean
  const float* k_scale;   ///< [B, Hkv, k_rows / KBLK, 4]
  const float* k_mean;    ///< [B, Hkv, D] (one per sequence with variable lengths); null without smoothing
  const unsigned char* v8;  ///< e4m3 [B, Hkv, D, k_rows], token order 0 1 8 9 2 3 10 11 4 5 12 13 6 7 14 15 per 16
  const float* v_scale;     ///< [B, Hkv, D]
  const float* v_mean;      ///< [B, Hkv, D], to be added to the normalised output; null without smooth_v
  float* lse;               ///< fp32, natural log, row (b, h) at b * lse_batch + h * lse_head; null when not asked for
  i64 lse_batch, lse_head;
  const void* mask;      ///< null for MASK_NONE; element (b, h, i, j) at the sum of index * mask_stride (0 = broadcast)
  i64 mask_stride[4];    ///< batch, q head, query, key
  const int* cu_q;       ///< int32 [B + 1] on the device, or null: sequence b has queries cu_q[b] .. cu_q[b + 1] - 1
  const int* cu_k;       ///< the same for keys; its prepared rows start at (cu_k[b] / 128 + b) * 128 of the only batch
  i64 k_rows;            ///< padded rows of one (batch, kv head) of k8 and v8; with cu_k, those of the whole pack
  int B;                 ///< batches, or sequences with variable lengths
  int Hq, Hkv;
  int Sq, Sk;            ///< tokens; with cu_q/cu_k upper bounds of any sequence (max_seqlen_*)
  int head_dim;          ///< columns really there, a multiple of 8, at most D
  int mask_kind;         ///< MaskKind
  int causal;            ///< 1: key j is visible to query i if j <= i (top-left aligned)
  int bf16;              ///< dtype of q, v and out: 1 bf16, 0 fp16
  int per_warp;          ///< Q's scale is shared by a warp's rows (1) or by those of one lane (0)
  float sm_scale;        ///< any sign; lse gets sm_scale * (q . k_mean) added
  float scale_log2;      ///< sm_scale * log2(e)
  int* counter;          ///< one int, 0 once the kernels before have finished: for blocks that claim their tiles
};

/// Consumer warpgroups of a sage2_wgmma kernel, 64 query rows each, by [D == 128][PV accumulates in f16]; and its dynamic
/// shared memory: all that a block of sm_90 may have.
constexpr int kWgmmaConsumers[2][2] = {{2, 3}, {2, 2}};
constexpr int kWgmmaShared = 227 * 1024;

/// Arguments of the sage2_wgmma kernels.
struct AttnWgmmaParams {
  AttnParams attn;
  int bf16;        ///< 1: q and out are bfloat16; 0: half
  int per_warp;    ///< 1: one scale of Q for the 16 rows of a warp; 0: one for each pair (g, g + 8) of them
  int row_tiles;   ///< tiles of query rows to a head
  int head_group;  ///< heads taken together, so that their K and V stay in L2
  int tiles;       ///< B * Hq * row_tiles
  Rows k;          ///< K in 16 bits, of q's dtype, for the kernels that do not take k8
  const unsigned char* ready;  ///< of QuantKVResidentParams; null: all heads are prepared when the kernels before have finished
};

/// Tokens that a mean is taken from (rows.h).
constexpr int kSample = 128;

/// Flags of a head whose K and V are prepared beside the attention kernel (ready.cuh); and the most parts of it.
constexpr int kReadyBytes = 16;

/// Arguments of sage2_quant_k: K to int8. The exact definition is in sage/quant_k.cuh.
struct QuantKParams {
  Rows k;
  signed char* k8;  ///< [B, H, rows, D]
  float* scale;     ///< [B, H, rows / block, 4]
  float* mean;      ///< [B, H, D]; written (zeros without smoothing)
  const int* cu;    ///< packed sequences, or null
  i64 rows;         ///< padded rows of one (batch, head), of the whole pack with cu
  int B, H, S;      ///< S: tokens, or the longest sequence
  int head_dim;     ///< real columns, at most D
  int block;        ///< 64 or 128 tokens to a scale
  int per_warp;     ///< 1: one scale for a block, written four times; 0: four residue groups
  int smooth;       ///< 1: subtract the mean of the sampled tokens
  int tiles;        ///< tiles of 128 tokens per (batch, head): ceil(S / 128)
  int tiles_per_cta;
  int* counter;     ///< set to 0 for the attention kernel, or null
};

/// Arguments of sage2_quant_v_apply: V to e4m3, transposed. The exact definition is in sage/quant_v.cuh.
struct QuantVParams {
  Rows v;
  unsigned char* v8;  ///< [B, H, D, rows]
  float* scale;       ///< [B, H, D]
  float* mean;        ///< [B, H, D]; written (zeros without smoothing)
  float* partial;     ///< [B, H, chunks, D] scratch of the two-pass form
  const int* cu;      ///< packed sequences, or null
  i64 rows;           ///< as in QuantKParams
  int B, H, S;
  int head_dim, D;    ///< real and padded columns; D is 64 or 128
  int smooth;
  int chunks;         ///< token chunks per (batch, head)
  int chunk;          ///< tokens in a chunk, a multiple of 128
  float vmax;         ///< largest magnitude after scaling: 448 or 2.25
};

/// Arguments of the sage2_quant_kv kernels: K and V in one launch, in blocks of 256 threads.
struct QuantKVParams {
  QuantKParams k;
  QuantVParams v;
  int k_blocks, v_blocks;  ///< blocks of each, V's first; either may be 0
};

/// Arguments of the sage2_quant_kv_resident kernels: K and V by one block for each multiprocessor, in at most
/// kReadyBytes parts of each (batch, head), V's first.
struct QuantKVResidentParams {
  QuantKParams k;
  QuantVParams v;
  int heads;             ///< batches (or sequences) times heads
  int v_parts, parts;    ///< of each head: V's, which come first, and all
  int early;             ///< parts that all blocks do together; the others are left to the first `late_blocks`
  int late_blocks;
  unsigned char* ready;  ///< kReadyBytes for each head, all 1 when it is prepared
  int* counter;          ///< set to 0 for the attention kernel
};

/// Shared memory that a part of K takes for a head dim of 64 or 128, bytes.
constexpr int kQuantKScratch = 8768;
/// And what each team of a resident block takes.
constexpr int kResidentShared = 75584;

/// Arguments of sage2_quant_int8: rows to int8 in the caller's own shape (no padding).
struct QuantInt8Params {
  Rows x;
  signed char* x8;   ///< same shape as x, rows at the strides below
  i64 x8_batch, x8_head, x8_token;
  float* scale;      ///< [B, H, ceil(S / block)], or [.., 4] for residue groups
  const float* mean; ///< [B, H, head_dim] to subtract, or null
  int B, H, S, head_dim;
  int block;         ///< tokens to a scale
  int groups;        ///< 1 or 4
};

/// Arguments of sage2_pack: 16-bit rows copied to aligned rows, padded with zeros to a multiple of 8 columns; with smooth
/// less their mean, as fp16.
struct PackParams {
  Rows x;
  OutRows out;
  float* mean;    ///< [B, H, D], written and subtracted when smooth; D is head_dim rounded up to 64, 128 or 256
  const int* cu;  ///< packed sequences (only with smooth), or null
  int B, H, S;
  int head_dim;   ///< real columns of x
  int columns;    ///< columns of out, a multiple of 8
  int D;
  int smooth;
};

}  // namespace sage
