"""Every link of every Markdown page leads to a file of this repository and a heading in it; every page is reachable."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

FOLDERS = (".", "docs", "bench", "example", "sageattention3_blackwell")
LINK = re.compile(r"\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def pages(root: Path) -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (root / folder).glob("*.md"))


def prose(path: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", path.read_text("utf-8"))


def links(path: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("``", prose(path))):
        if not target.startswith(("https://", "mailto:")):
            yield unquote(target)


def anchors(path: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", prose(path), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken(page: Path) -> Iterator[str]:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{page.name}: {link}: no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{page.name}: {link}: no such heading"


def test_every_link_leads_somewhere(root: Path) -> None:
    found = pages(root)
    assert sum(1 for page in found for _ in links(page)) > 20
    assert [fault for page in found for fault in broken(page)] == []


def test_every_page_is_reached_from_the_readme(root: Path) -> None:
    reached, todo = set[Path](), [root / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
        todo += [target for target in targets if target.suffix == ".md" and target.exists()]
    assert {page.resolve() for page in pages(root)} - {page.resolve() for page in reached} == set()


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[a](other.md) and [b](other.md#one-two) and [c](#here)\n\n# Here\n", 0),
        ("[a](gone.md)", 1),
        ("[a](other.md#three)", 1),
        ("[![image](gone.png)](other.md)", 1),
        ("```\n[a](gone.md)\n```\n`[a](gone.md)` [b](https://example.org/x)", 0),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, faults: int) -> None:
    (tmp_path / "other.md").write_text("# One two\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert len(list(broken(page))) == faults
