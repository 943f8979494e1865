"""Markdown that a generator can write: tables, code, anchors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(value: str) -> str:
    """One table cell: no line breaks, no bare bars."""
    return re.sub(r"\s*\n\s*", " ", value.strip()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Without the columns in which nothing stands. «None.» for no rows."""
    found = [[cell(value) for value in row] for row in rows]
    if not found:
        return "None."
    kept = [index for index in range(len(head)) if any(row[index] for row in found)]
    lines = [_row(head, kept), f"|{'---|' * len(kept)}", *(_row(row, kept) for row in found)]
    return "\n".join(lines)


def _row(cells: Sequence[str], kept: Sequence[int]) -> str:
    return f"|{'|'.join(f' {cells[index]} ' if cells[index] else ' ' for index in kept)}|"


def code(name: str) -> str:
    return f"`{name}`"


def codes(names: Iterable[str]) -> str:
    return ", ".join(code(name) for name in names)


def fenced(source: str, language: str) -> str:
    return f"```{language}\n{source.strip()}\n```"


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def paragraphs(*parts: str) -> str:
    """A page: the parts that say something, one blank line between them."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
