"""The mma.sync attention kernel itself, run on the CPU: fragments, masks, tails, packing, and every rendezvous.

The kernel's source is compiled by the host's compiler with PTX instructions replaced by their meaning (emulator/), so
what is checked is the program, for every way to multiply P by V, and not what an assembler makes of it. A collective
instruction that some lanes miss is found as a hang, a copy that nobody waits for as wrong numbers.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.integration.kernels.conftest import Launch
from tests.integration.kernels.operands import Case, Kind, Problem, from16

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")]


KINDS = {
    "f16": Kind("PV_F16"),
    "bf16": Kind("PV_BF16", bf16=True, error=6e-3),
    "acc16": Kind("PV_ACC16", error=4e-3),
    "flush16": Kind("PV_FLUSH16", error=2e-3),
    "f8": Kind("PV_F8", vmax=448.0, error=5e-2),
    "f8_acc16": Kind("PV_F8_ACC16", vmax=2.25, error=5e-2),
}


def check(launched: Launch, name: str, case: Case) -> None:
    problem = Problem(KINDS[name], case)
    params = problem.params()
    blocks = -(-max(case.q) // (4 * problem.warp)) * case.heads[0] * len(case.q)
    macros = {"HEAD_DIM": problem.dim, "PV": problem.kind.macro, "MASK": int(bool(case.mask))}
    assert launched("attention_mma.cu", params, blocks, 128, **macros) == -1, "a block hangs"
    bf16, expected, lse = problem.kind.bf16, problem.expected, problem.expected_lse
    out = from16(problem.out, bf16=bf16).astype(np.float64)
    assert np.isfinite(out).all()
    dead = np.isneginf(lse)
    assert np.isneginf(problem.lse[dead]).all()
    assert not out[dead].any()
    assert np.abs(problem.lse[~dead] - lse[~dead]).max(initial=0) < 1e-3
    error = float(np.abs(out - expected).sum()) / max(float(np.abs(expected).sum()), 1e-9)
    assert error < problem.kind.error


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case(q=(65,), k=(129,), causal=True, channels=40),
        Case(q=(3,), k=(1,), per_warp=True, channels=128),
        Case(q=(130,), k=(70,), causal=True, scale=-0.2, channels=72, offset=10.0),
        Case(q=(5, 0, 140, 1), k=(9, 64, 70, 0), heads=(2, 2)),
    ],
    ids=["plain", "causal", "tiny", "negative", "packed"],
)
def test_attention(launched: Launch, name: str, case: Case) -> None:
    check(launched, name, case)


@pytest.mark.parametrize("name", ["f16", "bf16", "f8"])
@pytest.mark.parametrize("mask", ["bool", "rows", "float"])
def test_mask(launched: Launch, name: str, mask: str) -> None:
    check(launched, name, Case(q=(70,), k=(99,), mask=mask, causal=mask == "float"))


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_head_dim_256(launched: Launch, name: str) -> None:
    check(launched, name, Case(q=(67,), k=(70,), channels=200, causal=True))


@pytest.mark.parametrize("smooth_v", [False, True])
@pytest.mark.parametrize("name", ["f16", "acc16", "flush16"])
def test_bf16_with_fp16_products(
    launched: Launch, name: str, monkeypatch: pytest.MonkeyPatch, *, smooth_v: bool
) -> None:
    """bf16 V becomes fp16 in shared memory, unless it comes as fp16 because its mean was taken out."""
    if name == "f16" and not smooth_v:
        pytest.skip("bf16 V is then multiplied as such")
    monkeypatch.setitem(KINDS, name, Kind(KINDS[name].macro, bf16=True, error=6e-3, smooth_v=smooth_v))
    check(launched, name, Case(q=(33,), k=(130,), channels=56))
    check(launched, name, Case(q=(5, 0, 140, 1), k=(9, 64, 70, 0), heads=(2, 2)))
