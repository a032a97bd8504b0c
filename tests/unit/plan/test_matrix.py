from __future__ import annotations

import json
import time
import tomllib
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from buildtool.commands.planning import schema_text
from buildtool.errors import ConfigError, Fault, UsageError
from buildtool.plan.matrix import Matrix, load_matrix, parse_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.tags import minor_of


def faults_of(text: str) -> list[Fault]:
    with pytest.raises(ConfigError) as caught:
        parse_matrix(text)
    return list(caught.value.faults)


def line_with(text: str, snippet: str) -> int:
    return text[: text.index(snippet)].count("\n") + 1


def swap(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
    return text.replace(old, new)


def test_all_has_133_cells_a_platform(matrix: Matrix) -> None:
    assert Counter(combo.platform for combo in matrix.sets["all"]) == {"linux_x86_64": 133, "win_amd64": 133}


def test_all_has_one_release_of_each_minor(matrix: Matrix) -> None:
    assert sorted({combo.torch for combo in matrix.sets["all"]}) == sorted(f"2.{minor}.0" for minor in range(5, 15))


def test_release_keeps_its_promise(matrix: Matrix) -> None:
    got = {(c.torch, c.cuda, c.python, c.platform) for c in matrix.sets["release"]}
    assert got == {
        (torch, "12.8", "3.12", platform)
        for torch in ("2.7.0", "2.8.0", "2.9.0")
        for platform in ("linux_x86_64", "win_amd64")
    }


def test_small_sets(matrix: Matrix) -> None:
    assert {(c.torch, c.cuda, c.platform) for c in matrix.sets["default"]} == {
        ("2.8.0", "12.8", "linux_x86_64"),
        ("2.8.0", "12.9", "linux_x86_64"),
    }
    assert [(c.torch, c.cuda, c.python) for c in matrix.sets["h200"]] == [("2.11.0", "13.0", "3.12")]


def test_arm_cells_are_those_pytorch_has(matrix: Matrix) -> None:
    arm = [combo for combo in matrix.combos if combo.platform == "linux_aarch64"]
    assert {combo.cuda for combo in arm} == {"13.0", "13.2"}
    assert min(int(combo.torch.split(".")[1]) for combo in arm) == 11


def test_every_wheel_has_a_name_of_its_own(matrix: Matrix) -> None:
    names = Counter(cell.wheel for cell in make_plan(matrix, matrix.combos).cells)
    assert [name for name, count in names.items() if count > 1] == []


def test_axis_values_are_in_version_order(matrix: Matrix) -> None:
    assert list(map(minor_of, matrix.values("torch")))[-1] == "2.15"
    assert matrix.values("python")[:2] == ("3.9", "3.10")


def test_schema_accepts_the_matrix_and_is_committed(matrix_text: str, root: Path) -> None:
    assert (root / "docs/matrix.schema.json").read_text("utf-8") == schema_text()
    jsonschema.validate(tomllib.loads(matrix_text), json.loads(schema_text()))


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_matrix(tmp_path / "matrix.toml")


def test_ten_thousand_combos_load_in_under_a_second(matrix_text: str) -> None:
    text = matrix_text
    for minor in range(20, 220):
        text += f'[torch."3.{minor}"]\nreleases = ["3.{minor}.0"]\npypi_cuda = "12.8"\ncxx_standard = 20\n'
        text += 'pythons = ["3.10", "3.11", "3.12", "3.13", "3.14"]\ncuda = ["12.6", "12.8", "13.0", "13.2"]\n'
    start = time.process_time()
    matrix = parse_matrix(text)
    assert time.process_time() - start < 1.0
    assert len(matrix.combos) > 10_000


def test_syntax_error_has_its_line() -> None:
    [fault] = faults_of('a = 1\nb = "open\n')
    assert fault.line == 2
    assert "not valid TOML" in fault.message


@pytest.mark.parametrize(
    ("old", "new", "key", "message", "remedy"),
    [
        (
            'nvrtc = "nvidia-cuda-nvrtc-cu12==12.8.93"',
            'nvrtcs = "x"',
            'cuda."12.8".nvrtcs',
            "unknown key",
            "mean nvrtc?",
        ),
        ('nvrtc = "nvidia-cuda-nvrtc-cu12==12.8.93"', "", 'cuda."12.8".nvrtc', "missing", "add it: The compiler"),
        (
            'nvrtc = "nvidia-cuda-nvrtc-cu12==12.8.93"',
            'nvrtc = "nvidia-cuda-nvrtc-cu12>=12.8"',
            'cuda."12.8".nvrtc',
            "malformed value",
            "write it like nvidia-cuda-nvrtc-cu12==12.8.93",
        ),
        (
            'nvrtc = "nvidia-cuda-nvrtc-cu12==12.8.93"',
            'nvrtc = "nvidia-cuda-nvrtc-cu12==12.9.86"',
            'cuda."12.8".nvrtc',
            "is not CUDA 12.8's package",
            "pin nvidia-cuda-nvrtc-cu12==12.8.",
        ),
        (
            'torch = "2.8", cuda = "12.9"',
            'torch = "2.8", cuda = 12.9',
            "set.container.include[0].cuda",
            "valid list",
            "",
        ),
        (
            'torch = "2.8", cuda = "12.9"',
            'torch = "2.8", cuda = "13.0"',
            "set.container.include[0].cuda[0]",
            "PyTorch 2.8 was never built for CUDA 13.0",
            "it has 12.6, 12.8, 12.9",
        ),
        (
            'torch = "2.8", cuda = "12.9"',
            'torch = "2.88", cuda = "12.9"',
            "set.container.include[0].torch[0]",
            "no torch 2.88 is declared",
            "did you mean 2.8?",
        ),
        (
            '"sm_90a", "sm_100", "sm_120a"]',
            '"sm_90a", "sm_100f", "sm_120a"]',
            'cuda."12.8".archs.x86_64[4]',
            "CUDA 12.8 cannot target it, CUDA 12.9 is the first that can",
            "usable here: sm_80",
        ),
        (
            '"sm_90a", "sm_100", "sm_120a"]',
            '"sm_90", "sm_100", "sm_120a"]',
            'cuda."12.8".archs.x86_64[3]',
            "no such architecture is declared",
            "did you mean sm_90a?",
        ),
        (
            'releases = ["2.8.0"]',
            'releases = ["2.9.2"]',
            'torch."2.8".releases[0]',
            "is no release of 2.8",
            "move it to",
        ),
        ('releases = ["2.8.0"]', 'releases = ["2.8.0", "2.8.0"]', 'torch."2.8".releases[1]', "listed twice", "delete"),
        ('releases = ["2.8.0"]', "releases = []", 'torch."2.8".releases', "at least 1 item", "Patches"),
        (
            'experimental_cuda = ["12.9"]',
            'experimental_cuda = ["12.7"]',
            'torch."2.8".experimental_cuda[0]',
            "no CUDA 12.7 is declared",
            "did you mean",
        ),
        (
            'container = "quay.io/',
            'contain = "quay.io/',
            "platform.manylinux_2_28_x86_64.contain",
            "unknown key",
            "did you mean container?",
        ),
        ("@sha256:e0adf185", "@sha256:", "platform.manylinux_2_28_x86_64.container", "malformed", "@sha256:<64"),
        (
            "[platform.linux_aarch64]",
            "[platform.manylinux_2_28_aarch64]",
            "platform.manylinux_2_28_aarch64.container",
            "does not fit",
            "image",
        ),
        ('os = "windows"', 'os = "linux"', "platform.win_amd64", "is not a tag of linux", ""),
        ('version = "2.2.0"', "version = 2.2", "package.sageattention.version", "expected a string", 'quote it: "2.2"'),
    ],
)
def test_faults_say_where_what_and_how_to_fix(
    matrix_text: str, old: str, new: str, key: str, message: str, remedy: str
) -> None:
    text = swap(matrix_text, old, new)
    [fault] = [fault for fault in faults_of(text) if fault.key == key]
    assert message in fault.message
    assert remedy in fault.hint
    line = text.splitlines()[(fault.line or 0) - 1]
    last = key.rsplit(".", 1)[-1].split("[", maxsplit=1)[0].strip('"')
    if fault.message != "missing":
        assert last in line or new in line


def test_a_fault_has_the_line_of_its_value(matrix_text: str) -> None:
    text = swap(matrix_text, 'torch = "2.8", cuda = "12.9"', 'torch = "2.8", cuda = "13.2"')
    [fault] = faults_of(text)
    assert fault.line == line_with(text, 'cuda = "13.2", python')


def test_one_run_reports_every_fault(matrix_text: str) -> None:
    text = swap(matrix_text, 'releases = ["2.8.0"]', 'releases = ["2.9.2"]')
    text = swap(text, 'experimental_cuda = ["12.9"]', 'experimental_cuda = ["12.7"]')
    text = swap(text, 'os = "windows"', 'os = "linux"')
    text = swap(text, '"sm_90a", "sm_100", "sm_120a"]', '"sm_91", "sm_100", "sm_121a"]')
    faults = faults_of(text)
    assert len(faults) == 5
    assert [fault.line for fault in faults] == sorted(fault.line or 0 for fault in faults)


def test_releases_that_spell_one_build_tag_collide(matrix_text: str) -> None:
    text = matrix_text + (
        '[torch."2.1"]\nreleases = ["2.1.10"]\npythons = ["3.10"]\n'
        'cuda = ["12.6"]\npypi_cuda = "12.6"\ncxx_standard = 17\n'
    )
    [fault] = faults_of(text)
    assert fault.value == "2110.126"
    assert "torch 2.11.0 with CUDA 12.6" in fault.message
    assert fault.line == line_with(text, 'releases = ["2.1.10"]')


def test_packages_whose_wheels_share_a_name_collide(matrix_text: str) -> None:
    text = matrix_text + '[package.SageAttention]\nversion = "2.2.0"\npyproject = "other/pyproject.toml"\n'
    [fault] = faults_of(text)
    assert "wheels would have the names of sageattention's" in fault.message


def test_an_empty_set_and_an_idle_exclusion(matrix_text: str) -> None:
    text = matrix_text + (
        '[set.none]\nabout = "empty"\ninclude = [{ torch = "2.5", platform = "linux_aarch64" }]\n'
        '[set.idle]\nabout = "idle"\ninclude = [{ torch = "2.8" }]\nexclude = [{ torch = "2.9", reason = "none" }]\n'
    )
    assert [(fault.key, fault.message) for fault in faults_of(text)] == [
        ("set.none", "is empty"),
        ("set.idle.exclude[0]", "leaves out nothing"),
    ]


def test_an_exclusion_without_a_reason(matrix_text: str) -> None:
    text = matrix_text + '[set.x]\nabout = "x"\ninclude = [{}]\nexclude = [{ torch = "2.9" }]\n'
    [fault] = faults_of(text)
    assert (fault.key, fault.message) == ("set.x.exclude[0].reason", "missing")


def test_exclusions_leave_out_their_product(matrix_text: str) -> None:
    text = matrix_text + (
        '[set.x]\nabout = "x"\ninclude = [{ package = "sageattention", torch = "2.8", platform = "linux_x86_64" }]\n'
        'exclude = [{ cuda = "12.9", python = ["3.9", "3.10"], reason = "because" }]\n'
    )
    cells = parse_matrix(text).sets["x"]
    assert len(cells) == 15 - 2
    assert not [c for c in cells if c.cuda == "12.9" and c.python in ("3.9", "3.10")]


def test_a_package_of_newer_cudas_is_one_table(matrix_text: str) -> None:
    matrix = parse_matrix(matrix_text)
    assert {c.package for c in matrix.sets["default"]} == {"sageattention", "sageattn3"}
    assert {c.package for c in matrix.sets["fp4-all"]} == {"sageattn3"}
    new = [cell for cell in make_plan(matrix, matrix.combos).cells if cell.combo.package == "sageattn3"]
    assert {cell.combo.cuda for cell in new} == {"12.8", "12.9", "13.0", "13.2"}
    assert {cell.archs for cell in new} == {("sm_120a",), ("sm_120f",)}
