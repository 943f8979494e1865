"""Decision 0007 names every direct dependency, and nothing that is none."""

import re
import tomllib
from typing import Any

from packaging.requirements import Requirement

from tests.source import ROOT

PAGE = ROOT / "docs" / "decisions" / "0007-dependencies.md"


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
