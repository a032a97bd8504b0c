"""A release host on the loopback interface that behaves as GitHub's API does, and fails on demand."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

PAGE = 2
"""Rows a page, far fewer than GitHub's, so that paging is exercised."""


@dataclass
class World:
    """What the host holds, and what goes wrong next."""

    releases: dict[int, dict[str, Any]] = field(default_factory=dict)
    assets: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    """Status codes with which the next uploads are refused; 0 cuts the upload off and leaves a broken asset."""
    calls: list[str] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))


class Handler(BaseHTTPRequestHandler):
    world: ClassVar[World]
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep the test output clean."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        world, url = self.world, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        world.calls.append(f"{method} {url.path}")
        if self.headers["Authorization"] != "Bearer secret":
            self._answer(401, {"message": "Bad credentials"})
        elif (method, url.path) == ("GET", "/repos/o/r/releases"):
            self._page(list(world.releases.values()), url.query)
        elif (method, url.path) == ("POST", "/repos/o/r/releases"):
            number = next(world.ids)
            upload = f"http://{self.headers['Host']}/upload/{number}{{?name,label}}"
            page = f"http://{self.headers['Host']}/releases/{number}"
            world.releases[number] = {"id": number, "upload_url": upload, "html_url": page, **json.loads(body)}
            world.assets[number] = []
            self._answer(201, world.releases[number])
        elif (method, url.path) == ("GET", "/repos/o/r/issues"):
            self._page(world.issues, url.query)
        elif (method, url.path) == ("POST", "/repos/o/r/issues"):
            world.issues.append({**json.loads(body), "html_url": f"issue/{next(world.ids)}"})
            self._answer(201, world.issues[-1])
        elif match := re.fullmatch(r"/repos/o/r/releases/(\d+)/assets", url.path):
            self._page(world.assets[int(match[1])], url.query)
        elif match := re.fullmatch(r"/upload/(\d+)", url.path):
            self._upload(int(match[1]), parse_qs(url.query)["name"][0], body)
        elif match := re.fullmatch(r"/repos/o/r/releases/assets/(\d+)", url.path):
            for rows in world.assets.values():
                rows[:] = [row for row in rows if row["id"] != int(match[1])]
            self._answer(204, None)
        elif match := re.fullmatch(r"/repos/o/r/releases/(\d+)", url.path):
            world.releases[int(match[1])].update(json.loads(body))
            self._answer(200, world.releases[int(match[1])])
        else:
            self._answer(404, {"message": "Not Found"})

    def _upload(self, release: int, name: str, body: bytes) -> None:
        rows = self.world.assets[release]
        failure = self.world.failures.pop(0) if self.world.failures else None
        row = {"id": next(self.world.ids), "name": name, "size": len(body), "state": "uploaded"}
        if failure == 0:
            rows.append({**row, "size": 0, "state": "starter"})
            self._answer(422, {"message": "upload was cut off"})
        elif failure is not None:
            self._answer(failure, {"message": "trouble"})
        elif any(held["name"] == name for held in rows):
            self._answer(422, {"message": "Validation Failed"})
        else:
            rows.append({**row, "digest": f"sha256:{hashlib.sha256(body).hexdigest()}"})
            self.world.content[name] = body
            self._answer(201, row)

    def _page(self, rows: list[dict[str, Any]], query: str) -> None:
        page = int(parse_qs(query).get("page", ["1"])[0])
        headers = {}
        if len(rows) > page * PAGE:
            path = urlsplit(self.path).path
            headers["Link"] = f'<http://{self.headers["Host"]}{path}?page={page + 1}>; rel="next"'
        self._answer(200, rows[(page - 1) * PAGE : page * PAGE], headers)

    def _answer(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        payload = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(payload)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)


@contextmanager
def fake_github() -> Iterator[tuple[str, World]]:
    """Serve a fresh world; yields the API's base URL and the world."""
    world = World()
    handler = type("BoundHandler", (Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", world
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
