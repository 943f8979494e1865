"""The documents as text, for tests that check a rule over all of them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.source import ROOT

_FENCE = re.compile(r"^(```+|~~~+)(?P<language>\w*)[^\n]*\n(?P<body>.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\((?P<target>[^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block and the language it says it is in."""

    page: Path
    language: str
    body: str


def pages() -> list[Path]:
    """Every document, the front page first."""
    top = [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    return [*top, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


@cache
def text(page: Path) -> str:
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """The page without fenced blocks and inline code; a link on code stays a link."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text(page)))


def blocks(page: Path, language: str | None = None) -> list[Block]:
    return [
        Block(page=page, language=found["language"], body=found["body"])
        for found in _FENCE.finditer(text(page))
        if language in (None, found["language"])
    ]


def links(page: Path) -> Iterator[str]:
    """Targets of links and images, those to the web left out."""
    unfenced = prose(page)
    for pattern in (_LINK, _IMAGE):
        for found in pattern.finditer(unfenced):
            if not re.match(r"[a-z]+:", found["target"]):
                yield found["target"]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = set()
    for heading in _HEADING.finditer(_FENCE.sub("", text(page))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"]).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return frozenset(found)
