"""Development sessions. Each forwards to `python -m buildtool`, pytest or the linters; `nox -l` lists them."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
ROOT = Path(__file__).parent
NO_TESTS = 5
"""pytest's exit code when a filter leaves none."""


def install(session: nox.Session, *groups: str, more: Sequence[str] = ()) -> None:
    session.install(*nox.project.dependency_groups(PROJECT, *groups), *more)


def buildtool(session: nox.Session, command: str) -> None:
    install(session, "buildtool")
    session.run("python", "-m", "buildtool", command, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build and verify wheels: nox -s build -- torch=2.8 cuda=12.8"""
    buildtool(session, "build")


@nox.session
def plan(session: nox.Session) -> None:
    """Show what a selection would build: nox -s plan -- set=release"""
    buildtool(session, "plan")


@nox.session
def verify(session: nox.Session) -> None:
    """Verify wheels: nox -s verify -- dist/*.whl"""
    buildtool(session, "verify")


@nox.session
def cubins(session: nox.Session) -> None:
    """Compile kernels only: nox -s cubins -- --arch sm_90a cuda=13.0"""
    buildtool(session, "cubins")


@nox.session
def ci_matrix(session: nox.Session) -> None:
    """Print the rows of CI's job matrices: nox -s ci_matrix -- set=release"""
    buildtool(session, "ci-matrix")


@nox.session
def render(session: nox.Session) -> None:
    """Write every file that follows from matrix.toml: nox -s render -- --check"""
    buildtool(session, "render")


@nox.session
def rendered(session: nox.Session) -> None:
    """Compare rendered files with the matrix, and run the linters of their formats"""
    install(session, "tests", "formats")
    session.run("python", "-m", "buildtool", "render", "--check")
    session.run("python", "-m", "pytest", "tests/integration/render", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Plan, check, tag, describe and publish a release: nox -s release -- plan"""
    buildtool(session, "release")


@nox.session
def attest(session: nox.Session) -> None:
    """Sign wheels; each gets an attestation (PEP 740) beside it: nox -s attest -- dist/*.whl"""
    install(session, "attest")
    session.run("python", "-m", "pypi_attestations", "sign", *session.posargs)


@nox.session
def index(session: nox.Session) -> None:
    """Make a package index of verified wheels: nox -s index -- dist --out site"""
    buildtool(session, "index")


@nox.session
def rehearse(session: nox.Session) -> None:
    """Rehearse a release of what is committed, in a clean clone; writes the transcript into docs/releasing.md"""
    install(session, "buildtool")
    session.run("python", "docs/rehearse.py", env={"PYTHONPATH": str(ROOT)})


@nox.session
def watch(session: nox.Session) -> None:
    """Look for builds of PyTorch that the matrix does not have"""
    buildtool(session, "watch")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite without a GPU: nox -s tests -- -k store; TESTS_WITH="torch triton" installs these too

    What needs PyTorch, Triton, Chromium or a container engine is skipped where there is none.
    """
    install(session, "tests", more=os.environ.get("TESTS_WITH", "").split())
    words = ("-m", "not gpu and not versions", *session.posargs)
    session.run("python", "-m", "pytest", *words, env={"TRITON_INTERPRET": "1"})  # whoever imports Triton first


@nox.session
def versions(session: nox.Session) -> None:
    """Test the Triton kernels with the Triton of every PyTorch in the matrix: TESTS_WITH=torch nox -s versions"""
    install(session, "tests", more=os.environ.get("TESTS_WITH", "").split())
    session.run("python", "-m", "pytest", "-m", "versions", *session.posargs)


@nox.session
def containers(session: nox.Session) -> None:
    """Build wheels in containers and compare them with native ones; pulls the image unless BUILDTOOL_IMAGE names one"""
    install(session, "tests")
    if "BUILDTOOL_IMAGE" not in os.environ:
        images = [platform.get("container") for platform in nox.project.load_toml("matrix.toml")["platform"].values()]
        for image in filter(None, images):
            session.run(os.environ.get("BUILDTOOL_ENGINE", "docker"), "pull", image, external=True)
    session.run("python", "-m", "pytest", "tests/integration/containers", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types, and that generated files are up to date"""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("python", "-m", "buildtool", "render", "--check")
    session.run("python", "-m", "buildtool", "pins", "--check", "torch=2.8", "cuda=12.8")
    session.run("python", "-m", "buildtool", "lock", "--check", "set=release")


def with_wheels(session: nox.Session, python: str, wheels: Sequence[Path], folder: str) -> dict[str, str]:
    """The environment in which ``python`` imports these wheels, unpacked into a folder."""
    env = dict(os.environ)
    if wheels:
        target = str(Path(folder, "site"))
        pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target)
        session.run(python, *pip, *(str(wheel.absolute()) for wheel in wheels))
        env["PYTHONPATH"] = os.pathsep.join([target, *filter(None, [env.get("PYTHONPATH")])])
    return env


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Build the wheel for the PyTorch that is here, then measure attention on this GPU: nox -s bench -- --grid

    With --wheel dist/NAME.whl nothing is built. Other words go to bench/attention.py.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheel", type=Path)
    given, words = parser.parse_known_args(session.posargs)
    python = sys.executable if importlib.util.find_spec("torch") else "python"
    with tempfile.TemporaryDirectory() as folder:
        wheel = given.wheel
        if wheel is None:
            look = (
                "import sys, torch; print(torch.__version__.split('+')[0], torch.version.cuda, *sys.version_info[:2])"
            )
            torch, cuda, *release = str(session.run(python, "-c", look, silent=True)).split()
            cell = (f"torch={torch}", f"cuda={cuda}", f"python={'.'.join(release)}", "package=sageattention")
            session.run(sys.executable, "-m", "nox", "-s", "build", "--", *cell, "--out", folder)
            (wheel,) = Path(folder).glob("*.whl")
        env = with_wheels(session, python, [wheel], folder)
        session.run(python, "bench/attention.py", *words, env=env)


@nox.session(venv_backend="none")
def gpu_tests(session: nox.Session) -> None:
    """Run the GPU tests against the installed wheel, or one: nox -s gpu_tests -- --wheel dist/NAME.whl --record FILE

    The tests marked `alone` run one after another at the end, the others in several processes if pytest-xdist is there.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheel", type=Path, action="append", default=[])
    for option in ("--record", "--comfyui"):
        parser.add_argument(option, type=Path)
    given, words = parser.parse_known_args(session.posargs)
    python = sys.executable if importlib.util.find_spec("torch") else "python"
    files = [(f"--{name}", path) for name, path in (("record", given.record), ("comfyui", given.comfyui)) if path]
    words += [word for option, path in files for word in (option, str(path.absolute()))]
    options = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-o", "pythonpath=", "-p", "no:benchmark")
    with tempfile.TemporaryDirectory() as folder:
        env = with_wheels(session, python, given.wheel, folder)
        look = "import importlib.util as util; print(util.find_spec('xdist') is not None)"
        at_once = str(session.run(python, "-c", look, silent=True)).strip() == "True"
        processes = ("-n", str(min(8, (os.cpu_count() or 2) // 2)), "--dist", "worksteal") if at_once else ()
        # Neither the working directory nor pytest may put the source tree on the path: the wheel is what is tested.
        session.chdir(folder)
        failed = []
        for mark, more in (("gpu and not alone", processes), ("gpu and alone", ("--append",))):
            command = (python, "-m", "pytest", *options, "-m", mark, *more, str(ROOT / "tests" / "gpu"), *words)
            try:
                session.run(*command, env=env, success_codes=(0, NO_TESTS))
            except nox.command.CommandFailed:
                failed.append(mark)
    if failed:
        session.error(f"tests failed among those marked {' and those marked '.join(failed)}")
