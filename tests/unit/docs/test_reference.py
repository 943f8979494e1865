"""What is generated is what the code says, and what the documents show is what lies in the repository."""

import ast
import shutil
from pathlib import Path

import pytest

from symphainy import errors
from symphainy.cli.reference import stale, write_reference
from symphainy.cli.reference.catalogue import PATH, read_catalogue
from symphainy.cli.reference.services import documents
from symphainy.cli.reference.vocabulary import EVENTS
from symphainy.model import RESERVED_EVENTS
from tests.documents import blocks, text
from tests.source import ROOT, modules

WORDS = "examples/words_capability/words.py"
SHOWN = ("README.md", "docs/guide/write_a_capability.md", "docs/architecture/RUNTIME_CONTRACTS.md")


def test_nothing_generated_is_stale() -> None:
    assert stale(ROOT, built_in_only=True) == []


def test_what_was_changed_by_hand_is_written_anew(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    page, gone = tmp_path / "docs/reference/errors.md", tmp_path / "docs/intent_contracts/no_such_intent.md"
    page.write_text(text(ROOT / "docs/reference/errors.md").replace("stable", "unstable", 1))
    gone.write_text(text(ROOT / "docs/intent_contracts/parse_content.md"))
    assert stale(tmp_path, built_in_only=True) == [
        "docs/reference/errors.md: differs from line 5; run symphainy docs",
        "docs/intent_contracts/no_such_intent.md: its intent is gone; run symphainy docs",
    ]
    assert write_reference(tmp_path, built_in_only=True) == [page, gone]
    assert stale(tmp_path, built_in_only=True) == []
    assert not gone.exists()


def test_a_capability_of_ones_own_is_documented_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples" / "words_capability")
    write_reference(tmp_path, named=["words:Words"], built_in_only=True)
    assert "Count the words of a text." in text(tmp_path / "docs/intent_contracts/count_words.md")
    assert not (tmp_path / "docs/intent_contracts/VISION_ALIGNMENT_SUMMARY.md").exists()


@pytest.mark.parametrize("page", SHOWN)
def test_the_example_is_shown_as_it_lies_there(page: str) -> None:
    example = (ROOT / WORDS).read_text("utf-8")
    assert example in [block.body for block in blocks(ROOT / page, "python")]


def test_every_error_has_its_row() -> None:
    page = text(ROOT / "docs/reference/errors.md")
    own = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert [kind.__name__ for kind in own if f"`{kind.__name__}`" not in page] == []


def test_every_route_of_both_services_has_its_section() -> None:
    page = text(ROOT / "docs/reference/routes.md")
    routes = {
        f"## {method.upper()} {path}\n"
        for document in documents().values()
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert [route for route in sorted(routes) if route not in page] == []


def test_every_event_of_the_runtime_is_described() -> None:
    """A type that the runtime, its stores or its streams write stands in the table, and no other does."""
    writers = ("symphainy.runtime", "symphainy.public_works", "symphainy.wire")
    written = {
        node.value
        for source in modules()
        if source.name.startswith(writers)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in RESERVED_EVENTS
    }
    assert EVENTS.keys() == written


def test_every_registered_intent_is_planned_and_keeps_its_older_names() -> None:
    catalogue = read_catalogue(ROOT)
    assert catalogue is not None, f"{PATH} is gone"
    pages = {path.stem for path in (ROOT / "docs/intent_contracts").glob("*.md") if path.stem.islower()}
    assert pages <= {plan.intent_type for plan in catalogue.intents}
