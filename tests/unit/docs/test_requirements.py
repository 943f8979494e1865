"""The table of requirements names each of them once, and tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.documents import text
from tests.source import ROOT

PAGE = ROOT / "docs" / "requirements.md"
REQUIREMENTS = 302
CONFLICTS = 19
ROW = re.compile(r"^\| R-(?P<number>\d{3}) \|(?P<asked>.*)\|(?P<shown>.*)\|$", re.MULTILINE)
TEST = re.compile(r"\[`(?P<name>\w+(?:\.py)?)`\]\(\.\./(?P<path>tests/[\w/.]+)\)")
LATER = re.compile(r"^later: ")


@cache
def names_in(path: Path) -> frozenset[str]:
    """The tests of a file, and the file itself."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset({path.name, *(node.name for node in ast.walk(tree) if isinstance(node, kinds))})


def test_every_requirement_has_one_row() -> None:
    numbers = [int(row["number"]) for row in ROW.finditer(text(PAGE))]
    assert sorted(numbers) == list(range(1, REQUIREMENTS + 1))
    assert sorted(map(int, re.findall(r"^\| C-(\d\d) \|", text(PAGE), re.MULTILINE))) == list(range(1, CONFLICTS + 1))


def test_every_requirement_is_shown_by_a_test_or_named_as_later() -> None:
    rows = [(row["number"], row["shown"].strip()) for row in ROW.finditer(text(PAGE))]
    assert [number for number, shown in rows if not (TEST.search(shown) or LATER.match(shown))] == []


def test_every_test_that_is_named_exists() -> None:
    missing = {
        f"{found['path']}::{found['name']}"
        for found in TEST.finditer(text(PAGE))
        if not (ROOT / found["path"]).exists() or found["name"] not in names_in(ROOT / found["path"])
    }
    assert sorted(missing) == []


def test_tests_are_marked_by_their_folder(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("unit") is not None
    assert request.node.get_closest_marker("integration") is None
