"""The calls of GitHub's REST API that releases and reports need (docs.github.com, "REST API endpoints")."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from buildtool.errors import PublishError
from buildtool.publish.release import Asset
from buildtool.publish.staged import Release

API = "https://api.github.com"
_ATTEMPTS = 4
_FIRST_PAUSE = 1.0
_TIMEOUT = (10, 600)
_TRANSIENT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, 500, 502, 503, 504})


class GitHub:
    """One repository over GitHub's API.

    ``repository`` is ``owner/name``. Transient failures (no answer, 429, 5xx) are tried again with growing pauses;
    anything else is a PublishError that quotes GitHub's message.
    """

    def __init__(self, repository: str, token: str, api: str = API, pause: float = _FIRST_PAUSE) -> None:
        self._base = f"{api.rstrip('/')}/repos/{repository}"
        self._pause = pause
        self._session = requests.Session()
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
            }
        )

    def _pages(self, url: str) -> Iterator[Any]:
        next_url: str | None = url
        params: dict[str, Any] | None = {"per_page": 100}
        while next_url:
            answer = self._call("GET", next_url, params=params)
            yield from answer.json()
            next_url = answer.links.get("next", {}).get("url")
            params = None

    def _call(self, method: str, url: str, **options: Any) -> requests.Response:
        trouble = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            if (stream := options.get("data")) is not None:
                stream.seek(0)
            try:
                answer = self._session.request(method, url, timeout=_TIMEOUT, **options)
            except requests.RequestException as error:
                trouble = f"no answer ({type(error).__name__})"
                continue
            if answer.status_code in _TRANSIENT:
                trouble = f"{answer.status_code} {answer.reason}"
                continue
            if answer.ok:
                return answer
            raise PublishError(
                f"GitHub refused {method} {url}: {answer.status_code} {_message(answer)}",
                "check the repository's name, and that the token may write contents or issues",
            )
        raise PublishError(
            f"GitHub did not take {method} {url} in {_ATTEMPTS} attempts: {trouble}",
            "run the same command again: it goes on with what is missing",
        )


class GitHubReleases(GitHub):
    """:class:`Releases` over GitHub's API; the token needs "contents: write"."""

    def find(self, tag: str) -> Release | None:
        """The release of ``tag``, drafts included (GitHub's by-tag call does not see drafts)."""
        for row in self._pages(f"{self._base}/releases"):
            if row["tag_name"] == tag:
                return _release(row)
        return None

    def create_draft(self, tag: str, title: str, notes: str) -> Release:
        body = {"tag_name": tag, "name": title, "body": notes, "draft": True}
        return _release(self._call("POST", f"{self._base}/releases", json=body).json())

    def assets(self, release: Release) -> tuple[Asset, ...]:
        rows = self._pages(f"{self._base}/releases/{release.id}/assets")
        return tuple(
            Asset(
                id=row["id"],
                name=row["name"],
                size=row["size"],
                sha256=(row.get("digest") or "").removeprefix("sha256:"),
                complete=row["state"] == "uploaded",
            )
            for row in rows
        )

    def upload(self, release: Release, path: Path) -> None:
        with path.open("rb") as stream:
            self._call(
                "POST",
                release.upload_url,
                params={"name": path.name},
                data=stream,
                headers={"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)},
            )

    def delete_asset(self, asset: int) -> None:
        self._call("DELETE", f"{self._base}/releases/assets/{asset}")

    def publish(self, release: Release, notes: str) -> None:
        self._call("PATCH", f"{self._base}/releases/{release.id}", json={"draft": False, "body": notes})


class GitHubIssues(GitHub):
    """Issues of a repository; the token needs "issues: write"."""

    def open_once(self, title: str, body: str) -> str:
        """Open an issue unless an open one has this title; returns its page."""
        for row in self._pages(f"{self._base}/issues"):
            if row["title"] == title and "pull_request" not in row:
                return str(row["html_url"])
        return str(self._call("POST", f"{self._base}/issues", json={"title": title, "body": body}).json()["html_url"])


def _message(answer: requests.Response) -> str:
    try:
        document = answer.json()
    except requests.JSONDecodeError:
        return answer.reason or ""
    return str(document.get("message", "")) if isinstance(document, Mapping) else ""


def _release(row: Mapping[str, Any]) -> Release:
    return Release(
        id=row["id"],
        tag=row["tag_name"],
        draft=row["draft"],
        upload_url=row["upload_url"].partition("{")[0],
        url=row["html_url"],
    )
