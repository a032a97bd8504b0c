"""TOML documents, and where each key of one stands: key path → line. tomllib parses, but does not say where."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from buildtool.errors import ConfigError, Fault

KeyPath = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r"""
    \"{3}(?:\\.|[^\\])*?\"{3,5}   # multi-line basic
    | '{3}.*?'{3,5}               # multi-line literal
    | "(?:\\.|[^"\\\n])*"         # basic
    | '[^'\n]*'                   # literal
    """,
    re.DOTALL | re.VERBOSE,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The document. Raises ConfigError for what is no TOML, or nested so deep that nobody can have meant it."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        message, line = f"not valid TOML: {error}", int(place[1]) if place else None
    except RecursionError:
        message, line = "nested too deep", None
    raise ConfigError([Fault(file, "", message, line, hint="see https://toml.io/en/v1.0.0")])


def locate(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key and array element of a valid TOML document."""
    return _Scanner(text).document()


def line_of(lines: dict[KeyPath, int], path: Sequence[str | int]) -> int | None:
    """Line of ``path``, or of the innermost enclosing key that stands in the text."""
    for end in range(len(path), 0, -1):
        if (line := lines.get(tuple(path[:end]))) is not None:
            return line
    return None


def show_path(path: Sequence[str | int]) -> str:
    """A key path as TOML spells it: ``torch."2.8".cuda[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else f'"{part}"')
    return text


class _Scanner:
    """Walks the text once. It relies on tomllib having accepted the document and checks nothing itself."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.newlines = [match.start() for match in re.finditer("\n", text)]
        self.lines: dict[KeyPath, int] = {}
        self.counts: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self.blank() < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def blank(self) -> int:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.at

    def mark(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect_left(self.newlines, self.at) + 1)

    def header(self) -> KeyPath:
        array = self.text.startswith("[[", self.at)
        start = self.at
        self.at += 2 if array else 1
        names = self.key()
        self.at += 2 if array else 1
        end, self.at = self.at, start
        path: KeyPath = ()
        for depth, name in enumerate(names):
            path = (*path, name)
            last = depth == len(names) - 1
            self.mark(path)
            if array and last:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
                self.mark(path)
        self.at = end
        return path

    def key(self) -> list[str]:
        names: list[str] = []
        while True:
            self.blank()
            match = _STRING.match(self.text, self.at) or _BARE.match(self.text, self.at)
            if match is None:
                return names
            word = match[0]
            names.append(tomllib.loads(f"key = {word}")["key"] if word[0] in "\"'" else word)
            self.at = match.end()
            self.blank()
            if self.text[self.at] != ".":
                return names
            self.at += 1

    def pair(self, table: KeyPath) -> None:
        start = self.at
        names = self.key()
        end, self.at = self.at, start
        path = table
        for name in names:
            path = (*path, name)
            self.mark(path)
        self.at = end + 1  # the equals sign
        self.value(path)

    def value(self, path: KeyPath) -> None:
        self.blank()
        opening = self.text[self.at]
        if opening not in "[{":
            match = _STRING.match(self.text, self.at) or _SCALAR.match(self.text, self.at)
            self.at = match.end() if match else self.at + 1
            return
        self.at += 1
        closing, index = ("]", 0) if opening == "[" else ("}", 0)
        while True:
            self.blank()
            if self.text[self.at] == closing:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif opening == "[":
                element: KeyPath = (*path, index)
                self.mark(element)
                self.value(element)
                index += 1
            else:
                self.pair(path)
