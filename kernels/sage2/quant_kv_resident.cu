// K to int8 and V to e4m3 for an attention kernel that runs beside this one: sage2_quant_kv_resident_{f16,bf16}_d{64,128}.
// WITH_K 0: V alone, sage2_quant_v_resident_*.
//
// Preparing is bound by memory, attention by the tensor cores. One block on each multiprocessor works on the first heads
// until they are prepared. Then most blocks end, and attention takes their place; the few first ones prepare the other
// heads and end later; should attention catch up, it waits. The launch lets the attention kernel start once every block of
// this one runs, so nobody waits for a block that has no place.
#include <sage/quant_resident.cuh>
#include <sage/ready.cuh>

using namespace sage;

namespace {

constexpr int kTeams = 3;  // kResidentTeams: as many as have registers and shared memory

// The parts of one team: early ones in steps of all teams, then late ones in steps of the late blocks' teams. A block's
// teams stand at different places, so that it has K and V at once.
struct Order {
  int early, late, all;

  SAGE_DEVICE Order(const QuantKVResidentParams& p, int team) {
    const int block = blockIdx.x, blocks = gridDim.x, turned = block + 5 * team;
    all = p.heads * p.parts;
    early = team * blocks + turned % blocks;
    late = block < p.late_blocks ? p.early + team * p.late_blocks + turned % p.late_blocks : all;
    if (early >= p.early) early = late;
  }
  SAGE_DEVICE int after(const QuantKVResidentParams& p, int part) const {
    if (part >= p.early) return part < all ? part + kTeams * p.late_blocks : all;
    const int next = part + kTeams * int(gridDim.x);
    return next < p.early ? next : late;
  }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(kTeams * kTeam, 1) ENTRY(const __grid_constant__ QuantKVResidentParams p) {
  extern __shared__ uint4 scratch[];
  __shared__ resident::Part teams_parts[kTeams][4];
  const Team team{__shfl_sync(~0u, int(threadIdx.x) / kTeam, 0)};
  resident::Part* parts = teams_parts[team.index];
  if (team.thread() == 0) {
    const Order order(p, team.index);
    for (int part = order.early; part < order.all; part = order.after(p, part))
      set_flag(p.ready, part / p.parts, part % p.parts, p.parts, 0);
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) *p.counter = 0;
  // One thread finds out about a part, three parts before its turn.
  const auto look_up = [&](int n) {
    if (team.thread() != 0) return;
    const Order order(p, team.index);
    parts[n % 4] = resident::part_of(p, n == 0 ? order.early : order.after(p, parts[(n - 1) % 4].index));
  };
#pragma unroll 1
  for (int n = 0; n < 3; ++n) look_up(n);
  fence_gpu();
  __syncthreads();
  allow_dependents();

  resident::Worker worker{p, reinterpret_cast<resident::Shared*>(scratch)[team.index], parts, team};
#pragma unroll 1
  for (int slot = 0; slot < 2; ++slot) worker.refill(slot);
  // A part is flagged during the next one, when the fence has nothing to wait for any more.
  const auto flag = [&](int n) {
    if (team.thread() != 0 || n < 0) return;
    fence_gpu();
    set_flag(p.ready, parts[n % 4].head, parts[n % 4].place, p.parts, 1);
  };
  int slot = 0, n = 0;
#pragma unroll 1
  for (; parts[n % 4].head >= 0; ++n) {
    slot = worker.run(parts[n % 4], slot, [&] {
      flag(n - 1);
      look_up(n + 3);
    });
    team.sync();  // all is written
  }
  flag(n - 1);
  cp_async_wait<0>();
}
