"""Exponentials by lines, as the wgmma attention kernel makes some of its P: how near they are to 2^y."""

from __future__ import annotations

import ctypes
import shutil
from typing import Any

import numpy as np
import pytest

from tests.integration.kernels.conftest import Compile
from tests.integration.kernels.operands import Array, e4m3, e4m3_values, pointer

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")]


@pytest.fixture(scope="module")
def lines(emulated: Compile) -> Any:
    """``lines(x, scale, bias)``: values and e4m3 bytes of 2^(x scale + bias)."""
    run = emulated("exp2_lines.cpp").lines

    def call(x: Array, scale: float = 1.0, bias: float = 0.0) -> tuple[Array, Array]:
        x = x.astype(np.float32)
        values, codes = np.zeros_like(x), np.zeros(x.shape, np.uint8)
        factors = ctypes.c_float(scale), ctypes.c_float(bias)
        run(ctypes.c_void_p(pointer(x)), *factors, len(x) // 2, *(ctypes.c_void_p(pointer(y)) for y in (values, codes)))
        return values, codes

    return call


def test_they_are_near_and_right_in_the_mean(lines: Any) -> None:
    y = np.linspace(-9, 7.8, 2**17)  # from what e4m3 can show to the largest P
    error = lines(y)[0] / 2.0**y - 1
    assert np.abs(error).max() < 0.011
    assert np.sqrt((error**2).mean()) < 0.005
    octaves = error[(y >= -9) & (y < 7)]
    assert abs(octaves.mean()) < 2e-4


def test_rounding_to_e4m3_hides_them(lines: Any) -> None:
    y = np.linspace(-5, 7.8, 2**16)
    exact, found = e4m3(2.0**y)[0], e4m3_values(lines(y)[1])
    errors = [np.sqrt((((x - 2.0**y) / 2.0**y) ** 2).mean()) for x in (exact, found)]
    assert errors[1] < 1.03 * errors[0]


@pytest.mark.parametrize(("scale", "bias"), [(0.18, 4.8), (1.2e-38, 3.0), (3.0, -50.0)])
def test_scale_and_bias(lines: Any, scale: float, bias: float) -> None:
    x = np.linspace(-20, 20, 4096)
    y = x * np.float32(scale) + bias
    inside = (y > -9) & (y < 7.8)
    assert inside.any()
    assert np.abs(lines(x, scale, bias)[0][inside] / 2.0 ** y[inside] - 1).max() < 0.011


def test_small_ones_and_masked_ones_are_zero(lines: Any) -> None:
    small = np.asarray([-11.0, -14.0, -16.0, -1e3, -1e30, -np.inf])
    values, codes = lines(small)
    assert not codes.any()
    assert (values < 6e-4).all()
    # Around the smallest e4m3, which rounding begins at half of.
    assert lines(np.asarray([-10.1, -9.9]))[1].tolist() == [0, 1]
