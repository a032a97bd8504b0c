from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import CompileError
from buildtool.make.cubins import Resources, Target, archive, key, keys
from buildtool.make.nvrtc import Library, readable_log, workers
from buildtool.make.sources import closure
from buildtool.plan.instances import Instance
from buildtool.prove.ar import read_ar

LOG = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'k' for 'sm_90a'
ptxas info    : Function properties for k
ptxas         .     64 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 512 bytes smem
"""


def instance(source: str = "sage2/k.cu", value: str = "1") -> Instance:
    return Instance("k", "k", source, (("N", value), ("ENTRY", "k")), frozenset({"sm_90a"}), frozenset({"p"}))


def test_resources_are_those_of_ptxas() -> None:
    assert Resources.parse(LOG) == Resources(registers=168, stack=64, spill_stores=12, spill_loads=8, shared=512)
    assert Resources.parse("") == Resources(0, 0, 0, 0, 0)
    assert Resources.parse("ptxas info    : Used 168 registers").in_registers
    assert not Resources.parse(LOG).in_registers
    assert not Resources(registers=64, stack=128, spill_stores=0, spill_loads=0, shared=0).in_registers  # an array


names = st.from_regex(r"[a-z0-9_]{1,40}\.cubin", fullmatch=True)


@given(st.dictionaries(names, st.binary(max_size=50), max_size=6))
def test_archives_read_back_in_name_order(members: dict[str, bytes]) -> None:
    found = read_ar(archive(members))
    assert [(m.name, m.data) for m in found] == sorted(members.items())


def test_archives_do_not_depend_on_insertion_order() -> None:
    members = {"b.cubin": b"1", "a_name_longer_than_fifteen.cubin": b"22", "c.cubin": b""}
    assert archive(members) == archive(dict(reversed(list(members.items()))))


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_h", ".h").replace("_cu", ".cu")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_the_closure_follows_includes_and_names_what_is_not_there(tmp_path: Path) -> None:
    write(
        tmp_path,
        sage2__k_cu='#include <sage/a.h>\n  #  include "near.h"\n// #include <commented.h>\n#include <cuda_fp16.h>',
        sage2__near_h="",
        include__sage__a_h='#include "b.h"',
        include__sage__b_h="#include <sage/a.h>",
    )
    found = closure(tmp_path, "sage2/k.cu", ["include"])
    assert [name for name, _ in found.files] == ["include/sage/a.h", "include/sage/b.h", "sage2/k.cu", "sage2/near.h"]
    assert found.external == {"cuda_fp16.h"}


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"none\.cu"):
        closure(tmp_path, "none.cu", [])


def test_the_key_changes_with_everything_that_matters_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, sage2__k_cu="#include <sage/a.h>", include__sage__a_h="1", include__sage__other_h="1")
    before = closure(tmp_path, "sage2/k.cu", ["include"])
    library = Library(Path("lib"), Path("builtins"), "nvrtc==12.8.93")
    base = key(Target(instance(), "sm_90a", library), before)
    changed = [
        Target(instance(value="2"), "sm_90a", library),
        Target(instance(), "sm_80", library),
        Target(instance(), "sm_90a", Library(Path("lib"), Path("builtins"), "nvrtc==12.9.86")),
        Target(instance(), "sm_90a", library, lineinfo=True),
    ]
    assert base not in {key(target, before) for target in changed}
    write(tmp_path, include__sage__other_h="2")
    assert key(Target(instance(), "sm_90a", library), closure(tmp_path, "sage2/k.cu", ["include"])) == base
    assert keys([(instance(), "sm_90a", "nvrtc==12.8.93")], tmp_path) == [base]
    write(tmp_path, include__sage__a_h="2")
    assert key(Target(instance(), "sm_90a", library), closure(tmp_path, "sage2/k.cu", ["include"])) != base


def test_messages_name_the_file_in_the_tree() -> None:
    log = 'sage2/k.cu(12): error: identifier "x" is undefined\ninclude/sage/a.h(3): warning #1-D: y'
    assert readable_log(log).splitlines() == [
        'kernels/sage2/k.cu:12: error: identifier "x" is undefined',
        "kernels/include/sage/a.h:3: warning #1-D: y",
    ]


@pytest.mark.parametrize(("cores", "free", "count"), [(2, 64 << 30, 2), (64, 3 << 30, 4), (8, 0, 1)])
def test_workers_by_cores_and_memory(cores: int, free: int, count: int) -> None:
    assert workers(cores, free) == count
