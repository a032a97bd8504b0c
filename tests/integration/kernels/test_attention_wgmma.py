"""The wgmma attention kernel itself, run on the CPU: TMA, barriers, both roles, fragments, masks, and every work tile.

As with the mma.sync kernel (test_attention_mma.py), the program is checked and not what an assembler makes of it.
Copies land and products are computed as late as the program allows, and warps sleep now and then, so that a missing
wait, or a buffer that is given back too early, shows as wrong numbers; a barrier that never completes is a hang.
"""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.integration.kernels.conftest import Compile
from tests.integration.kernels.operands import Array, Case, Kind, Problem, from16

PLAIN, LSE, MASK = range(3)
# What PV is summed in; and Q and K in 16 bits.
F32, F16, QK16 = range(3)
WAYS = pytest.mark.parametrize("way", [F16, F32, QK16], ids=["f16", "f32", "qk16"])

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")]


def run_kernel(
    emulated: Compile, problem: Problem, way: int, variant: int, *, blocks: int = 2, late: bool = False
) -> None:
    """Fill the problem's output, and its lse, by one instance of the kernel."""
    case, macros = problem.case, {"QK16": int(way == QK16), "DTYPE_BF16": int(problem.kind.bf16)}
    params = problem.params()
    if variant == PLAIN:
        params.lse = None
    heads = case.heads[0]
    tokens, group = ctypes.c_longlong(sum(case.q)), 1 if not case.causal else heads
    run = emulated("attention_wgmma.cpp", HEAD_DIM=problem.dim, PV_F16=int(way != F32), VARIANT=variant, **macros).run
    run.restype = ctypes.c_longlong
    ready = np.zeros((case.heads[1], 16), np.uint8)
    flags, k = ctypes.c_void_p(ready.ctypes.data) if late else None, problem.k_rows()
    found = run(ctypes.byref(params), tokens, group, blocks, flags, ctypes.byref(k), ctypes.c_longlong(sum(case.k)))
    assert found == -1, f"block {found} hangs"


def check(
    emulated: Compile, way: int, variant: int, case: Case, *, bf16: bool = False, blocks: int = 2, late: bool = False
) -> None:
    vmax = 448.0 if way == F32 else 1.125
    kind = Kind("", bf16=bf16, vmax=vmax, error=3e-2, key_block=128, warp=16, qk16=way == QK16)
    problem = Problem(kind, case)
    run_kernel(emulated, problem, way, variant, blocks=blocks, late=late)
    out = from16(problem.out, bf16=bf16).astype(np.float64)
    assert np.isfinite(out).all()
    lse = problem.expected_lse
    dead = np.isneginf(lse)
    assert not out[dead].any()
    if variant != PLAIN:
        assert np.isneginf(problem.lse[dead]).all()
        assert np.abs(problem.lse[~dead] - lse[~dead]).max(initial=0) < 1e-3
    error = float(np.abs(out - problem.expected).sum()) / max(float(np.abs(problem.expected).sum()), 1e-9)
    assert error < kind.error


CASES = {
    "plain": Case(),
    "tiny": Case(q=(3,), k=(1,), per_warp=True),
    "long": Case(q=(200,), k=(1400,), heads=(2, 2)),
    "causal": Case(q=(300,), k=(300,), causal=True, per_warp=True),
    "causal, few keys": Case(q=(260,), k=(65,), causal=True),
    "negative": Case(q=(130,), k=(70,), causal=True, scale=-0.2, offset=10.0),
    "packed": Case(q=(5, 0, 140, 1), k=(9, 64, 300, 0), heads=(2, 2)),
    "packed, causal": Case(q=(65, 200), k=(65, 200), heads=(4, 2), causal=True),
}


@pytest.mark.parametrize("variant", [PLAIN, LSE], ids=["plain", "lse"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", [3, 83, 127, 150, 190])
def test_what_is_not_a_number_is_not_hidden(emulated: Compile, key: int, value: float, variant: int) -> None:
    """One logit that is NaN or infinite makes its row NaN, whichever way that key's exponential is made."""
    problem = Problem(Kind("", vmax=1.125, key_block=128, warp=16, qk16=True), Case(q=(70,), k=(200,)))
    problem.k[0, key, 5] = value
    problem.k_bits[:] = problem.k.astype(np.float16).view(np.uint16)
    with np.errstate(invalid="ignore"):
        logits = problem.q.astype(np.float64) @ problem.k.astype(np.float64).swapaxes(1, 2)
    bad = ~np.isfinite(logits.max(-1))
    assert bad.any()
    run_kernel(emulated, problem, QK16, variant)
    out = from16(problem.out, bf16=False)
    assert np.isnan(out[bad]).all()
    assert np.isfinite(out[~bad]).all()


@pytest.mark.parametrize("channels", [64, 128])
@pytest.mark.parametrize("way", [F16, QK16], ids=["f16", "qk16"])
def test_rows_do_not_know_their_neighbours(emulated: Compile, way: int, channels: int) -> None:
    """A packed sequence gives what it gives alone, bit for bit, though a warp holds rows of two sequences."""
    kind = Kind("", vmax=1.125, key_block=128, warp=16, qk16=way == QK16)
    packed = Problem(kind, Case(q=(70, 90), k=(1000, 1000), channels=channels))
    packed.q_bits[:, 70:] = (packed.q[:, 70:] * 4).astype(np.float16).view(np.uint16)  # whose maxima rise often
    run_kernel(emulated, packed, way, PLAIN)
    alone = Problem(kind, Case(q=(70,), k=(1000,), channels=channels))
    alone.q_bits[:], alone.k_bits[:] = packed.q_bits[:, :70], packed.k_bits[:, :1000]
    for name, axis in (("k8", 1), ("k_scale", 1), ("v8", 2)):
        part: Array = getattr(alone, name)
        part[:] = np.take(getattr(packed, name), range(part.shape[axis]), axis)
    alone.k_mean[:], alone.v_scale[:] = packed.k_mean[:1], packed.v_scale[:1]
    run_kernel(emulated, alone, way, PLAIN)
    assert np.array_equal(packed.out[:, :70], alone.out)


def of(way: int, case: Case, channels: int) -> Case:
    """The case with so many channels, and without the negative scale that only INT8 kernels take."""
    scale = abs(case.scale) if way == QK16 and case.scale else case.scale
    return replace(case, channels=channels, scale=scale)


@pytest.mark.parametrize("channels", [64, 128])
@WAYS
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_attention(emulated: Compile, case: Case, way: int, channels: int) -> None:
    check(emulated, way, PLAIN, of(way, case, channels))


@pytest.mark.parametrize("channels", [40, 72])
@WAYS
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lse(emulated: Compile, case: Case, way: int, channels: int) -> None:
    check(emulated, way, LSE, of(way, case, channels), bf16=True, blocks=1)


@pytest.mark.parametrize("channels", [64, 128])
@pytest.mark.parametrize(
    ("way", "variant"),
    [(F16, PLAIN), (F32, PLAIN), (F16, LSE), (F32, LSE), (F32, MASK), (QK16, PLAIN), (QK16, LSE)],
)
@pytest.mark.parametrize("causal", [False, True])
def test_heads_that_are_prepared_late(
    emulated: Compile, way: int, variant: int, channels: int, *, causal: bool
) -> None:
    case = Case(
        q=(200,), k=(300,), heads=(4, 2), channels=channels, causal=causal, mask="bool" if variant == MASK else ""
    )
    check(emulated, way, variant, case, late=True)


@pytest.mark.parametrize("channels", [64, 128])
@pytest.mark.parametrize("mask", ["bool", "rows", "float"])
def test_mask(emulated: Compile, mask: str, channels: int) -> None:
    case = Case(q=(170,), k=(199,), mask=mask, causal=mask == "float", channels=channels)
    check(emulated, F32, MASK, case, blocks=3)
