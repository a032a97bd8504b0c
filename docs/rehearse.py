"""A release rehearsed in a clean clone with a bare remote of its own; the transcript goes into docs/releasing.md.

    nox -s rehearse

The clone has what is committed, and nothing else. If a step fails, its output is shown and nothing is written.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from buildtool.render.text import replace_section

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/releasing.md")
SELECTION = ("set=release", "platform=linux_x86_64")  # Windows wheels are built on Windows

STEPS: tuple[tuple[str, ...], ...] = (
    ("python", "-m", "buildtool", "release", "plan", *SELECTION),
    ("python", "-m", "buildtool", "-q", "build", *SELECTION),
    ("python", "-m", "buildtool", "verify", "--level", "import", "dist/*.whl"),
    ("python", "-m", "buildtool", "release", "check", *SELECTION),
    ("python", "-m", "buildtool", "release", "notes", *SELECTION),
    ("python", "-m", "buildtool", "release", "tag", "--push", *SELECTION),
    ("git", "ls-remote", "--tags", "--refs", "origin"),
    ("python", "-m", "buildtool", "release", "publish", "--dry-run", *SELECTION),
    ("git", "status", "--short"),
)


def git(folder: Path, *words: str | Path) -> None:
    subprocess.run(("git", *words), cwd=folder, check=True, capture_output=True)


def clone(folder: Path) -> Path:
    """A clean clone of what is committed here, with an empty bare repository as its origin."""
    project = folder / "project"
    git(folder, "init", "--quiet", "--bare", "remote.git")
    git(folder, "clone", "--quiet", ROOT, project)
    git(project, "remote", "set-url", "origin", folder / "remote.git")
    for key, value in (
        ("user.name", "Rehearsal"),
        ("user.email", "rehearsal@example.invalid"),
        ("user.signingkey", ""),
    ):
        git(project, "config", key, value)
    git(project, "push", "--quiet", "origin", "HEAD:main")
    return project


def take(project: Path, step: tuple[str, ...]) -> tuple[str, int]:
    """One command as it would look in a shell, with its results; what is said on the way only if it fails."""
    names = [
        sorted(path.relative_to(project).as_posix() for path in project.glob(w)) if "*" in w else [w] for w in step
    ]
    argv = [sys.executable if word == "python" else word for words in names for word in words]
    done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    said = done.stdout + (done.stderr if done.returncode else "")
    shown = " ".join(word if "*" in word else shlex.quote(word) for word in step)
    return f"$ {shown}\n{said}".rstrip() + "\n", done.returncode


def main() -> int:
    transcript: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        project = clone(Path(name))
        for step in STEPS:
            text, code = take(project, step)
            sys.stderr.write(text + "\n")
            transcript.append(text)
            if code:
                return code
    page = (ROOT / PAGE).read_text("utf-8")
    section = "```\n" + "\n".join(transcript) + "```"
    (ROOT / PAGE).write_text(replace_section(page, "rehearsal", section, PAGE.as_posix()), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
