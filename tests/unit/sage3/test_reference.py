from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

from sageattn3 import reference  # noqa: E402
from sageattn3.reference import Options  # noqa: E402


def cosine(a: Any, b: Any) -> Any:
    a, b = a.double().flatten(), b.double().flatten()
    return float((a @ b) / (a.norm() * b.norm()))


def normal(*shape: Any, seed: Any = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_e2m1_rounds_to_the_nearest_code_and_ties_to_even() -> None:
    values = list(reference.E2M1_VALUES)
    x = torch.linspace(-8, 8, 4097)
    for value, code in zip(x.tolist(), reference.e2m1_encode(x).tolist(), strict=True):
        assert (code >> 3) == (torch.signbit(torch.tensor(value)).item())
        errors = [abs(abs(value) - candidate) for candidate in values]
        best = min(errors)
        nearest = [i for i, error in enumerate(errors) if error == best]
        assert (code & 7) == (nearest[0] if len(nearest) == 1 else next(i for i in nearest if i % 2 == 0)), value


def test_e2m1_codes_survive_a_round_trip() -> None:
    codes = torch.arange(16, dtype=torch.uint8)
    assert torch.equal(reference.e2m1_encode(reference.e2m1_decode(codes)), codes)
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30])
    assert reference.e2m1_encode(special).tolist() == [7, 7, 15, 7]


def test_power_of_two_scale_is_the_least_that_fits() -> None:
    amax = torch.tensor([2688.0, 2688.5, 1344.0, 1.0, 1e-3, 5e32, 1e-26])
    exponents = reference.power_of_two_scale(amax)
    fitted = 2688.0 * torch.exp2(exponents.double())
    assert bool((amax.double() <= fitted).all())
    assert bool((amax.double() > fitted / 2).all())
    limits = torch.tensor([0.0, 1e38, 1e-38, float("inf"), float("nan")])
    assert reference.power_of_two_scale(limits).tolist() == [0, 100, -100, 100, 100]


def test_block_error_is_bounded_by_the_formats() -> None:
    exponents = torch.randint(-3, 4, (64, 1), generator=torch.Generator().manual_seed(1))
    x = normal(64, 128) * torch.exp2(exponents.float())
    blocks = reference.quantize_blocks(x)
    error = (blocks.values() - x).abs().unflatten(-1, (-1, 16))
    # The widest gap is 4..6, so half of it in units of the scale; E4M3 rounding may clip 6 by 1/16 more.
    assert bool((error <= blocks.scales.unsqueeze(-1) * 1.0 + 6 / 16 * blocks.scales.unsqueeze(-1)).all())
    assert cosine(blocks.values(), x) > 0.995


@pytest.mark.parametrize("head_dim", [33, 64, 128])
def test_padding_changes_nothing(head_dim: Any) -> None:
    q, k, v = (normal(1, 2, 70, head_dim, seed=seed) for seed in (1, 2, 3))
    out, lse = reference.attention(q, k, v)
    wide_q, wide_k, wide_v = (
        torch.nn.functional.pad(x, (0, (64 if head_dim <= 64 else 128) - head_dim)) for x in (q, k, v)
    )
    padded, padded_lse = reference.attention(wide_q, wide_k, wide_v, sm_scale=head_dim**-0.5)
    torch.testing.assert_close(out, padded[..., :head_dim])
    torch.testing.assert_close(lse, padded_lse)


@pytest.mark.parametrize(
    ("q_length", "k_length", "causal"), list(itertools.product((1, 113, 300), (1, 203), (False, True)))
)
def test_follows_float64(q_length: Any, k_length: Any, causal: Any) -> None:
    q, k, v = normal(1, 4, q_length, 64, seed=1), normal(1, 2, k_length, 64, seed=2), normal(1, 2, k_length, 64, seed=3)
    out, lse = reference.attention(q, k, v, causal)
    exact, exact_lse = reference.exact(q, k, v, causal)
    assert cosine(out, exact) > 0.97
    assert float((lse - exact_lse).abs().max()) < 0.4


def test_smoothing_is_exact_where_the_formats_are() -> None:
    """Where NVFP4 holds Q and K exactly once their means are gone, the lse must be that of float64."""

    def exact_rows(seed: Any) -> Any:
        half = reference.e2m1_decode(
            torch.randint(0, 16, (64, 64), generator=torch.Generator().manual_seed(seed)).byte()
        )
        half[:, ::16] = 6.0  # so that every block's scale is 1
        return torch.cat([half, -half])[None, None]

    q = exact_rows(4) + 8.0 * normal(1, 1, 1, 64, seed=5).round()
    k = exact_rows(6) + 8.0 * normal(1, 1, 1, 64, seed=7).round()
    v = normal(1, 1, 128, 64, seed=8)
    _, lse = reference.attention(q, k, v, sm_scale=0.01)
    torch.testing.assert_close(lse.double(), reference.exact(q, k, v, sm_scale=0.01)[1], rtol=1e-5, atol=1e-5)


def test_each_step_of_the_paper_helps_where_it_should() -> None:
    base = [normal(1, 2, 512, 64, seed=seed) for seed in (1, 2, 3)]
    q, k = base[0].clone(), base[1].clone()
    q[..., ::13] += 12
    k[..., ::13] += 12
    exact, _ = reference.exact(q, k, base[2])

    def score(**changes: Any) -> Any:
        return cosine(reference.attention(q, k, base[2], options=Options(**changes))[0], exact)

    kernel = score()
    assert kernel > score(smooth_k=False) + 0.002
    assert kernel > score(smooth_q=False) + 0.002
    assert min(score(smooth_k=False), score(smooth_q=False)) > score(smooth_k=False, smooth_q=False) + 0.1
    assert kernel > score(block=32, power_of_two=True)


def test_two_level_p_keeps_small_probabilities() -> None:
    p = torch.full((1, 64), 2e-4)
    p[0, 0] = 1.0
    two, one = reference.quantize_p(p), reference.quantize_p(p, levels=1)
    assert float((two[:, 16:] - p[:, 16:]).abs().max()) < 2e-4 * 0.1
    assert float(one[:, 16:].abs().max()) == 0.0  # the least E4M3 scale is 2^-9, and half of that rounds to nothing
