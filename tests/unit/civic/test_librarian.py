"""The Librarian finds what matches, leaves out what does not, and fuses rankings fairly."""

import msgspec
import pytest
from hypothesis import strategies as st

from symphainy.civic import librarian
from symphainy.model import Artifact, Decision, LifecycleState, ProducedBy

STATEMENT = Artifact(
    artifact_id="art_1",
    artifact_type="bank_statement",
    tenant_id="acme",
    session_id="ses_a",
    produced_by=ProducedBy(intent="parse_content", execution_id="exe_1"),
    lifecycle_state=LifecycleState.READY,
    semantic_descriptor={"schema": ["Datum", "Betrag"], "record_count": 42},
    semantic_payload={"summary": "Überweisungen im März", "final": True},
    ordinal=1,
    created_at="2026-11-20T12:00:00.000Z",
    updated_at="2026-11-20T12:00:00.000Z",
)


@pytest.mark.parametrize(
    "text", ["bank_statement", "statement", "BANK", "betrag datum", "42", "überweisung märz", "summary"]
)
def test_every_word_in_type_descriptor_or_payload_is_a_match(text: str) -> None:
    assert librarian.matches_text(STATEMENT, text).allowed


@pytest.mark.parametrize("text", ["invoice", "statement invoice", "atement", "true", "acme", "!?", ""])
def test_anything_else_is_not(text: str) -> None:
    assert not librarian.matches_text(STATEMENT, text).allowed


def test_a_miss_names_the_words_that_are_missing() -> None:
    assert librarian.matches_text(STATEMENT, "statement of an invoice") == Decision(
        policy="librarian.match", allowed=False, reason="art_1 does not hold an, invoice, of"
    )


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (LifecycleState.PENDING, True),
        (LifecycleState.READY, True),
        (LifecycleState.FAILED, False),
        (LifecycleState.ARCHIVED, False),
        (LifecycleState.DELETED, False),
    ],
)
def test_only_what_stands_can_be_worked_on(state: LifecycleState, allowed: bool) -> None:
    artifact = msgspec.structs.replace(STATEMENT, lifecycle_state=state)
    assert librarian.eligible(artifact, ["bank_statement"]).allowed is allowed


def test_an_intent_that_accepts_other_types_cannot_work_on_it() -> None:
    assert librarian.eligible(STATEMENT, ["file", "invoice"]) == Decision(
        policy="librarian.eligibility",
        allowed=False,
        reason="art_1 is a bank_statement; accepted is file, invoice",
    )
    assert not librarian.eligible(STATEMENT, []).allowed


RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4)
