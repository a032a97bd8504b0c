// Arguments of the sage3 kernels: plain C, shared by the device code and the host launcher.
//
// Shapes. B batches, Hq query heads, Hkv key/value heads, Sq and Sk tokens, DH the caller's head dim, D the instance's
// head dim (64 or 128; channels DH..D-1 are zero), TQ = ceil(Sq / 128), TK = ceil(Sk / 128).
//
// Prepared operands, one record for each tile of 128 tokens (NVFP4: E2M1 values, one E4M3 scale for 16):
//   q4  u8 [B, Hq,  TQ, 72 D + 16]   64 D bytes of values, 8 D of scales, then the tile's fp32 scale and 12 zero bytes
//   k4  u8 [B, Hkv, TK, 72 D + 16]   the same
//   v4  u8 [B, Hkv, TK, 72 D]        values and scales; blocks of 16 run along the tokens
// Inside a record everything stands in the order in which the mma fragments want it (sage/sage3_layout.cuh).
#pragma once

#include "params.h"

namespace sage {

// Q or K: subtract a mean, scale each tile by a power of two, quantize rows in blocks of 16 channels.
struct Sage3RowsParams {
  Rows x;                   // 16-bit [B, H, S, DH]
  const float* mean;        // [B, H, mean_tiles, D]; null: the mean of the tile is computed and subtracted
  float* mean_out;          // [B, H, tiles, D], where mean is null
  const float* k_mean;      // [B, Hkv, D] or null
  float* k_mean_dot;        // [B, H, S]: x . k_mean of the row's kv head, or null
  unsigned char* out;       // records
  int length;               // S
  int head_dim;             // DH
  int heads;                // H
  int heads_per_kv;         // Hq / Hkv (1 for K)
  int tiles;                // ceil(S / 128)
  int aligned;              // 1: base, strides and DH allow 16-byte loads
};

// V: scale each channel by a power of two, transpose, quantize channels in blocks of 16 tokens.
struct Sage3ChannelsParams {
  Rows x;                   // 16-bit [B, H, S, DH]
  const float* amax;        // [B, H, DH]: max |V| over the tokens
  float* scale_out;         // [B, H, D]: the channel's power of two
  unsigned char* out;       // records
  int length;
  int head_dim;
  int heads;
  int tiles;
  int aligned;
};

// delta[r, key] = (q_mean[r] . K[key] - q_mean[r] . k_mean) * scale_log2, for a run of (batch, head) pairs.
struct Sage3DeltaParams {
  Rows k;                   // 16-bit [B, Hkv, Sk, DH]
  const float* q_mean;      // [B, Hq, rows, D]
  const float* k_mean;      // [B, Hkv, D]
  float* delta;             // [pairs, rows, TK * 128]
  float scale_log2;         // sm_scale * log2(e)
  int length;               // Sk
  int head_dim;
  int heads_q;
  int heads_per_kv;
  int rows;                 // TQ, or 1 when one mean serves the whole sequence
  int k_tiles;              // TK
  int first_pair;           // b * Hq + h of the first pair
  int causal;               // blocks that no query tile can see may stay unwritten (only where rows == TQ)
};

struct Sage3AttentionParams {
  const unsigned char* q4;
  const unsigned char* k4;
  const unsigned char* v4;
  const float* v_scale;     // [B, Hkv, D]
  const float* delta;       // [pairs, delta_rows, TK * 128]
  const float* k_mean_dot;  // [B, Hq, Sq]: q . k_mean, for the lse
  OutRows out;              // 16-bit [B, Hq, Sq, DH]
  float* lse;               // [B, Hq, Sq] or null
  float scale_log2;         // sm_scale * log2(e)
  int q_length;
  int k_length;
  int head_dim;
  int heads_q;
  int heads_per_kv;
  int q_tiles;
  int k_tiles;
  int delta_rows;           // TQ or 1
  int first_pair;           // delta begins at this pair, and so does the grid
  int causal;
  int out_bf16;
};

}  // namespace sage
