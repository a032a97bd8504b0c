// K to int8 and V to e4m3 by teams that stay: while one chunk of a part is quantized the next ones, of the parts to come as
// well, are on their way to shared memory. The definitions are those of quant_k.cuh and quant_v.cuh. Rows are aligned to 16
// bytes, and V is not centred.
//
// A team has two slots of 32 KiB. A chunk is one slot full: 128 or 256 tokens of K, the sample of K's mean, or 512 tokens of
// 32 channels of V; V's chunks come a second time, from the last to the first, of which the last two are still there. A
// thread copies to a slot what it reads itself, so that the slots need no barriers.
#pragma once

#include <sage/quant_k.cuh>
#include <sage/quant_v.cuh>

namespace sage::resident {

constexpr int D = HEAD_DIM;
constexpr bool kWithK = WITH_K;  // else V alone, in half the code
constexpr int PIECES = 8;                       // of 16 bytes, of a thread in a slot
constexpr int TILES = PIECES / quant_k::PASSES;  // of K in a chunk
constexpr int TOKENS = 512;                     // of V in a chunk
static_assert(quant_k::SAMPLES <= PIECES && TILES >= 1, "a chunk fits into a slot");

/// The shared memory of a team.
struct Shared {
  uint4 slot[2][PIECES][kTeam];
  quant_k::Scratch k;
  quant_v::Scratch v;
};
static_assert(sizeof(Shared) <= kResidentShared, "the launcher reserves too little");

/// Some tiles of K or 32 channels of V of one head.
struct Part {
  const u16* tokens;  // the head's first one
  i64 row;            // its place among the prepared rows of K, or of the first channel of V
  i64 scale;          // K: its block's place among the scales
  int index;          // among all parts
  int head, place;    // -1: there is no part; below v_parts it is V's
  int length;         // tokens of the sequence
  int first, tiles;   // K: tiles
  int sampled;        // K: whether the first chunk is the sample
  int chunks;         // of this part, and how many copies bring them; at least one, which may bring nothing
  int copies;
};

SAGE_DEVICE Part part_of(const QuantKVResidentParams& p, int index) {
  Part part{};
  part.index = index, part.head = index / p.parts, part.place = index % p.parts, part.chunks = part.copies = 1;
  if (part.head >= p.heads) {
    part.head = -1;
    return part;
  }
  const int b = part.head / p.v.H, h = part.head % p.v.H;
  const bool is_v = !kWithK || part.place < p.v_parts;
  const Rows& rows = is_v ? p.v.v : p.k.k;
  const Sequence sequence = sequence_of(p.v.cu, b, p.v.S);
  const i64 first = (p.v.cu ? 0 : b * rows.batch) + h * rows.head + sequence.first * rows.token;
  part.tokens = static_cast<const u16*>(rows.data) + first;
  part.length = sequence.length;
  if (is_v) {
    const int channel = part.place * quant_v::COLUMNS;
    part.row = (i64(p.v.cu ? h : part.head) * D + channel) * p.v.rows + sequence.row;
    part.chunks = max(1, (sequence.length + TOKENS - 1) / TOKENS);
    part.copies = part.chunks + max(0, part.chunks - 2);
  } else {
    part.row = i64(p.v.cu ? h : part.head) * p.k.rows + sequence.row;
    part.scale = (part.row >> (p.k.block == 64 ? 6 : 7)) * 4;
    part.first = (part.place - p.v_parts) * p.k.tiles_per_cta;
    part.tiles = max(0, min((sequence.length + 127) / 128 - part.first, p.k.tiles_per_cta));
    part.sampled = p.k.smooth && part.tiles > 0;
    part.chunks = part.copies = max(1, part.sampled + (part.tiles + TILES - 1) / TILES);
  }
  return part;
}

/// A thread in the work of its team.
struct Worker {
  const QuantKVResidentParams& p;
  Shared& shared;
  const Part* parts;  // four; part n is parts[n % 4]
  Team team;
  int number = 0, copy = 0;  // the next copy

  // V: this thread's tokens of a chunk are token0() + after(i), two words of four bytes in each of eight channels.
  SAGE_DEVICE int token0() const { return team.thread() / 8 * 16 + team.thread() / 4 % 2 * 4; }
  SAGE_DEVICE static constexpr int after(int i) { return i % 4 + i / 4 * 8; }
  SAGE_DEVICE int channel() const { return team.thread() % 4 * 8; }

  // K: see there; made anew where it is needed, for the registers' sake.
  SAGE_DEVICE quant_k::Share share() const { return quant_k::Share(team); }

  SAGE_DEVICE uint4* piece(int slot) { return &shared.slot[slot][0][team.thread()]; }

  /// Copies the next chunk of all into a slot.
  SAGE_DEVICE void refill(int slot) {
    const Part part = parts[number % 4];
    if (part.head >= 0) {
      if (!kWithK || part.place < p.v_parts) copy_v(part, copy < part.chunks ? copy : 2 * part.chunks - 3 - copy, piece(slot));
      else if (part.sampled && copy == 0) copy_sample(part.tokens, part.length, piece(slot));
      else copy_k(part, copy - part.sampled, piece(slot));
    }
    cp_async_commit();
    if (++copy == part.copies) number++, copy = 0;
  }
  SAGE_DEVICE void copy_v(const Part part, int chunk, uint4* to) {
    const int column = part.place * quant_v::COLUMNS + channel(), token = chunk * TOKENS + token0();
    const u16* from = part.tokens + token * p.v.v.token;
    if (column < p.v.head_dim && token + after(PIECES - 1) < part.length) {
#pragma unroll
      for (int i = 0; i < PIECES; ++i)
        cp_async_16(shared_address(to + i * kTeam), from + after(i) * p.v.v.token + column, true);
    } else {
#pragma unroll 1
      for (int i = 0; i < PIECES; ++i) {
        const bool there = column < p.v.head_dim && token + after(i) < part.length;
        const u16* at = from + after(i) * p.v.v.token + column;
        cp_async_16(shared_address(to + i * kTeam), there ? at : part.tokens, there);
      }
    }
  }
  SAGE_DEVICE void copy_sample(const u16* tokens, int length, uint4* to) {
    const quant_k::Share mine = share();
    const auto sample = [&](int k) {
      return tokens + sample_token(mine.slot() + quant_k::SLOTS * k, length) * p.k.k.token + mine.column;
    };
    if (mine.column < p.k.head_dim && length >= kSample) {
#pragma unroll
      for (int k = 0; k < quant_k::SAMPLES; ++k) cp_async_16(shared_address(to + k * kTeam), sample(k), true);
    } else {
#pragma unroll 1
      for (int k = 0; k < quant_k::SAMPLES; ++k) {
        const bool there = mine.column < p.k.head_dim && mine.slot() + quant_k::SLOTS * k < sample_count(length);
        cp_async_16(shared_address(to + k * kTeam), there ? sample(k) : tokens, there);
      }
    }
  }
  SAGE_DEVICE void copy_k(const Part part, int chunk, uint4* to) {
    const quant_k::Share mine = share();
#pragma unroll
    for (int tile = chunk * TILES; tile < (chunk + 1) * TILES; ++tile, to += quant_k::PASSES * kTeam) {
      if (tile >= part.tiles) break;
      const int token = (part.first + tile) * 128 + mine.token0;
      const u16* from = part.tokens + token * p.k.k.token + mine.column;
      if (mine.column < p.k.head_dim && token + mine.after(quant_k::PASSES - 1) < part.length) {
#pragma unroll
        for (int pass = 0; pass < quant_k::PASSES; ++pass)
          cp_async_16(shared_address(to + pass * kTeam), from + mine.after(pass) * p.k.k.token, true);
      } else {
#pragma unroll 1
        for (int pass = 0; pass < quant_k::PASSES; ++pass) {
          const bool there = mine.column < p.k.head_dim && token + mine.after(pass) < part.length;
          cp_async_16(shared_address(to + pass * kTeam), there ? from + mine.after(pass) * p.k.k.token : part.tokens, there);
        }
      }
    }
  }

  /// Prepares a part whose first chunk is in slot `at`, and calls `meanwhile`; returns the slot of the next part's.
  template <class Call>
  SAGE_DEVICE int run(const Part part, int at, const Call& meanwhile) {
    const bool is_v = !kWithK || part.place < p.v_parts;
    float kept[8] = {};  // K: the mean. V: the largest magnitudes
    if (!is_v && !part.sampled) store_mean(part, kept);
    const int steps = is_v ? 2 * part.chunks : part.chunks;
#pragma unroll 1
    for (int step = 0; step < steps; ++step, at ^= 1) {
      const bool stores = step >= part.chunks;
      const int chunk = stores ? steps - 1 - step : step;
      if (step == part.chunks) {
        find_scales(part, kept);
        at ^= 1;  // the last chunk is still there
      }
      if (is_v && step > 0 && step == part.chunks - 1) cp_async_wait<0>();  // no copy is behind it
      else cp_async_wait<1>();
      uint4 held[PIECES];
#pragma unroll
      for (int i = 0; i < PIECES; ++i) held[i] = piece(at)[i * kTeam];
      if (!is_v || stores || chunk < part.chunks - 2) refill(at);
      if (!is_v) {
        if (step >= part.sampled) quantize_k(part, (step - part.sampled) * TILES, held, kept);
        else make_mean(part, held, kept);
      } else if (!stores) {
        quant_v::magnitudes<false, PIECES>(held, 1, nullptr, [](int) { return true; }, kept);
      } else {
        quantize_v(part, chunk * TOKENS + token0(), held);
      }
      if (step == 0) meanwhile();
    }
    return at;
  }

  SAGE_DEVICE void store_mean(const Part& part, const float (&mean)[8]) {
    const quant_k::Share mine = share();
    if (part.place != p.v_parts || mine.warp != 0 || mine.sub != 0) return;
    float* to = p.k.mean + i64(part.head) * D + mine.column;
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = mean[i];
  }
  SAGE_DEVICE void make_mean(const Part& part, const uint4 (&sample)[PIECES], float (&mean)[8]) {
    float sum[8];
    quant_k::sum_samples<quant_k::SAMPLES>([&](int k) { return sample[k]; }, 0, sum);
    quant_k::finish_mean(share(), sum, part.length, shared.k, team, mean);
    store_mean(part, mean);
  }
  SAGE_DEVICE void quantize_k(const Part& part, int first, const uint4 (&held)[PIECES], const float (&mean)[8]) {
#pragma unroll
    for (int i = 0; i < TILES; ++i) {
      if (first + i >= part.tiles) break;
      uint4 tile[quant_k::PASSES];
#pragma unroll
      for (int pass = 0; pass < quant_k::PASSES; ++pass) tile[pass] = held[i * quant_k::PASSES + pass];
      quant_k::quantize_tile(p.k, share(), tile, part.first + first + i, part.length, mean, p.k.k8 + part.row * D,
                             p.k.scale + part.scale, shared.k, team);
    }
  }

  SAGE_DEVICE void find_scales(const Part& part, float (&amax)[8]) {
    quant_v::show_warp(shared.v, team.warp(), team.lane(), amax);
    team.sync();
    if (team.thread() < quant_v::COLUMNS) {
      const int at = team.thread();
      const i64 first = i64(keep_index(part.head)) * D + part.place * quant_v::COLUMNS;
      quant_v::conclude(p.v, first, shared.v, at, quant_v::max_of_warps(shared.v, kTeam / 32, at), 0.0f, true);
    }
    team.sync();
  }
  /// Eight tokens of eight channels from `token` on.
  SAGE_DEVICE void quantize_v(const Part& part, int token, const uint4 (&held)[PIECES]) {
    const int group = token / 16 * 16;
    if (group >= (part.length + 127) / 128 * 128) return;
    unsigned char* out = p.v.v8 + part.row + channel() * p.v.rows + group + (token - group) * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // four channels at a time, for the registers' sake
      float inverse[4];
      u32 word[4][2];
#pragma unroll
      for (int j = 0; j < 4; ++j) inverse[j] = shared.v.inverse[channel() + 4 * half + j];
#pragma unroll
      for (int w = 0; w < 2; ++w) {
        const int tokens[4] = {2 * w, 2 * w + 1, 2 * w + 4, 2 * w + 5};
        float y[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const uint4& x = held[tokens[i]];
          const float2 low = Input::unpack(half ? x.z : x.x), high = Input::unpack(half ? x.w : x.y);
          y[i][0] = low.x, y[i][1] = low.y, y[i][2] = high.x, y[i][3] = high.y;
#pragma unroll
          for (int j = 0; j < 4; ++j) y[i][j] *= inverse[j];
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) word[j][w] = pack_e4m3(y[0][j], y[1][j], y[2][j], y[3][j]);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j)
        *reinterpret_cast<uint2*>(out + (4 * half + j) * p.v.rows) = make_uint2(word[j][0], word[j][1]);
    }
  }
};

}  // namespace sage::resident
