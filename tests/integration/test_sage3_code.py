"""The machine code of the FP4 kernels as wheels have it: the real instruction, no spills, no calls. Needs no GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from buildtool.prove.cubin import Cubin, read_cubin

pytestmark = pytest.mark.integration

# Low 12 bits of an instruction, read off nvdisasm's output for OMMA.SF and HMMA.
OMMA_SF, HMMA = 0x47F, 0x23C
REGISTERS_AT_LAUNCH = 168  # 384 threads in a register file of 65536, in steps of 8


def kernels(root: Path, cuda: str) -> Iterator[tuple[str, str, Path]]:
    command = [sys.executable, "-m", "buildtool", "cubins", "package=sageattn3", "torch=2.8", f"cuda={cuda}", "--json"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    for row in json.loads(result.stdout):
        yield row["arch"], row["name"], Path(row["path"])


@pytest.fixture(scope="module", params=[("12.8", "sm_120a"), ("12.9", "sm_120f")], ids=["12.8", "12.9"])
def cubins(request: pytest.FixtureRequest) -> dict[str, tuple[Cubin, Path]]:
    cuda, arch = request.param
    root = Path(__file__).resolve().parents[2]
    found = {}
    for target, name, path in kernels(root, cuda):
        assert target == arch
        found[name] = (read_cubin(path.read_bytes()), path)
        assert found[name][0].arch == arch
    return found


def count(path: Path, opcode: int) -> int:
    """Instructions in the code sections alone: elsewhere any two bytes may look like one."""
    with path.open("rb") as file:
        texts = [section.data() for section in ELFFile(file).iter_sections() if section.name.startswith(".text.")]
    assert texts
    words = (code[at : at + 2] for code in texts for at in range(0, len(code), 16))
    return sum(int.from_bytes(word, "little") & 0xFFF == opcode for word in words)


def test_every_kernel_is_there(cubins: dict[str, tuple[Cubin, Path]]) -> None:
    families = {name.rpartition("_d")[0] for name in cubins}
    typed = {
        f"sage3_{step}_{dtype}" for step in ("quant_q", "quant_k", "quant_v", "delta") for dtype in ("f16", "bf16")
    }
    assert families == {"sage3_attention", *typed}
    assert len(cubins) == 18


def test_nothing_spills_and_nothing_is_called(cubins: dict[str, tuple[Cubin, Path]]) -> None:
    for name, (cubin, _) in cubins.items():
        [kernel] = cubin.kernels
        assert (kernel.stack, kernel.local_loads, kernel.local_stores) == (0, 0, 0), name
        assert cubin.undefined == (), name
        assert kernel.registers <= (REGISTERS_AT_LAUNCH if "attention" in name else 128), name


@pytest.mark.parametrize(("head_dim", "instructions"), [(64, 32), (128, 64)])
def test_both_products_are_block_scaled_fp4(
    cubins: dict[str, tuple[Cubin, Path]], head_dim: int, instructions: int
) -> None:
    """A warp's tile is 16 x 128 of S, and 16 x D of O: D / 64 * 16 and 2 * D / 8 instructions."""
    _, path = cubins[f"sage3_attention_d{head_dim}"]
    assert count(path, OMMA_SF) == head_dim // 64 * 16 + 2 * head_dim // 8 == instructions
    assert count(path, HMMA) == 0


def test_the_disassembler_names_the_instruction(cubins: dict[str, tuple[Cubin, Path]]) -> None:
    tool = shutil.which("nvdisasm") or next(
        map(str, Path(sys.prefix).glob("lib/*/site-packages/nvidia/*/bin/nvdisasm")), None
    )
    if tool is None:
        pytest.skip("nvdisasm is not installed")
    for head_dim in (64, 128):
        _, path = cubins[f"sage3_attention_d{head_dim}"]
        text = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=True).stdout
        assert text.count("OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X") == count(path, OMMA_SF)
        assert "UBLKCP" in text
