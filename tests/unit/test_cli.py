from __future__ import annotations

import argparse
import socket
import subprocess
from types import ModuleType

import pytest

from buildtool import cli, errors
from buildtool.commands.registry import Commands
from buildtool.console import Console

KINDS: list[type[errors.BuildToolError]] = [errors.BuildToolError, *errors.BuildToolError.__subclasses__()]


def module_with(run: object) -> ModuleType:
    module = ModuleType("fake")
    module.register = lambda commands: commands.add("fake", run, "A command of a test.", selection=True)  # type: ignore[attr-defined]
    return module


def run_cli(monkeypatch: pytest.MonkeyPatch, run: object, *argv: str) -> int:
    monkeypatch.setattr(cli, "COMMANDS", (module_with(run),))
    return cli.main(["fake", *argv])


def test_error_becomes_message_hint_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_args: argparse.Namespace, _console: Console) -> None:
        raise errors.StaleError("a.txt differs", "run `buildtool render`")

    assert run_cli(monkeypatch, run) == errors.StaleError.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: a.txt differs\n  fix: run `buildtool render`\n"


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_args: argparse.Namespace, _console: Console) -> None:
        raise KeyboardInterrupt

    assert run_cli(monkeypatch, run) == 130


@pytest.mark.parametrize(("argv", "verbosity"), [([], 0), (["-q"], -1), (["-v"], 1), (["-vv"], 2)])
@pytest.mark.parametrize("before", [True, False])
def test_verbosity_stands_on_either_side(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], verbosity: int, *, before: bool
) -> None:
    seen: list[int] = []

    def run(_args: argparse.Namespace, console: Console) -> int:
        seen.append(console.verbosity)
        return 0

    monkeypatch.setattr(cli, "COMMANDS", (module_with(run),))
    assert cli.main([*argv, "fake"] if before else ["fake", *argv]) == 0
    assert seen == [verbosity]


@pytest.mark.parametrize("argv", [["torch=2.8", "-v", "cuda=12.8"], ["-v", "torch=2.8", "cuda=12.8"]])
def test_a_selection_stands_anywhere(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    seen: list[list[str]] = []
    assert run_cli(monkeypatch, lambda args, _: seen.append(args.selection), *argv) == 0
    assert seen == [["torch=2.8", "cuda=12.8"]]


@pytest.mark.parametrize("argv", [["--torch=2.8"], ["torch=2.8", "-v", "cuda"]])
def test_other_words_are_refused(monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_cli(monkeypatch, lambda *_: None, *argv)
    assert caught.value.code == 2


def test_help_documents_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n  {kind.exit_code:>3}  " in text


def test_every_error_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_commands_register_selection() -> None:
    parser = argparse.ArgumentParser()
    Commands(parser).add("x", lambda _args, _console: 0, "About x.", selection=True)
    assert parser.parse_args(["x", "torch=2.8", "cuda=12.8"]).selection == ["torch=2.8", "cuda=12.8"]


def test_plain_table_keeps_long_names_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    name = "sageattention-2.2.0-280.128-cp312-cp312-manylinux_2_28_x86_64.whl"
    Console().table("cells", ["wheel", "archs"], [[name, "sm_80"], ["short", "sm_90a"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["wheel", "archs"], [name, "sm_80"], ["short", "sm_90a"]]


def test_unit_tests_cannot_leave_the_process() -> None:
    with pytest.raises(AssertionError, match="outside world"):
        subprocess.Popen(["true"])
    with socket.socket() as sock, pytest.raises(AssertionError, match="outside world"):
        sock.connect(("127.0.0.1", 9))
