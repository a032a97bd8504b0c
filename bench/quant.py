"""How near to copy speed K and V are prepared.

    python bench/quant.py [--json FILE] [--rounds 20]

Bytes that must move: read K and V in 16 bits, write them in 8. `of copy` is their rate as a fraction of this GPU's own
copy bandwidth, measured in the same run. `Q too` counts Q's bytes as well (the attention kernel quantizes Q itself, so
its preparation takes no time of its own). `published`: what SageAttention 2.2.0 takes to prepare Q, K and V of that
shape on an H200. Device time, median, L2 filled with other data before each call.
"""
# ruff: noqa: FBT003  (operators take flags by position)

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

PUBLISHED_US: dict[tuple[int, ...], int] = {
    (4, 32, tokens, head_dim): microseconds
    for head_dim, row in {
        64: {1024: 150, 4096: 500, 16384: 1900, 32768: 3850},
        128: {1024: 250, 2048: 440, 4096: 820, 8192: 1600, 16384: 3400, 32768: 6910},
    }.items()
    for tokens, microseconds in row.items()
}
SHAPES = [(4, 32, s, d) for d in (64, 128) for s in (1024, 2048, 4096, 8192, 16384, 32768)]


def device_us(call: Callable[[], object], rounds: int, flush: Any) -> float:
    """Median device time of a call in microseconds, with other (clean) data in L2 before each."""
    for _ in range(3):
        call()
    times: list[float] = []
    for _ in range(rounds):
        flush.sum()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return statistics.median(times)


def copy_bandwidth(rounds: int, flush: Any) -> float:
    """Read plus write of a 1 GiB copy, bytes per microsecond."""
    source = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * int(source.numel()) / device_us(lambda: target.copy_(source), rounds, flush)


def measure(shape: tuple[int, ...], rounds: int, flush: Any, copy: float) -> dict[str, Any]:
    import sageattention  # noqa: F401, PLC0415  registers the ops

    ops = torch.ops.sageattention
    k = torch.randn(shape, device="cuda").half()
    v = torch.randn(shape, device="cuda").half()

    def prepare() -> None:
        ops.quantize_kv(k, v, 0, 128, "per_thread", True, 448.0, False)

    row: dict[str, Any] = {"shape": list(shape)}
    row["k_us"] = device_us(lambda: ops.quantize_k(k, 0, 128, "per_thread", True), rounds, flush)
    row["v_us"] = device_us(lambda: ops.quantize_v(v, 0, 448.0, False), rounds, flush)
    row["kv_us"] = device_us(prepare, rounds, flush)
    n = k.numel()
    row["kv_of_copy"] = 6 * n / row["kv_us"] / copy
    row["qkv_of_copy"] = 9 * n / row["kv_us"] / copy
    row["published_us"] = PUBLISHED_US.get(shape, 0)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results here too")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    flush = torch.zeros(128 << 20, dtype=torch.float32, device="cuda")
    copy = copy_bandwidth(arguments.rounds, flush)
    print(f"{torch.cuda.get_device_name()}: copy {copy / 1e6:.2f} TB/s")
    print(f"{'shape':>20} {'K us':>8} {'V us':>8} {'K+V us':>8} {'of copy':>8} {'Q too':>8} {'published':>9}")
    rows = []
    for shape in SHAPES:
        row = measure(shape, arguments.rounds, flush, copy)
        rows.append(row)
        print(
            f"{'x'.join(map(str, shape)):>20} {row['k_us']:8.1f} {row['v_us']:8.1f} {row['kv_us']:8.1f}"
            f" {row['kv_of_copy']:8.0%} {row['qkv_of_copy']:8.0%} {row['published_us'] or '':>9}"
        )
    if arguments.json:
        result = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "copy_bytes_per_us": round(copy),
            "rows": [{key: x if key == "shape" else round(x, 3) for key, x in row.items()} for row in rows],
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
