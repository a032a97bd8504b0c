"""The frozen values that everything after the matrix works on: combos, cells and the build plan."""

from __future__ import annotations

from dataclasses import dataclass

PYTORCH_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own wheel index; its channels (`Cell.torch_index`, ``cpu``) are folders of it."""


@dataclass(frozen=True, order=True)
class Combo:
    """One point of the matrix: package × torch × CUDA × Python × platform."""

    package: str
    """Distribution name, e.g. ``sageattention``."""
    torch: str
    """Full release, e.g. ``2.8.0``."""
    cuda: str
    """CUDA major.minor, e.g. ``12.8``."""
    python: str
    """CPython major.minor, e.g. ``3.12``; free-threaded builds end in ``t``."""
    platform: str
    """Wheel platform tag with underscores, e.g. ``linux_x86_64``, ``win_amd64``, ``manylinux_2_28_x86_64``."""


@dataclass(frozen=True)
class Pins:
    """Exact ``name==version`` requirements of one cell's toolchain, all resolvable on PyPI unless said otherwise."""

    torch: str
    nvrtc: str
    runtime_headers: str
    crt_headers: str

    def all(self) -> tuple[str, ...]:
        return (self.torch, self.nvrtc, self.runtime_headers, self.crt_headers)


@dataclass(frozen=True)
class Cell:
    """One wheel to be: a combo and every fact that building and verifying it needs."""

    combo: Combo
    version: str
    """Version of the distribution, e.g. ``2.2.0``."""
    build_tag: str
    """PEP 427 build tag, ``{torch digits}.{cuda digits}``, e.g. ``280.128``."""
    wheel: str
    """File name of the finished wheel."""
    archs: tuple[str, ...]
    """GPU architectures with cubins in this wheel, suffix included, e.g. ``sm_90a``."""
    pins: Pins
    torch_requirement: str
    """What the wheel requires at run time, e.g. ``torch==2.8.*``."""
    torch_index: str
    """``pypi``, or the channel of PyTorch's own wheel index that serves this build, e.g. ``cu129``."""
    cxx_standard: int
    cxx11_abi: bool
    min_driver: str
    """Lowest NVIDIA driver that runs this CUDA version's cubins on this platform."""
    experimental: bool = False
    pypi_twin: bool = True
    """Whether PyPI's wheel of this torch release has the ABI of the cell's own build and can stand in for it."""


@dataclass(frozen=True)
class BuildPlan:
    """What a selection of the matrix comes to, in build order."""

    cells: tuple[Cell, ...]
