"""The documents that the source documents ask for: each is there, says what it was asked to say, and leads on."""

from pathlib import Path

import pytest

from symphainy.sdk import ExperienceSDK
from tests.documents import anchors, links, text
from tests.source import ROOT

DOCS = ROOT / "docs"
SDK_CONTRACT = DOCS / "architecture" / "EXPERIENCE_SDK_CONTRACT.md"
RUNTIME_CONTRACTS = DOCS / "architecture" / "RUNTIME_CONTRACTS.md"
BOOT_PHASES = DOCS / "architecture" / "BOOT_PHASES.md"
INTENTS = DOCS / "intent_contracts" / "README.md"
ALIGNMENT = DOCS / "intent_contracts" / "VISION_ALIGNMENT_SUMMARY.md"
OBLIGATIONS = DOCS / "intent_contracts" / "RUNTIME_OBLIGATIONS_INDEX.md"
HANDOFF = DOCS / "HANDOFF_TO_TEAM_B.md"
TASKS = DOCS / "LANDING_AGENT_TASKS.md"
PATH = DOCS / "testing" / "PATH_TO_WORKING_PLATFORM.md"


def linked(page: Path) -> set[Path]:
    return {(page.parent / target.partition("#")[0]).resolve() for target in links(page)}


def test_the_handoff_links_every_deliverable() -> None:
    assert {SDK_CONTRACT, RUNTIME_CONTRACTS, BOOT_PHASES, INTENTS, ALIGNMENT, OBLIGATIONS, TASKS, PATH} <= linked(
        HANDOFF
    )


def test_the_handoff_names_both_remits_and_where_to_start() -> None:
    assert {"what-you-get", "your-remit", "our-remit", "where-to-start"} <= anchors(HANDOFF)
    assert {"task-0-the-architecture", "task-1-adopt-the-sdk-contract"} <= anchors(TASKS)


def test_the_runtime_contracts_have_their_four_sections_and_what_stands_around_them() -> None:
    wanted = {"1-registration", "2-execution", "3-state", "4-artifacts", "5-wal-telemetry-policy", "6-sagas"}
    assert wanted <= anchors(RUNTIME_CONTRACTS)
    assert {SDK_CONTRACT, OBLIGATIONS, HANDOFF} <= linked(RUNTIME_CONTRACTS)


@pytest.mark.parametrize("operation", ["query_state", "invoke_intent", "trigger_journey", "subscribe"])
def test_the_sdk_contract_explains_each_operation(operation: str) -> None:
    assert operation in anchors(SDK_CONTRACT)


def test_the_sdk_contract_lists_every_operation_of_the_sdk() -> None:
    page = text(SDK_CONTRACT)
    public = [name for name in vars(ExperienceSDK) if not name.startswith("_") and name != "aclose"]
    assert [name for name in public if f"`{name}(" not in page] == []


def test_the_boot_phases_say_when_start_up_has_succeeded() -> None:
    page = text(BOOT_PHASES)
    assert "Start-up has succeeded when the Experience SDK answers" in page
    assert [sign for sign in ("Φ1", "Φ2", "Φ3", "Φ4") if sign not in page] == []


def test_the_intent_contracts_lead_to_their_summary_and_obligations() -> None:
    assert {ALIGNMENT, OBLIGATIONS, RUNTIME_CONTRACTS} <= linked(INTENTS)
    wanted = {"every-intent", "folders", "words-that-changed", "older-names", "gaps"}
    assert wanted <= anchors(ALIGNMENT)
    assert {"registration", "execution", "state", "artifacts"} <= anchors(OBLIGATIONS)


@pytest.mark.parametrize("page", sorted((DOCS / "intent_contracts").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_an_intent_contract_has_all_its_parts(page: Path) -> None:
    wanted = {"parameters", "results", "artifacts", "events", "errors", "idempotency", "obligations"}
    assert wanted <= anchors(page)
