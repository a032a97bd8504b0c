from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.errors import PublishError
from buildtool.publish.github import GitHubIssues, GitHubReleases
from buildtool.publish.release import Wheel
from buildtool.publish.staged import publish
from tests.integration.publish.fake_github import World, fake_github

pytestmark = pytest.mark.integration


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, Wheel]:
    made = {}
    for number in range(5):
        content = bytes([number]) * (1000 + number)
        path = tmp_path / f"w{number}.whl"
        path.write_bytes(content)
        made[path.name] = Wheel(path.name, hashlib.sha256(content).hexdigest(), len(content), "import")
    return made


@pytest.fixture
def server() -> Iterator[tuple[GitHubReleases, World]]:
    with fake_github() as (api, world):
        yield GitHubReleases("o/r", "secret", api, pause=0.01), world


def test_a_release_is_public_only_with_every_wheel(
    server: tuple[GitHubReleases, World], wheels: dict[str, Wheel], tmp_path: Path
) -> None:
    host, world = server
    release = publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    assert world.releases[release.id]["draft"] is False
    assert {name: hashlib.sha256(data).hexdigest() for name, data in world.content.items()} == {
        name: wheel.sha256 for name, wheel in wheels.items()
    }
    last_upload = max(i for i, call in enumerate(world.calls) if "/upload/" in call)
    switch = next(i for i, call in enumerate(world.calls) if call.startswith("PATCH"))
    assert switch > last_upload


def test_an_interrupted_release_stays_a_draft_and_is_continued(
    server: tuple[GitHubReleases, World], wheels: dict[str, Wheel], tmp_path: Path
) -> None:
    host, world = server
    # A busy server is waited for; an upload that is cut off ends the run.
    world.failures = [503, 502, 0]
    with pytest.raises(PublishError, match="cut off"):
        publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    (release,) = world.releases.values()
    assert release["draft"] is True
    publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    assert len(world.releases) == 1
    assert release["draft"] is False
    assert set(world.content) == set(wheels)
    again = len(world.calls)
    publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    assert not [call for call in world.calls[again:] if not call.startswith("GET")]


def test_other_bytes_are_refused(
    server: tuple[GitHubReleases, World], wheels: dict[str, Wheel], tmp_path: Path
) -> None:
    host, world = server
    draft = host.create_draft("v2.2.0", "v2.2.0", "notes")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "w0.whl").write_bytes(b"something else")
    host.upload(draft, tmp_path / "other" / "w0.whl")
    with pytest.raises(PublishError, match=r"other bytes under w0\.whl"):
        publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    assert world.releases[draft.id]["draft"] is True


def test_a_public_release_is_never_added_to(
    server: tuple[GitHubReleases, World], wheels: dict[str, Wheel], tmp_path: Path
) -> None:
    host, _ = server
    first = dict(list(wheels.items())[:2])
    publish(host, "v2.2.0", "notes", files=first, folder=tmp_path, say=lambda _: None)
    with pytest.raises(PublishError, match="public already and lacks"):
        publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)


def test_foreign_files_keep_a_draft_hidden(
    server: tuple[GitHubReleases, World], wheels: dict[str, Wheel], tmp_path: Path
) -> None:
    host, world = server
    draft = host.create_draft("v2.2.0", "v2.2.0", "notes")
    (tmp_path / "stray.whl").write_bytes(b"x")
    host.upload(draft, tmp_path / "stray.whl")
    with pytest.raises(PublishError, match=r"files of another plan: stray\.whl"):
        publish(host, "v2.2.0", "notes", files=wheels, folder=tmp_path, say=lambda _: None)
    assert world.releases[draft.id]["draft"] is True


def test_a_wrong_token_is_explained(wheels: dict[str, Wheel], tmp_path: Path) -> None:
    with fake_github() as (api, _), pytest.raises(PublishError, match="Bad credentials") as caught:
        publish(GitHubReleases("o/r", "wrong", api), "v1", "", files=wheels, folder=tmp_path, say=lambda _: None)
    assert "token" in caught.value.hint


def test_a_dead_server_is_given_up_with_a_clear_error() -> None:
    with fake_github() as (api, _):
        dead = api
    with pytest.raises(PublishError, match="no answer"):
        GitHubReleases("o/r", "secret", dead, pause=0.001).find("v1")


def test_an_issue_is_opened_once() -> None:
    with fake_github() as (api, world):
        issues = GitHubIssues("o/r", "secret", api)
        pages = [issues.open_once(title, "body") for title in ("a", "b", "c", "c", "a")]
        assert pages[3:] == [pages[2], pages[0]]
        assert len(world.issues) == 3
