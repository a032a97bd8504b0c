#pragma once
#include <utility>

#include <algorithm>
#include <deque>

#include "sm90_async.cuh"
namespace sage {
/// Like the hardware's: start address in 16 bytes, and the swizzle.
template <int ROW_BYTES>
inline u64 wgmma_descriptor(u32 address) { return (address & 0x3FFFF) >> 4 | (ROW_BYTES == 128 ? 1ull : 2ull) << 62; }
template <int ROW_BYTES>
inline u32 swizzled(u32 offset) { return swizzled_address(offset, ROW_BYTES); }

/// Each thread's products that were issued, by groups. They are computed when they are waited for: operands that were
/// overwritten before, or a result that is read before, show.
struct Issued {
  std::vector<std::function<void()>> open;
  std::deque<std::vector<std::function<void()>>> groups;
};
Issued issued[emulator::kMost];
const bool kForgets = (emulator::at_start.push_back([] { std::fill_n(issued, emulator::kMost, Issued{}); }), true);
inline void wgmma_fence() {}
inline void wgmma_commit() {
  Issued& mine = issued[threadIdx.x];
  mine.groups.push_back(std::exchange(mine.open, {}));
}
template <int PENDING>
inline void wgmma_wait() {
  for (auto& groups = issued[threadIdx.x].groups; groups.size() > PENDING; groups.pop_front())
    for (const auto& product : groups.front()) product();
}
template <class T, int COUNT> void pin_registers(T (&)[COUNT]) {}
template <int COUNT, int ALL> void hold_behind(u32 (&)[ALL], u32) {}

/// Byte k of row `row` of a K-major operand.
inline u8 operand(u64 descriptor, int row, int k) {
  const int row_bytes = descriptor >> 62 == 1 ? 128 : 64;
  return shared[swizzled_address(((descriptor & 0x3FFF) << 4) + row * row_bytes + k, row_bytes)];
}
inline int warp_row(int i) { return threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4 + i / 2 % 2 * 8; }
inline int column_of(int i) { return i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2; }

inline void wgmma_m64n128k32_s32_s8_s8_ss(u32 (&d)[64], u64 a, u64 b, bool accumulate) {
  issued[threadIdx.x].open.push_back([=, &d] {
    for (int i = 0; i < 64; i++) {
      int sum = accumulate ? static_cast<int>(d[i]) : 0;
      for (int k = 0; k < 32; k++)
        sum += static_cast<signed char>(operand(a, warp_row(i), k)) * static_cast<signed char>(operand(b, column_of(i), k));
      d[i] = static_cast<u32>(sum);
    }
  });
}

/// The same for 16 elements of 16 bits.
template <class Type>
inline void issue_qk16(u32 (&d)[64], u64 a, u64 b, bool accumulate) {
  issued[threadIdx.x].open.push_back([=, &d] {
    const auto value = [](u64 descriptor, int row, int k) {
      return Type::unpack(operand(descriptor, row, 2 * k) | operand(descriptor, row, 2 * k + 1) << 8).x;
    };
    for (int i = 0; i < 64; i++) {
      double sum = accumulate ? __uint_as_float(d[i]) : 0.0;
      for (int k = 0; k < 16; k++) sum += double(value(a, warp_row(i), k)) * value(b, column_of(i), k);
      d[i] = __float_as_uint(static_cast<float>(sum));
    }
  });
}
inline void wgmma_m64n128k16_f32_f16_f16_ss(u32 (&d)[64], u64 a, u64 b, bool accumulate) { issue_qk16<Half>(d, a, b, accumulate); }
inline void wgmma_m64n128k16_f32_bf16_bf16_ss(u32 (&d)[64], u64 a, u64 b, bool accumulate) {
  issue_qk16<Bfloat>(d, a, b, accumulate);
}

/// Sums of this thread's elements, and what `keep` makes of each.
template <int COUNT, class Keep>
inline void product_rs(const u32* a, u64 b, Keep keep) {
  static float values[256];
  if (values[1] == 0.0f)
    for (int i = 0; i < 256; i++) values[i] = e4m3_value(i);
  auto lanes = emulator::exchange(a, 4);
  float rows[2][32];
  const int first = threadIdx.x % 32 / 4 * 4;
  for (int r = 0; r < 2; r++)
    for (int k = 0; k < 32; k++) rows[r][k] = values[lanes[first + k % 16 / 4][2 * (k / 16) + r] >> k % 4 * 8 & 255];
  for (int i = 0; i < COUNT; i++) {
    double sum = 0;
    for (int k = 0; k < 32; k++) sum += rows[i / 2 % 2][k] * values[operand(b, column_of(i), k)];
    keep(i, sum);
  }
}
template <int COUNT>
inline void issue_rs(float (&d)[COUNT], const u32* a, u64 b, bool accumulate) {
  issued[threadIdx.x].open.push_back([=, &d] {
    product_rs<COUNT>(a, b, [&](int i, double sum) { d[i] = static_cast<float>(accumulate ? d[i] + sum : sum); });
  });
}
template <int COUNT>
inline void issue_rs(u32 (&d)[COUNT], const u32* a, u64 b, bool accumulate) {
  issued[threadIdx.x].open.push_back([=, &d] {
    product_rs<2 * COUNT>(a, b, [&](int i, double sum) {
      float2 pair = Half::unpack(d[i / 2]);
      float& mine = i % 2 ? pair.y : pair.x;
      mine = static_cast<float>(accumulate ? mine + sum : sum);
      d[i / 2] = Half::pack(pair.x, pair.y);
    });
  });
}
#define SAGE_RS(name, registers) \
  template <class T> void name(T (&d)[registers], const u32* a, u64 b, bool accumulate) { issue_rs(d, a, b, accumulate); }
SAGE_RS(wgmma_m64n64k32_f32_e4m3_e4m3_rs, 32)
SAGE_RS(wgmma_m64n72k32_f32_e4m3_e4m3_rs, 36)
SAGE_RS(wgmma_m64n64k32_f16_e4m3_e4m3_rs, 16)
SAGE_RS(wgmma_m64n72k32_f16_e4m3_e4m3_rs, 18)
SAGE_RS(wgmma_m64n128k32_f16_e4m3_e4m3_rs, 32)
SAGE_RS(wgmma_m64n136k32_f16_e4m3_e4m3_rs, 34)
#undef SAGE_RS
}  // namespace sage
