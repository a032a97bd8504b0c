"""Attention speed end to end, preparation of K and V included, beside cuDNN and FlashAttention, with accuracy.

    python bench/attention.py [--json FILE] [--csv FILE] [--seconds 90] [--grid] [--models]
                              [--with NAME=MODULE:FUNCTION] [--dtype float16]
    python bench/attention.py --plot FILE.png --json FILE          draw a finished run (needs matplotlib)

bench/README.md says how to read it. Device time, median over rounds of random order, other (clean) data in L2 before
each call. TFLOPS = 4 B H Sq Sk D / time, halved when causal. `alone` is the attention kernel by itself, from the
profiler.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Call = Callable[[], object]
Row = dict[str, Any]


SHORT = 4096
"""Up to this length a call is so short that a round costs little: five times as many make its median steady."""


@dataclass(frozen=True)
class Shape:
    """One measured call: heads of q and of k, lengths of both, head dim."""

    name: str
    batch: int
    heads: int
    kv_heads: int
    length: int
    dim: int
    causal: bool

    def tflop(self) -> float:
        full = 4e-12 * self.batch * self.heads * self.length * self.length * self.dim
        return full / 2 if self.causal else full


LENGTHS = (1024, 2048, 4096, 8192, 16384, 32768)
# What an H200 is meant to reach end to end, by head dim and mask, for LENGTHS: about 90 % of a synthetic loop of the
# same instructions that has nothing to load, mask or store.
TARGETS = {
    (128, False): (560, 720, 850, 930, 980, 1000),
    (128, True): (380, 560, 720, 830, 900, 930),
    (64, False): (400, 520, 590, 630, 650, 660),
    (64, True): (290, 420, 520, 580, 620, 640),
}
# TFLOPS by head dim of that loop, with fp16 sums of P V, in a burst.
LIMITS = {64: 716, 128: 1163}
GRID = [
    Shape(f"D{dim} {'causal' if causal else 'full'} {length}", 4, 32, 32, length, dim, causal)
    for dim, causal in TARGETS
    for length in LENGTHS
]
MODELS = [
    Shape("Flux", 1, 24, 24, 4608, 128, causal=False),
    Shape("SD3.5", 2, 38, 38, 4429, 64, causal=False),
    Shape("CogVideoX", 2, 30, 30, 17776, 64, causal=False),
    Shape("Wan2.1", 1, 40, 40, 32760, 128, causal=False),
    Shape("Llama prefill", 1, 32, 8, 8192, 128, causal=True),
    Shape("Hunyuan", 1, 24, 24, 118806, 128, causal=False),
]


def contenders(
    tensors: tuple[Any, Any, Any], *, causal: bool, extra: dict[str, Callable[..., object]]
) -> dict[str, Call]:
    """Everything that is compared, by name: ours with each accumulator, torch's, and what the user named."""
    import torch  # noqa: PLC0415 - drawing a plot needs no torch
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415

    import sageattention  # noqa: PLC0415

    q, k, v = tensors

    def torch_with(backend: SDPBackend) -> object:
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1]
            )

    calls: dict[str, Call] = {"sageattn": partial(sageattention.sageattn, q, k, v, is_causal=causal)}
    if torch.cuda.get_device_capability() == (9, 0):
        sm90 = sageattention.sageattn_qk_int8_pv_fp8_cuda_sm90
        for accumulator in ("fp32+fp32", "fp32+fp16"):
            calls[accumulator] = partial(sm90, q, k, v, is_causal=causal, pv_accum_dtype=accumulator)
    calls["cudnn"] = partial(torch_with, SDPBackend.CUDNN_ATTENTION)
    calls["flash"] = partial(torch_with, SDPBackend.FLASH_ATTENTION)
    return calls | {name: partial(call, q, k, v, is_causal=causal) for name, call in extra.items()}


def relative_error(shape: Shape, tensors: tuple[Any, Any, Any], out: Any) -> float:
    """Relative L1 error of 256 rows of the last head against float64."""
    import torch  # noqa: PLC0415

    q, k, v = (x[-1, -1].double() for x in tensors)
    rows = torch.linspace(0, shape.length - 1, 256, device=q.device).long()
    logits = q[rows] @ k.T / shape.dim**0.5
    if shape.causal:
        logits = logits.masked_fill(torch.arange(shape.length, device=q.device)[None] > rows[:, None], float("-inf"))
    expected = torch.softmax(logits, -1) @ v
    return float((out[-1, -1, rows].double() - expected).abs().sum() / expected.abs().sum())


def device_ms(call: Call, flush: Any) -> float:
    """Device time of one call, its launches queued before it starts so that the host's time does not count."""
    import torch  # noqa: PLC0415

    flush.sum()
    torch.cuda._sleep(600_000)  # noqa: SLF001 - torch has no other device-side delay
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def kernel_ms(call: Call, flush: Any) -> float | None:
    """Device time of the attention kernel alone, median of three; None where the profiler sees no kernels."""
    import torch  # noqa: PLC0415

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(3):
            flush.sum()
            call()
        torch.cuda.synchronize()
    names = ("sage2_wgmma", "sage2_mma")
    times = [float(e.time_range.elapsed_us()) for e in profile.events() or () if any(n in e.name for n in names)]
    return statistics.median(times) / 1e3 if times else None


def measure(shape: Shape, dtype: str, rounds: int, flush: Any, extra: dict[str, Callable[..., object]]) -> Row:
    """One row of the table: milliseconds, TFLOPS and error of every contender that can do this shape."""
    import torch  # noqa: PLC0415

    torch.manual_seed(0)
    make = partial(torch.randn, device="cuda", dtype=getattr(torch, dtype))
    tensors = tuple(
        make(shape.batch, h, shape.length, shape.dim) for h in (shape.heads, shape.kv_heads, shape.kv_heads)
    )
    assert len(tensors) == 3
    row: Row = {"shape": shape.name, "dim": shape.dim, "causal": shape.causal, "length": shape.length}
    row |= {"batch": shape.batch, "heads": shape.heads, "kv_heads": shape.kv_heads, "error": {}, "ms": {}, "tflops": {}}
    calls = contenders(tensors, causal=shape.causal, extra=extra)
    for name in list(calls):
        try:
            out = calls[name]()
        except (RuntimeError, ValueError) as reason:  # a backend that does not know this GPU or shape
            print(f"  {shape.name}: no {name}: {str(reason).splitlines()[0]}", file=sys.stderr)
            del calls[name]
            continue
        row["error"][name] = round(relative_error(shape, tensors, out), 5)
    times: dict[str, list[float]] = {name: [] for name in calls}
    shuffled = random.Random(shape.name)  # noqa: S311 - an order, not a secret
    for _ in range(rounds if shape.length > SHORT else 5 * rounds):
        # What ran before leaves its heat, and the GPU its clock: nobody always comes after the same one.
        for name in shuffled.sample(list(calls), len(calls)):
            times[name].append(device_ms(calls[name], flush))
    for name, values in times.items():
        row["ms"][name] = round(statistics.median(values), 4)
        row["tflops"][name] = round(shape.tflop() / statistics.median(values) * 1e3, 1)
    alone = kernel_ms(calls["sageattn"], flush)
    row["alone_tflops"] = round(shape.tflop() / alone * 1e3, 1) if alone else None
    if shape in GRID:
        row["target"] = TARGETS[shape.dim, shape.causal][LENGTHS.index(shape.length)]
    return row


def environment() -> Row:
    """What was measured: device, clocks, versions, and the digest of the sources that the wheel was built from."""
    import torch  # noqa: PLC0415

    import sageattention  # noqa: PLC0415

    query = "driver_version,clocks.max.sm,power.limit,temperature.gpu"
    try:
        smi = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, check=True
        ).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        smi = ""
    record = Path(sageattention.__file__).with_name("_native") / "record.json"
    digest = json.loads(record.read_text("utf-8"))["source_digest"] if record.exists() else None
    return {
        "gpu": torch.cuda.get_device_name(),
        query: smi,
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "sageattention": sageattention.__version__,
        "source_digest": digest,
        "taken": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def of_limit(row: Row) -> float:
    """The attention kernel by itself, as a share of the synthetic loop."""
    return float(row["alone_tflops"]) / LIMITS[row["dim"]]


def show(row: Row) -> None:
    """One line of the table."""
    speeds = "  ".join(f"{name} {value:6.0f}" for name, value in row["tflops"].items())
    alone = f"{row['alone_tflops']:6.0f} ({of_limit(row):.0%} of the limit)" if row["alone_tflops"] else "     -"
    target = f"  target {row['target']} ({row['tflops']['sageattn'] / row['target']:.0%})" if "target" in row else ""
    print(f"{row['shape']:>18}  {speeds}  alone {alone}  error {row['error']['sageattn']:.4f}{target}", flush=True)


def write_csv(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["shape", "contender", "ms", "tflops", "error", "alone_tflops", "of_limit", "target"])
        for row in rows:
            share = round(of_limit(row), 3) if row["alone_tflops"] else ""
            for name, ms in row["ms"].items():
                ours = name == "sageattn"
                writer.writerow(
                    [row["shape"], name, ms, row["tflops"][name], row["error"][name]]
                    + ([row["alone_tflops"], share, row.get("target", "")] if ours else ["", "", ""])
                )


def plot(document: Row, path: Path) -> None:
    """Speed over length, a panel for each head dim and mask, with the targets as dots."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), sharex=True)
    for axis, (dim, causal) in zip(axes.flat, TARGETS, strict=True):
        rows = [r for r in document["rows"] if (r["dim"], r["causal"]) == (dim, causal) and "target" in r]
        for name in rows[0]["tflops"] if rows else ():
            points = [(r["length"], r["tflops"][name]) for r in rows if name in r["tflops"]]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name)
        axis.plot([r["length"] for r in rows], [r["target"] for r in rows], "k:", label="target")
        axis.set_xscale("log", base=2)
        axis.set_title(f"head dim {dim}, {'causal' if causal else 'full'}")
        axis.set_ylabel("TFLOPS, end to end")
        axis.set_ylim(bottom=0)
        axis.grid(visible=True, alpha=0.3)
    axes[0, 0].legend()
    facts = document["environment"]
    figure.suptitle(f"{facts['gpu']}, torch {facts['torch']}, {document['dtype']}, batch 4, 32 heads")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def named(text: str) -> tuple[str, Callable[..., object]]:
    """``NAME=MODULE:FUNCTION`` → the name and the function."""
    name, _, place = text.partition("=")
    module, _, function = place.partition(":")
    return name, getattr(importlib.import_module(module), function)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results here (with --plot: read them)")
    parser.add_argument("--csv", type=Path, help="write the results here as rows")
    parser.add_argument("--plot", type=Path, help="draw the results of --json and measure nothing")
    parser.add_argument("--seconds", type=float, default=90.0, help="start no shape after this long")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16")
    parser.add_argument("--grid", action="store_true", help="only the grid of lengths")
    parser.add_argument("--models", action="store_true", help="only the shapes of models")
    parser.add_argument("--with", dest="extra", type=named, action="append", default=[], metavar="NAME=MODULE:FUNCTION")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(json.loads(arguments.json.read_text("utf-8")), arguments.plot)
        return
    import torch  # noqa: PLC0415

    flush = torch.zeros(64 << 20, dtype=torch.float32, device="cuda")
    document: Row = {"environment": environment(), "dtype": arguments.dtype, "rows": [], "left_out": []}
    both = arguments.grid == arguments.models
    started = time.monotonic()
    for shape in [*(GRID if both or arguments.grid else []), *(MODELS if both or arguments.models else [])]:
        if time.monotonic() - started > arguments.seconds:
            document["left_out"].append(shape.name)
            continue
        document["rows"].append(measure(shape, arguments.dtype, max(3, arguments.rounds), flush, dict(arguments.extra)))
        show(document["rows"][-1])
        torch.cuda.empty_cache()
    if document["left_out"]:
        print(f"out of time, not measured: {', '.join(document['left_out'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if arguments.csv:
        write_csv(document["rows"], arguments.csv)


if __name__ == "__main__":
    main()
