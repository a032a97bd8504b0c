// Where each value and each scale of a 128-token record stands: the order of the m16n8k64 fragments.
//
// Fragments (PTX ISA, "Matrix fragments for mma.m16n8k64", 4-bit types): with g = lane / 4 and t = lane % 4
//   A  word 0: row g,     k 8t..8t+7      word 1: row g + 8, the same k
//      word 2: row g,     k 32+8t..       word 3: row g + 8, the same k
//   B  word 0: column g,  k 8t..8t+7      word 1: column g, k 32+8t..
// One word is eight E2M1 values, the first in the lowest nibble; `chunk` below is k / 8.
#pragma once

#include "types.h"

namespace sage {

constexpr int kTile = 128;         // tokens of one record
constexpr int kConsumerWarps = 8;  // each owns 16 query rows

template <int D>
struct Record {
  static_assert(D == 64 || D == 128, "head dims are padded to 64 or 128");
  static constexpr int kValueBytes = kTile * D / 2;
  static constexpr int kScaleBytes = kTile * D / 16;
  static constexpr int kBytes = kValueBytes + kScaleBytes;        // V
  static constexpr int kScaledBytes = kValueBytes + kScaleBytes + 16;  // Q and K: the tile's fp32 scale follows
};

// The K row that token p (0..31 of its group of 32) takes.
//
// S leaves the first mma with lane t holding columns 8i + 2t + e of a group of four n8 tiles (i = 0..3, e = 0, 1). The
// second mma wants lane t to hold eight neighbouring tokens. So token 8t + 2i + e is stored as row 8i + 2t + e: then a
// lane's eight S values are tokens 8t..8t+7 in order, and P needs no shuffle.
SAGE_DEVICE constexpr int permuted_row(int p) {
  return ((p % 8) / 2) * 8 + (p / 8) * 2 + p % 2;
}

// Query operand: 8 warps x 16 rows, KSTEPS = D / 64.
template <int KSTEPS>
struct OperandA {
  __device__ static constexpr int value_word(int row, int chunk) {
    int lane = (row % 8) * 4 + chunk % 4;
    int reg = (row % 16) / 8 + 2 * ((chunk % 8) / 4);
    return (((row / 16) * KSTEPS + chunk / 8) * 32 + lane) * 4 + reg;
  }
  // One word for each (row, k step): four E4M3 bytes, byte b for k 16b..16b+15.
  __device__ static constexpr int scale_byte(int row, int block) {
    return (((row / 16) * KSTEPS + block / 4) * 16 + row % 16) * 4 + block % 4;
  }
};

// Key or value operand: COLUMNS of B (keys, or channels of V), KSTEPS steps of 64 along the contraction.
// Words are grouped so that one 16-byte load gives a lane the next two steps, or with KSTEPS == 1 two columns tiles.
template <int KSTEPS>
struct OperandB {
  __device__ static constexpr int value_word(int column, int chunk) {
    int flat = ((column / 8) * KSTEPS + chunk / 8) * 2 + (chunk % 8) / 4;  // words of one lane, in use order
    int lane = (column % 8) * 4 + chunk % 4;
    return ((flat / 4) * 32 + lane) * 4 + flat % 4;
  }
  // 16 bytes hold the scales of four consecutive (n8 tile, k step) pairs for one column of the tile.
  __device__ static constexpr int scale_byte(int column, int block) {
    int flat = (column / 8) * KSTEPS + block / 4;
    return (((flat / 4) * 8 + column % 8) * 4 + flat % 4) * 4 + block % 4;
  }
};

}  // namespace sage
