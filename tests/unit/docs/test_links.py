"""Every link in a document leads somewhere, and every path it names exists."""

import re
from pathlib import Path

import pytest

from tests.documents import anchors, links, pages, text
from tests.source import ROOT

REACHED_FROM = "README.md"


def broken(page: Path) -> list[str]:
    wrong = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            wrong.append(f"{target}: there is no {there.name}")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            wrong.append(f"{target}: {there.name} has no heading #{anchor}")
    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:symphainy|tests|docs|examples|bench)/[\w./-]+)`", text(page))
    here = [name for name in named if not is_elsewhere(page, name)]
    assert [name for name in here if not (ROOT / name).exists()] == []


def is_elsewhere(page: Path, name: str) -> bool:
    """What the source documents call a thing: in what they require, and in the first column of «where it went»."""
    if page.name == "requirements.md":
        return True
    row = re.search(rf"^\|(?P<then>[^|]*`{re.escape(name)}`[^|]*)\|", text(page), re.MULTILINE)
    return page.name == "where_it_went.md" and row is not None


def test_every_document_is_reached_from_the_front_page() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / REACHED_FROM]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert [str(page.relative_to(ROOT)) for page in pages() if page not in reached] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `x` (y)\n\n[a](missing.md) [b](#two) [c](#one-x-y) `[d](code.md)`\n\n```\n[e](f.md)\n```\n")
    assert broken(page) == ["missing.md: there is no missing.md", "#two: page.md has no heading #two"]
