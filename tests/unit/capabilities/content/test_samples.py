"""The bundled documents: what a first run shows is the truth about them."""

from pathlib import Path

import pytest

import symphainy
from symphainy.capabilities.content.parsing.media import CSV, JSON, MARKDOWN, PDF, detect
from tests.unit.capabilities.content.make_handbook import PAGES, text
from tests.unit.capabilities.content.parse import Outcome, assert_conserved, assert_covered, assert_exact, parse

SAMPLES = Path(symphainy.__path__[0], "samples")
NAMES = {
    "asset-register.json": JSON,
    "modernisation-plan.md": MARKDOWN,
    "pump-maintenance.csv": CSV,
    "shift-handbook.pdf": PDF,
}


def sample(name: str) -> Outcome:
    return parse((SAMPLES / name).read_bytes(), NAMES[name])


def test_nothing_else_lies_among_the_samples() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.name != "__pycache__"} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_what_its_name_says(name: str) -> None:
    found = detect((SAMPLES / name).read_bytes(), whole=True, filename=name)
    assert (found.media_type, found.mismatch) == (NAMES[name], False)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_sample_is_lost(name: str) -> None:
    outcome = sample(name)
    assert_conserved(outcome)
    if NAMES[name] != PDF:
        assert_exact(outcome)
        assert_covered(outcome)


def test_the_handbook_holds_every_word_that_it_was_made_of() -> None:
    outcome = sample("shift-handbook.pdf")
    assert " ".join(" ".join(str(unit.text) for unit in outcome.units).split()) == text()
    assert [unit.text for unit in outcome.units if unit.kind == "heading"] == [
        heading for page in PAGES for heading, _ in page
    ]
    assert outcome.balance["pages"] == {"total": 3, "delivered": 3, "ignored": {}, "quarantined": {}}


def test_the_maintenance_log_puts_three_rows_aside() -> None:
    outcome = sample("pump-maintenance.csv")
    assert outcome.balance["rows"] == {
        "total": 24,
        "delivered": 18,
        "ignored": {"blank": 1, "header": 1, "preamble": 1},
        "quarantined": {"quote_left_open": 1, "ragged_row": 2},
    }
    assert [str(unit.text).split(",")[0] for unit in outcome.units if unit.reason] == ["40019", "40023", "40027"]
    assert {column["name"]: column["type"] for column in outcome.structure["columns"]} == {
        "order_id": "integer",
        "asset": "text",
        "hall": "text",
        "reported": "date",
        "closed": "date",
        "hours": "decimal",
        "cost_eur": "decimal",
        "finding": "text",
    }


def test_the_register_holds_its_assets_as_records() -> None:
    outcome = sample("asset-register.json")
    assert [record["asset"] for record in outcome.records] == (
        ["P-101", "P-102", "P-104", "P-307", "P-308", "P-309", "V-210", "V-211", "C-401", "C-402", "F-118"]
    )
    assert [unit.position.pointer for unit in outcome.units if unit.kind == "section"] == (
        ["/plant", "/exported_at", "/criticality", "/open_questions"]
    )
