"""The project's git checkout, as far as a release asks for it."""

from __future__ import annotations

from pathlib import Path

from buildtool.errors import PublishError
from buildtool.make.runner import Runner


class Checkout:
    """Git in ``root``, through the runner. Every failure is a PublishError with git's own words."""

    def __init__(self, root: Path, runner: Runner) -> None:
        self._root = root
        self._runner = runner

    def tags(self, remote: str | None = None) -> frozenset[str]:
        """Tag names here, or at ``remote``."""
        if remote is None:
            return frozenset(self._git("tag", "--list").split())
        lines = self._git("ls-remote", "--tags", "--refs", remote).splitlines()
        return frozenset(line.rpartition("refs/tags/")[2] for line in lines)

    def dirty(self) -> tuple[str, ...]:
        """Tracked files that differ from the last commit."""
        return tuple(self._git("diff", "--name-only", "HEAD").splitlines())

    def tag(self, name: str, message: str) -> bool:
        """Make an annotated tag on the last commit, signed if git has a signing key; True if it was signed."""
        key = self._runner.run(["git", "config", "user.signingkey"], cwd=self._root)
        signed = bool(key.stdout.strip())
        self._git("tag", "--sign" if signed else "--annotate", "--message", message, name)
        return signed

    def push_tag(self, name: str, remote: str) -> None:
        """Push one tag; git refuses to move a tag that exists there."""
        self._git("push", remote, f"refs/tags/{name}:refs/tags/{name}")

    def _git(self, *words: str) -> str:
        result = self._runner.run(["git", *words], cwd=self._root)
        if result.returncode:
            said = result.stderr.strip().splitlines()
            raise PublishError(f"git {' '.join(words)} failed: {said[-1] if said else result.returncode}")
        return result.stdout
