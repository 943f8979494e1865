"""The catalogue of all intents, and what is registered of it."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from symphainy.cli.reference.catalogue import PATH, Catalogue, read_catalogue
from tests.source import ROOT

INTENTS = 70


@pytest.fixture
def catalogue() -> Catalogue:
    found = read_catalogue(ROOT)
    assert found is not None
    return found


def test_it_has_seventy_intents_each_once(catalogue: Catalogue) -> None:
    names = [plan.intent_type for plan in catalogue.intents]
    assert (len(names), len(set(names))) == (INTENTS, INTENTS)


def test_every_capability_and_surface_is_accounted_for(catalogue: Catalogue) -> None:
    surfaces = {row.capability: set(row.experience) for row in catalogue.capabilities}
    used: dict[str, set[str]] = {}
    for plan in catalogue.intents:
        used.setdefault(plan.capability, set()).add(plan.experience)
    assert used == surfaces


def test_the_shares_of_the_capabilities_are_those_of_the_plan(catalogue: Catalogue) -> None:
    assert Counter(plan.capability for plan in catalogue.intents) == {
        "coexistence": 14,
        "content": 11,
        "insights": 11,
        "control_tower": 10,
        "journey_engine": 9,
        "security": 9,
        "solution_synthesis": 6,
    }


def test_no_name_is_both_an_intent_and_an_older_name(catalogue: Catalogue) -> None:
    older = {older.name for plan in catalogue.intents for older in plan.replaces}
    names = {plan.intent_type for plan in catalogue.intents}
    not_intents = {row.name for row in catalogue.not_intents}
    assert (older & names, not_intents & names) == (set(), set())


def test_a_tree_without_a_catalogue_has_none(tmp_path: Path) -> None:
    assert read_catalogue(tmp_path) is None


def test_a_catalogue_with_a_field_nobody_knows_is_refused(tmp_path: Path) -> None:
    data = json.loads((ROOT / PATH).read_bytes()) | {"colour": "red"}
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_text(json.dumps(data))
    with pytest.raises(msgspec.ValidationError, match="colour"):
        read_catalogue(tmp_path)
