// What an instance of the wgmma attention kernel is made of: tile sizes, registers, and the map of shared memory.
// -DHEAD_DIM=64|128 -DPV_F16=0|1 -DVARIANT=0|1|2 (plain, lse, mask) -DQK16=0|1, and with QK16 -DDTYPE_BF16=0|1.
#pragma once

#include <sage/params.h>
#include <sage/shared.cuh>
#include <sage/sm90_async.cuh>
#include <sage/sm90_wgmma.cuh>
#include <sage/sync.h>
#include <sage/types.h>
#include <sage/wgmma/limits.h>

namespace sage {

// With QK16 Q and K are multiplied in the 16 bits they come in: nothing of them is to be prepared, which pays where that
// takes longer than the tensor cores save (few rows to a key), and where they wait for exponentials anyway (head dim 64).
constexpr bool kQK16 = QK16;
constexpr bool kMask = VARIANT == 2, kLse = VARIANT != 0;
// With fp32 sums R is as large as O: at head dim 128 both do not fit beside S, so PV is done in two halves of the channels.
constexpr bool kSplit = !PV_F16 && HEAD_DIM == 128;
// Row sums come from a column of ones appended to V, which the tensor core adds for nothing. They are sums of the
// rounded P: right for normalising, since the same P multiplies V, but too coarse for the lse, which sums in fp32.
constexpr bool kOnes = !kLse && !kSplit;

constexpr int kD = HEAD_DIM;
constexpr int kN = 128;  // keys to a tile, and to a row of k_scale
constexpr int kConsumers = kWgmmaConsumers[HEAD_DIM == 128][PV_F16];
constexpr int kM = 64 * kConsumers;  // query rows to a work tile
constexpr int kThreads = 128 * (kConsumers + 1);
constexpr int kQuantizers = 3;                // warps that quantize Q
constexpr int kVRows = kD + (kOnes ? 8 : 0);  // channels, and eight rows of ones

// P is exp2(logit - m) times 2^kLog2P, where m may lag behind the row's maximum by up to kWgmmaHeadroom: then O and R, which
// are relative to m, need not be scaled. R sums up to kWgmmaHeldTiles tiles of keys before it is added
// to O; limits.h keeps that below 65504 in f16.
constexpr float kLog2P = (PV_F16 ? 7.807354922f : 8.807354922f) - kWgmmaHeadroom;  // log2 of kWgmmaPMax or 448

constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding its bit pattern to an int of 23 bits makes kMagic + int
// A masked logit: minus infinity; of int8 below any product, and minus infinity once kMagic's bit pattern is added.
constexpr int kHidden = kQK16 ? (int)0xff800000u : (int)(0xff800000u - 0x4b400000u);
constexpr float kSmallestScale = 1.2e-38f;  // keeps scales of zero blocks positive: infinity times zero is NaN
constexpr float kFloor = -1e30f;            // the row maximum before any key; finite, so that differences stay defined

// Shared memory, in bytes from a 1024-byte boundary. What has 16 bits lies in swizzled blocks of 64 channels.
constexpr int kOperandBytes = kQK16 ? 2 : 1;
constexpr int kQBytes = kM * kD * kOperandBytes, kKBytes = kN * kD * kOperandBytes, kVBytes = kN * kVRows;
constexpr int kRawBytes = kQK16 ? 0 : kM * kD * 2;
constexpr bool kMeans = kLse && !kQK16;  // the lse needs what a smoothed K lacks
constexpr int kChannelBytes = 4 * kD * (kMeans ? 3 : 2);  // v_scale, v_mean, and k_mean
constexpr int kSlots = 4;  // work tiles announced to the warps of the block
constexpr int kDotBytes = kMeans ? 4 * kM : 0;
constexpr bool kStagedInQ = kQK16 && kD == 128;  // O goes out through the buffer of its Q: there is no room beside it
constexpr int kStagingBytes = kStagedInQ ? 0 : kM * 128;  // O on its way out, 64 channels of it
constexpr int kSmallBytes = 2 * kM / 2 * 4 + kSlots * (kDotBytes + kChannelBytes) + 1024;
constexpr int kStagesFit = (kWgmmaShared - 1024 - 2 * kQBytes - kRawBytes - kStagingBytes - kSmallBytes) / (kKBytes + kVBytes);
constexpr int kStages = kStagesFit < 5 ? kStagesFit : 5;
constexpr int kQ = 0, kK = kQ + 2 * kQBytes, kV = kK + kStages * kKBytes, kRaw = kV + kStages * kVBytes;
constexpr int kStaging = kRaw + kRawBytes;
constexpr int kQScale = kStaging + kStagingBytes;          // [2][BLOCK_M / 2] one per row pair
constexpr int kQDot = kQScale + 2 * kM / 2 * 4;    // [SLOTS][BLOCK_M] q . k_mean
constexpr int kChannels = kQDot + kSlots * kDotBytes;        // [SLOTS][D] of v_scale, v_mean; then k_mean[D]
constexpr int kKScale = kChannels + kSlots * kChannelBytes;  // [STAGES][4]
constexpr int kBarriers = kKScale + kStages * 16;
constexpr int kKFull = kBarriers, kKEmpty = kKFull + 8 * kStages, kVFull = kKEmpty + 8 * kStages;
constexpr int kVEmpty = kVFull + 8 * kStages, kQFull = kVEmpty + 8 * kStages, kQEmpty = kQFull + 16;
constexpr int kRawFull = kQEmpty + 16, kRawEmpty = kRawFull + 8;
constexpr int kTileFull = kRawEmpty + 8, kTileEmpty = kTileFull + 8 * kSlots, kTile = kTileEmpty + 8 * kSlots;
constexpr int kChannelsFull = kTile + 32 * kSlots;  // with QK16; else kQFull tells of the channels too
constexpr int kSharedBytes = kChannelsFull + 8 * kSlots;
static_assert(!kQK16 || (PV_F16 && !kMask), "16-bit Q and K go with sums in f16, and have no masks");
static_assert(kTile % 16 == 0, "tiles are read 16 bytes at a time");
static_assert(kStages >= 2 && kSharedBytes + 1024 <= kWgmmaShared, "shared memory");

// Registers of a thread: 65536 / kThreads at launch, moved from the producer to the consumers in eights:
// 3 * 168 = 56 + 2 * 224, 4 * 128 = 56 + 3 * 152.
constexpr int kProducerRegisters = 56;
constexpr int kLaunchRegisters = 65536 / kThreads / 8 * 8 * (kConsumers + 1);
constexpr int kConsumerRegisters = (kLaunchRegisters - kProducerRegisters) / kConsumers / 8 * 8;

SAGE_DEVICE bool is_bf16(const AttnWgmmaParams& w) {
#if QK16
  return DTYPE_BF16;
#else
  return w.bf16;
#endif
}

SAGE_DEVICE float2 unpack_16(u32 pair, bool bf16) { return bf16 ? Bfloat::unpack(pair) : Half::unpack(pair); }

}  // namespace sage
