"""Every decision has its four parts, and decision 0007 names every direct dependency and nothing else."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.documents import links, text
from tests.source import ROOT

FOLDER = ROOT / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
PAGE = FOLDER / "0007-dependencies.md"
PARTS = ("**Question.**", "**Chosen.**", "**Given up.**", "**What would change our mind.**")


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))
    assert [target for target in links(FOLDER / "README.md") if target[0].isdigit()] == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_number_and_its_four_parts(page: Path) -> None:
    found = text(page)
    assert found.startswith(f"# {page.name[:4]}: ")
    assert [part for part in PARTS if part not in found] == []


def declared() -> set[str]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    return {Requirement(line).name for group in groups for line in group} - {"symphainy"}


def justified() -> set[str]:
    """What the package column of each table names."""
    named: set[str] = set()
    package_column = 0
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if "job" in cells:
            package_column = next(index for index, cell in enumerate(cells) if cell.startswith("package"))
        elif line.startswith("| ") and len(cells) > package_column:
            named |= set(re.findall(r"`([^`]+)`", cells[package_column]))
    return named


def test_every_direct_dependency_is_justified() -> None:
    assert justified() == declared()
