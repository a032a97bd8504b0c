"""Which cubins a GPU can run, which kernels they hold, and which of those an entry point takes by default.

The one table behind `sageattn`, the import guard, the doctor and the wheel verifier. It needs the standard library
alone, so that a tool without PyTorch may load this file by its path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Optional, Tuple

Capability = Tuple[int, int]


@dataclass(frozen=True)
class Arch:
    """One cubin architecture: the attention paths compiled for it, best first, and the first CUDA that can make it."""

    paths: Tuple[str, ...]
    min_cuda: str


@dataclass(frozen=True)
class Path:
    """One family of attention kernels and the option values it computes.

    ``family`` begins the names of its plain kernels (`kernel` gives each in full). ``granularity`` (of the scales of Q
    and K, ``none`` where they stay in 16 bits) and ``accumulators`` list the values allowed, the default first;
    ``max_head_dim`` is the largest head dim; ``key_block`` is the tokens of K that share a quantization block,
    ``warp_rows`` the rows of Q that a warp holds up to head dim 128; ``v_max`` the largest magnitude that V is scaled
    to for each accumulator (0 where V stays in 16 bits).
    """

    family: str
    granularity: Tuple[str, ...]
    accumulators: Tuple[str, ...]
    max_head_dim: int
    key_block: int
    warp_rows: int
    v_max: Mapping[str, float]
    what: str


GPUS: Dict[Capability, str] = {
    (8, 0): "A100",
    (8, 6): "RTX 3090, A40",
    (8, 7): "Jetson Orin",
    (8, 9): "RTX 4090, L40",
    (9, 0): "H100, H200, GH200",
    (10, 0): "B200",
    (10, 3): "B300",
    (11, 0): "Jetson Thor",
    (12, 0): "RTX 5090",
    (12, 1): "DGX Spark",
}

# FP8 stands only where the tensor cores take it: mma.sync FP8 is emulated on sm_90 and sm_100.
_FP16_ONLY = ("f16",)
_FP8 = ("f8", "f16")
ARCHS: Dict[str, Arch] = {
    "sm_80": Arch(_FP16_ONLY, "11.0"),
    "sm_86": Arch(_FP16_ONLY, "11.1"),
    "sm_87": Arch(_FP16_ONLY, "11.4"),
    "sm_89": Arch(_FP8, "12.4"),
    "sm_90": Arch(_FP16_ONLY, "11.8"),
    "sm_90a": Arch(("f8_sm90", "f8_sm90_qk16", "f16"), "12.0"),
    "sm_100": Arch(_FP16_ONLY, "12.8"),
    "sm_100a": Arch(_FP16_ONLY, "12.8"),
    "sm_100f": Arch(_FP16_ONLY, "12.9"),
    "sm_103": Arch(_FP16_ONLY, "12.9"),
    "sm_103a": Arch(_FP16_ONLY, "12.9"),
    "sm_103f": Arch(_FP16_ONLY, "12.9"),
    "sm_110": Arch(_FP16_ONLY, "13.0"),
    "sm_110a": Arch(_FP16_ONLY, "13.0"),
    "sm_110f": Arch(_FP16_ONLY, "13.0"),
    "sm_120": Arch(_FP8, "12.8"),
    "sm_120a": Arch(_FP8, "12.8"),
    "sm_120f": Arch(_FP8, "12.9"),
    "sm_121": Arch(_FP8, "12.9"),
    "sm_121a": Arch(_FP8, "12.9"),
    "sm_121f": Arch(_FP8, "12.9"),
}

GRANULARITIES = ("per_thread", "per_warp")
PATHS: Dict[str, Path] = {
    "f16": Path(
        "sage2_mma_f16",
        GRANULARITIES,
        ("fp32", "fp16", "fp16+fp32"),
        256,
        64,
        32,
        {"fp32": 0.0, "fp16": 0.0, "fp16+fp32": 0.0},
        "INT8 QK, FP16 PV (mma.sync)",
    ),
    "f8": Path(
        "sage2_mma_f8",
        GRANULARITIES,
        ("fp32+fp16", "fp32+fp32", "fp32"),
        128,
        64,
        32,
        {"fp32+fp16": 2.25, "fp32+fp32": 448.0, "fp32": 448.0},
        "INT8 QK, FP8 PV (mma.sync)",
    ),
    "f8_sm90": Path(
        "sage2_wgmma",
        GRANULARITIES,
        ("fp32+fp16", "fp32+fp32"),
        128,
        128,
        16,
        {"fp32+fp16": 1.125, "fp32+fp32": 448.0},
        "INT8 QK, FP8 PV (wgmma)",
    ),
    "f8_sm90_qk16": Path(
        "sage2_wgmma_qk16",
        ("none",),
        ("fp32+fp16",),
        128,
        128,
        16,
        {"fp32+fp16": 1.125},
        "16-bit QK, FP8 PV (wgmma)",
    ),
}

# FP8 products summed in FP16 need PTX ISA 8.7.
_FP16_SUM_OF_FP8_CUDA = (12, 8)
# Where `sageattn` takes another granularity than the path's own default.
_GRANULARITY = {("f8", 12): "per_warp"}


@dataclass(frozen=True)
class Choice:
    """What runs: cubin architecture, path and its options."""

    arch: str
    path: str
    qk_quant_gran: str
    pv_accum_dtype: str
    reason: str


def padded_head_dim(size: int) -> int:
    """The head dim of the kernels that a call of ``size`` uses: 64, 128 or 256."""
    return 64 if size <= 64 else 128 if size <= 128 else 256  # noqa: PLR2004 - see the docstring


def version(text: str) -> Tuple[int, ...]:
    """``"12.8"`` → ``(12, 8)``; anything after the leading dotted number (``+cu128``, ``a0``) is ignored."""
    numbers = []
    for part in text.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def kernel(path: str, dtype: str, head_dim: int, accumulator: str, masked: bool, lse: bool = False) -> str:
    """The attention kernel that serves a call (kernels/launch/attention_*.h choose alike); dtype ``f16`` or ``bf16``.

    Masks, and head dim 256, have no variant that sums in FP16: they sum in FP32.
    """
    padded = padded_head_dim(head_dim)
    narrow = not masked and padded <= 128  # noqa: PLR2004 - see the docstring
    if path == "f8_sm90":
        sums = "f16" if narrow and accumulator == "fp32+fp16" else "f32"
        return f"sage2_wgmma_d{padded}_{sums}_{'mask' if masked else 'lse' if lse else 'plain'}"
    if path == "f8_sm90_qk16":
        return f"sage2_wgmma_qk16_{dtype}_d{padded}_{'lse' if lse else 'plain'}"
    kind = dtype
    if path == "f8":
        kind = "f8_acc16" if narrow and accumulator == "fp32+fp16" else "f8"
    elif narrow:
        kind = {"fp16": "acc16", "fp16+fp32": "flush16"}.get(accumulator, dtype)
    return f"sage2_mma_{'mask_' if masked else ''}{kind}_d{padded}"


def quantizes_qk(head_dim: int, rows: int, is_causal: bool, masked: bool, sm_scale: float) -> bool:
    """Whether a call of `sageattn` is faster with INT8 Q and K, path ``f8_sm90``, than by ``f8_sm90_qk16``.

    ``rows`` of Q share a head of K. Preparing K takes time for every key, and saves some for every row that looks at
    it: above head dim 64 it pays from about 1024 rows on (bench/NOTES-hopper.md); up to 64 never, since there the
    exponentials take longer than either product. Masks and negative scales have INT8 kernels alone.
    """
    if masked or not sm_scale >= 0:
        return True
    return padded_head_dim(head_dim) > 64 and rows > (2048 if is_causal else 1024)  # noqa: PLR2004 - see the docstring


def rank(arch: str, capability: Capability) -> int:
    """How well cubins of ``arch`` suit a GPU: 0 not at all, higher is better; the native library ranks alike.

    ``a`` cubins run on their own capability alone, ``f`` and plain ones on later minors of the same major too
    (PTX ISA 11.1.2).
    """
    major, minor = capability
    digits = arch[3:].rstrip("af")
    suffix = arch[3 + len(digits) :]
    gap = minor - int(digits[-1])
    if int(digits[:-1]) != major or gap < 0 or (suffix == "a" and gap):
        return 0
    return {"a": 300, "f": 200, "": 100}[suffix] - gap


def arch_for(capability: Capability, wheel_archs: Iterable[str]) -> Optional[str]:
    """The cubin architecture that a GPU uses out of those a wheel has, or None if none of them runs there."""
    best = max(wheel_archs, key=lambda arch: rank(arch, capability), default=None)
    return best if best is not None and rank(best, capability) else None


def paths_of(arch: str, cuda: str) -> Dict[str, Tuple[str, ...]]:
    """Path → accumulators, defaults first, that cubins of ``arch`` made by ``cuda`` hold."""
    offered = {}
    for name in ARCHS[arch].paths if arch in ARCHS else _FP16_ONLY:
        accumulators = PATHS[name].accumulators
        if name == "f8" and version(cuda) < _FP16_SUM_OF_FP8_CUDA:
            accumulators = tuple(a for a in accumulators if a != "fp32+fp16")
        offered[name] = accumulators
    return offered


def choose(
    capability: Capability, wheel_archs: Iterable[str], cuda: str, head_dim: int, quantized_qk: bool = True
) -> Choice:
    """What `sageattn` runs for a head dim; ``quantized_qk`` is what `quantizes_qk` said, and matters on Hopper alone.

    Raises LookupError if the wheel has no code for the GPU.
    """
    arch = arch_for(capability, wheel_archs)
    if arch is None:
        raise LookupError(capability)
    offered = paths_of(arch, cuda)
    path = next((name for name in offered if head_dim <= PATHS[name].max_head_dim), "f16")
    best = next(iter(offered))
    reason = f"best path of {arch}" if path == best else f"{best} takes head dims up to {PATHS[best].max_head_dim}"
    if path == "f8_sm90" and not quantized_qk:
        path, reason = "f8_sm90_qk16", f"best path of {arch} where quantizing Q and K takes longer than it saves"
    granularity = _GRANULARITY.get((path, capability[0]), PATHS[path].granularity[0])
    return Choice(arch, path, granularity, offered[path][0], reason)


def remedy(capability: Capability) -> str:
    """Half a sentence: which wheel has code for a GPU."""
    if capability < (8, 0):
        return "no sageattention wheel does: it needs compute capability 8.0 or newer"
    able = sorted((arch for arch in ARCHS if rank(arch, capability)), key=lambda arch: -rank(arch, capability))
    if not able:
        return f"a wheel with sm_{capability[0]}{capability[1]} in its list would do"
    cuda = min((ARCHS[arch].min_cuda for arch in able), key=version)
    return f"a wheel with {' or '.join(able)} in its list would do (made by CUDA {cuda} or newer)"
