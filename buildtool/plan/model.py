"""The shape of matrix.toml: what may stand where, and of which type. What the values mean is checked in ``matrix``."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Release = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$"), Field(examples=["2.8.0"])]
Minor = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$"), Field(examples=["12.8"])]
Torch = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+(\.\d+)?$"), Field(examples=["2.8"])]
Python = Annotated[str, StringConstraints(pattern=r"^3\.\d+t?$"), Field(examples=["3.12"])]
Arch = Annotated[str, StringConstraints(pattern=r"^sm_\d{2,3}[af]?$"), Field(examples=["sm_90a"])]
Pin = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*==\d+(\.\d+)+$"),
    Field(examples=["nvidia-cuda-nvrtc-cu12==12.8.93"]),
]
Driver = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+){0,2}$"), Field(examples=["525.60.13"])]
Image = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9./_-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}$"),
    Field(examples=["quay.io/pypa/manylinux_2_28_x86_64@sha256:<64 hex digits>"]),
]
Text = Annotated[str, StringConstraints(min_length=1), Field(examples=["a sentence"])]

EXAMPLES: dict[str, str] = {
    constraints.pattern: field.examples[0]
    for kind in (Release, Minor, Torch, Python, Arch, Pin, Driver, Image)
    for constraints, field in [get_args(kind)[1:]]
}
"""A pattern above → a value that matches it, for the remedy of a fault."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Package(_Table):
    """A distribution that is built for every cell."""

    version: Annotated[Release, Field(description="Version of the next wheels; `buildtool pins` writes it on")]
    pyproject: Annotated[Text, Field(description="Path of its pyproject.toml below the project's root")]
    cuda_minimum: Annotated[Minor, Field(description="Lowest CUDA version that compiles its kernels")] = "12.0"
    archs: Annotated[
        list[Arch], Field(description="Architectures it has kernels for; empty means all of the CUDA version's")
    ] = []


class ArchFacts(_Table):
    """A GPU architecture that cubins can be compiled for."""

    cuda_minimum: Annotated[Minor, Field(description="First CUDA version whose NVRTC targets it")]
    gpus: Annotated[Text, Field(description="GPUs that run these cubins, for people")]


class PerMachine(_Table):
    """Architectures by the machine the GPU sits in."""

    x86_64: list[Arch]
    aarch64: list[Arch] = []


class PerOs(_Table):
    """Lowest NVIDIA driver by operating system."""

    linux: Driver
    windows: Driver


class CudaFacts(_Table):
    """A CUDA version: its toolchain on PyPI, and what it targets."""

    nvrtc: Annotated[Pin, Field(description="The compiler")]
    runtime_headers: Annotated[Pin, Field(description="cuda_runtime_api.h, cuda_fp16.h and the like")]
    crt_headers: Annotated[Pin, Field(description="crt/*.h, which cuda_runtime_api.h includes")]
    archs: PerMachine
    min_driver: PerOs


class TorchFacts(_Table):
    """A minor release of PyTorch; a wheel built for its first release serves every patch."""

    releases: Annotated[list[Release], Field(min_length=1, description="Patches, first the one that sets build for")]
    pythons: Annotated[list[Python], Field(min_length=1)]
    experimental_pythons: Annotated[
        list[Python],
        Field(description="Pythons with wheels that PyTorch calls experimental; nothing is built for them"),
    ] = []
    cuda: Annotated[list[Minor], Field(description="CUDA versions of the official stable builds")]
    experimental_cuda: Annotated[
        list[Minor], Field(description="CUDA versions of the official experimental builds")
    ] = []
    pypi_cuda: Annotated[Minor, Field(description="CUDA version of the Linux wheel on PyPI")]
    cxx_standard: int
    pre_cxx11_abi_cuda: Annotated[
        list[Minor], Field(description="CUDA versions whose Linux builds have _GLIBCXX_USE_CXX11_ABI=0")
    ] = []


class Platform(_Table):
    """A platform tag wheels are made for."""

    os: Annotated[str, StringConstraints(pattern="^(linux|windows)$"), Field(examples=["linux"])]
    machine: Annotated[str, StringConstraints(pattern="^(x86_64|aarch64)$"), Field(examples=["x86_64"])]
    runner: Annotated[Text, Field(description="GitHub runner label that builds its wheels", examples=["ubuntu-24.04"])]
    container: Annotated[
        Image | None, Field(description="Image its wheels are built in, by digest; none: natively on the machine")
    ] = None
    torch_minimum: Minor = "2.0"
    cuda_minimum: Minor = "12.0"


def _words(kind: Any) -> Any:
    """One value or a list of them; an absent key stands for all."""
    return Annotated[list[kind], BeforeValidator(_listed, json_schema_input_type=kind | list[kind])]


class Row(_Table):
    """A product of values; a key left out means every value the facts allow (of torch: each minor's first release)."""

    package: _words(Text) = []  # type: ignore[valid-type]
    torch: _words(Torch) = []  # type: ignore[valid-type]
    cuda: _words(Minor) = []  # type: ignore[valid-type]
    python: _words(Python) = []  # type: ignore[valid-type]
    platform: _words(Text) = []  # type: ignore[valid-type]


class Exclusion(Row):
    """Cells of a set that are left out, and why."""

    reason: Text


class NamedSet(_Table):
    """A named set of cells."""

    about: Text
    include: Annotated[list[Row], Field(min_length=1)]
    exclude: list[Exclusion] = []


class MatrixFile(_Table):
    """matrix.toml."""

    package: dict[Text, Package]
    platform: dict[Text, Platform]
    arch: dict[Arch, ArchFacts]
    cuda: dict[Minor, CudaFacts]
    torch: dict[Minor, TorchFacts]
    set: Annotated[dict[Text, NamedSet], Field(description="In the order in which selections look for a match")]
