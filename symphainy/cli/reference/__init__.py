"""The reference: pages and parts of pages that are written from the code, and kept equal to it.

    write_reference(root)   writes what differs
    stale(root)             says what differs

Wholly generated are docs/intent_contracts/ and docs/reference/. Other pages may hold generated parts (`regions`). The
catalogue of all intents, and the page on it, belong to the tree that has `docs/data/intent_catalogue.json`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from symphainy.cli.reference.catalogue import read_catalogue
from symphainy.cli.reference.commands import commands_page
from symphainy.cli.reference.contracts import FOLDER, GENERATED, contract_pages, contracts
from symphainy.cli.reference.regions import filled
from symphainy.cli.reference.routes import routes_page
from symphainy.cli.reference.services import documents, offered
from symphainy.cli.reference.settings import settings_page
from symphainy.cli.reference.vocabulary import errors_page, events_page
from symphainy.wire.problems import STATUS

__all__ = ["stale", "write_reference"]

REFERENCE = Path("docs/reference")
#: Where hand-written pages lie that may hold generated parts.
HAND_WRITTEN = ("README.md", "docs/**/*.md")


def write_reference(root: Path, *, named: Sequence[str] = (), built_in_only: bool = False) -> list[Path]:
    """Write what differs below `root`, and take away the pages of intents that are gone. Returns what was changed.

    Installed capabilities are written too, unless `built_in_only`; `named` adds others, as `module:Class`.
    """
    changed = []
    for path, text in _wanted(root, named, built_in_only).items():
        target = root / path
        if text is None:
            target.unlink()
        elif _read(target) != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, "utf-8")
        else:
            continue
        changed.append(target)
    return changed


def stale(root: Path, *, named: Sequence[str] = (), built_in_only: bool = False) -> list[str]:
    """One line for each page that differs from the code, ending in what to type."""
    return [
        f"{path}: {_difference(_read(root / path), text)}; run symphainy docs"
        for path, text in _wanted(root, named, built_in_only).items()
        if _read(root / path) != text
    ]


def _difference(found: str | None, wanted: str | None) -> str:
    if wanted is None:
        return "its intent is gone"
    if found is None:
        return "missing"
    pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
    first = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), None)
    return f"differs from line {first}" if first else "longer or shorter than it should be"


def _wanted(root: Path, named: Sequence[str], built_in_only: bool) -> dict[Path, str | None]:
    """Each page with its text; None for one that should not be there."""
    # The command line reads this package, and this package the command line.
    from symphainy.cli.main import app

    capabilities = asyncio.run(offered(named, built_in_only=built_in_only))
    catalogue = read_catalogue(root)
    registered = contracts(capabilities, catalogue)
    wanted: dict[Path, str | None] = {
        **dict(contract_pages(capabilities, catalogue)),
        REFERENCE / "cli.md": commands_page(app),
        REFERENCE / "errors.md": errors_page(registered, STATUS),
        REFERENCE / "events.md": events_page(registered),
        REFERENCE / "routes.md": routes_page(documents()),
        REFERENCE / "settings.md": settings_page(),
    }
    wanted |= dict.fromkeys(_left_over(root, wanted))
    return wanted | dict(_parts(root, wanted))


def _left_over(root: Path, wanted: Mapping[Path, str | None]) -> Iterator[Path]:
    for folder in (FOLDER, REFERENCE):
        for page in sorted((root / folder).glob("*.md")):
            path = page.relative_to(root)
            if path not in wanted and page.read_text("utf-8").startswith(GENERATED):
                yield path


def _parts(root: Path, wanted: Mapping[Path, str | None]) -> Iterator[tuple[Path, str]]:
    for pattern in HAND_WRITTEN:
        for page in sorted(root.glob(pattern)):
            path = page.relative_to(root)
            if path not in wanted:
                yield path, filled(page.read_text("utf-8"), root=root)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None
