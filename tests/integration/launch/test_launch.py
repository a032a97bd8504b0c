"""The launch layer without torch, driver or GPU: which cubins suit a GPU, and reading them out of their archive."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("g++") is None or shutil.which("ar") is None, reason="needs g++ and ar"),
]

MEMBERS = {
    "short.cubin": b"odd",
    "sage2_quant_k_bf16_d128.cubin": bytes(range(256)) * 9,
    "sage2_quant_k_bf16_d64.cubin": b"",
    "zz.cubin": b"even",
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Callable[..., tuple[int, bytes]]:
    binary = tmp_path_factory.mktemp("probe") / "probe"
    source = Path(__file__).with_name("probe.cpp")
    include = root / "kernels" / "launch"
    for standard in ("c++20", "c++17"):
        subprocess.run(
            ["g++", f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{include}", str(source), "-o", str(binary)],
            check=True,
        )

    def run(*words: str | Path) -> tuple[int, bytes]:
        done = subprocess.run([str(binary), *map(str, words)], capture_output=True, check=False)
        return done.returncode, done.stdout

    return run


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by binutils, with a name table for the long names."""
    folder = tmp_path_factory.mktemp("archive")
    for name, content in MEMBERS.items():
        (folder / name).write_bytes(content)
    subprocess.run(["ar", "rcD", "sm_90a.ar", *MEMBERS], cwd=folder, check=True)
    return folder / "sm_90a.ar"


@pytest.mark.parametrize(("name", "content"), MEMBERS.items())
def test_members_come_out_as_they_went_in(
    probe: Callable[..., tuple[int, bytes]], archive: Path, name: str, content: bytes
) -> None:
    assert probe("read", archive, name) == (0, content)


def test_a_missing_kernel_is_named(probe: Callable[..., tuple[int, bytes]], archive: Path) -> None:
    code, text = probe("read", archive, "sage2_none.cubin")
    assert code == 3
    assert b"sage2_none" in text
    assert str(archive).encode() in text


@pytest.mark.parametrize("size", [0, 5, 8, 40, 100, 2000])
def test_a_cut_archive_is_an_error(
    probe: Callable[..., tuple[int, bytes]], archive: Path, tmp_path: Path, size: int
) -> None:
    cut = tmp_path / "cut.ar"
    cut.write_bytes(archive.read_bytes()[:size])
    code, text = probe("read", cut, "sage2_quant_k_bf16_d128.cubin")
    assert code == 3
    assert b"cut.ar" in text


def test_a_file_that_is_no_archive(probe: Callable[..., tuple[int, bytes]], tmp_path: Path) -> None:
    other = tmp_path / "other.ar"
    other.write_bytes(b"\x7fELF" + bytes(200))
    assert probe("read", other, "x")[0] == 3
    assert probe("read", tmp_path / "none.ar", "x")[0] == 3


@pytest.mark.parametrize(
    ("gpu", "best_first"),
    [
        ((8, 0), ["sm_80"]),
        ((8, 6), ["sm_86", "sm_80"]),
        ((8, 7), ["sm_86", "sm_80"]),
        ((8, 9), ["sm_89", "sm_86", "sm_80"]),
        ((9, 0), ["sm_90a", "sm_90"]),
        ((10, 0), ["sm_100a", "sm_100f", "sm_100"]),
        ((10, 3), ["sm_100f", "sm_100"]),
        ((12, 0), ["sm_120a", "sm_120f", "sm_120"]),
        ((12, 1), ["sm_121a", "sm_120f", "sm_120"]),
        ((7, 5), []),
    ],
)
def test_cubins_of_a_gpu(probe: Callable[..., tuple[int, bytes]], gpu: tuple[int, int], best_first: list[str]) -> None:
    known = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_100f", "sm_110f"]
    known += ["sm_120", "sm_120a", "sm_120f", "sm_121a", "sm_", "compute_90", "sm_90x"]
    ranks = {arch: int(probe("rank", arch, *map(str, gpu))[1]) for arch in known}
    assert sorted((a for a in known if ranks[a]), key=lambda a: -ranks[a]) == best_first
