"""Development sessions. Each forwards to `python -m buildtool`, pytest or the linters; `nox -l` lists them."""

from __future__ import annotations

import os
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
    session.run("python", "-m", "pytest", "-m", "not gpu", *session.posargs)


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


@nox.session(venv_backend="none")
def gpu_tests(session: nox.Session) -> None:
    """Run the GPU tests against the installed wheel, or against one: nox -s gpu_tests -- --wheel dist/NAME.whl"""
    words = list(session.posargs)
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ)
        while "--wheel" in words:
            at = words.index("--wheel")
            wheel = str(Path(words[at + 1]).absolute())
            del words[at : at + 2]
            target = str(Path(folder, "site"))
            pip = ("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
            session.run(*pip, "--target", target, wheel)
            env["PYTHONPATH"] = os.pathsep.join([target, *filter(None, [env.get("PYTHONPATH")])])
        # Neither the working directory nor pytest may put the source tree on the path: the wheel is what is tested.
        session.chdir(folder)
        options = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-o", "pythonpath=", "-m", "gpu")
        session.run("python", "-m", "pytest", *options, str(ROOT / "tests" / "gpu"), *words, env=env)
