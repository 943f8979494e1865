"""The Data Steward keeps nothing without a contract, and lets no secret into the log."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.civic import data_steward
from symphainy.civic.data_steward import (
    BoundaryContract,
    ContractStatus,
    MaterializationType,
    boundary_contract,
    may_materialize,
    may_record,
)
from symphainy.model import Decision

NOON = "2026-11-20T12:00:00.000Z"


@pytest.fixture
def contract() -> BoundaryContract:
    return boundary_contract(
        boundary_contract_id="bct_1",
        tenant_id="acme",
        session_id="ses_a",
        now=NOON,
        materialization_types=["full_artifact", "deterministic"],
        size_bytes_max=1000,
        retention_days=30,
    )


def test_a_contract_says_what_may_be_kept_how_large_and_until_when(contract: BoundaryContract) -> None:
    assert contract.to_dict() == {
        "boundary_contract_id": "bct_1",
        "tenant_id": "acme",
        "session_id": "ses_a",
        "status": "pending",
        "materialization_types": ["deterministic", "full_artifact"],
        "size_bytes_max": 1000,
        "retention_days": 30,
        "issued_at": NOON,
        "expires_at": "2026-12-20T12:00:00.000Z",
    }


def test_by_default_every_form_is_allowed_for_thirty_days() -> None:
    made = boundary_contract(boundary_contract_id="bct_1", tenant_id="acme", session_id="ses_a", now=NOON)
    assert made.materialization_types == tuple(MaterializationType)
    assert (made.retention_days, made.size_bytes_max) == (30, 1 << 30)


def test_a_contract_for_an_unknown_form_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="hologram"):
        boundary_contract(
            boundary_contract_id="bct_1",
            tenant_id="acme",
            session_id="ses_a",
            now=NOON,
            materialization_types=["hologram"],
        )


def test_what_the_contract_covers_may_be_kept(contract: BoundaryContract) -> None:
    decision = may_materialize(
        contract, materialization_type="full_artifact", size_bytes=1000, retention_days=30, now=NOON
    )
    assert decision == Decision(
        policy="data_steward.materialization",
        allowed=True,
        reason="boundary contract bct_1: full_artifact, 1000 of 1000 bytes, until 2026-12-20T12:00:00.000Z",
    )


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (
            {"materialization_type": "semantic_embedding"},
            "boundary contract bct_1 allows deterministic, full_artifact, not 'semantic_embedding'",
        ),
        (
            {"materialization_type": "hologram"},
            "boundary contract bct_1 allows deterministic, full_artifact, not 'hologram'",
        ),
        ({"size_bytes": 1001}, "1001 bytes; boundary contract bct_1 allows at most 1000"),
        (
            {"retention_days": 31},
            "31 days; boundary contract bct_1 allows 30, until 2026-12-20T12:00:00.000Z",
        ),
        (
            {"now": "2026-12-20T12:00:00.000Z"},
            "boundary contract bct_1 ended at 2026-12-20T12:00:00.000Z; it is 2026-12-20T12:00:00.000Z",
        ),
    ],
)
def test_what_the_contract_does_not_cover_is_refused(
    contract: BoundaryContract, wish: dict[str, Any], reason: str
) -> None:
    asked: dict[str, Any] = {
        "materialization_type": "full_artifact",
        "size_bytes": 10,
        "retention_days": 30,
        "now": NOON,
    } | wish
    decision = may_materialize(contract, **asked)
    assert (decision.policy, decision.allowed, decision.reason) == (
        "data_steward.materialization",
        False,
        reason,
    )


def test_what_a_contract_allows_in_full_is_allowed_up_to_its_end(contract: BoundaryContract) -> None:
    last = "2026-12-20T11:59:59.999Z"
    assert may_materialize(
        contract, materialization_type="full_artifact", size_bytes=1, retention_days=30, now=last
    ).allowed


def test_nothing_is_kept_without_a_contract() -> None:
    decision = may_materialize(None, materialization_type="reference", size_bytes=0, retention_days=0, now=NOON)
    assert (decision.allowed, decision.reason) == (False, "there is no boundary contract")


def test_a_contract_that_was_marked_expired_covers_nothing(contract: BoundaryContract) -> None:
    ended = msgspec.structs.replace(contract, status=ContractStatus.EXPIRED)
    assert data_steward.expired(ended, now=NOON)
    assert not may_materialize(
        ended, materialization_type="full_artifact", size_bytes=1, retention_days=1, now=NOON
    ).allowed


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "Password",
        "user_password",
        "dbPassword",
        "secret",
        "client_secret",
        "token",
        "access_token",
        "X-Auth-Token",
        "api_key",
        "apiKey",
        "APIKey",
        "X-API-Key",
        "Authorization",
        "private_key",
        "aws_secret_access_key",
        "passphrase",
        "credentials",
        "Set-Cookie",
    ],
)
def test_a_key_named_like_a_secret_is_refused_with_its_pointer(key: str) -> None:
    decision = may_record({"steps": [{"ok": 1}, {key: "hunter2"}]})
    assert decision == Decision(
        policy="data_steward.record",
        allowed=False,
        reason=f"/steps/1/{key} is named like a secret",
        remedy="Leave it out: credentials travel through /api/auth only",
    )


@pytest.mark.parametrize(
    "key",
    [
        "max_tokens",
        "token_count",
        "tokens",
        "next_page_token",
        "secretary",
        "keyboard",
        "monkey",
        "primary_key",
    ],
)
def test_a_key_that_only_sounds_like_a_secret_passes(key: str) -> None:
    assert may_record({key: "value"}).allowed


@pytest.mark.parametrize("absent", [None, True, False, "", [], {}])
def test_saying_that_there_is_no_secret_is_no_secret(absent: Any) -> None:
    assert may_record({"password": absent}).allowed


def test_the_value_of_a_secret_is_not_in_the_reason() -> None:
    assert "hunter2" not in may_record({"password": "hunter2"}).reason


def test_pointers_are_escaped() -> None:
    assert may_record({"a/b~c": {"password": "x"}}).reason.startswith("/a~1b~0c/password ")


@pytest.mark.parametrize("content", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_raw_bytes_are_refused(content: Any) -> None:
    assert may_record({"file": content}).reason == "/file is 1 raw bytes"
    assert may_record(content).reason == "the value is 1 raw bytes"


def base64_lines(data: bytes) -> str:
    return base64.encodebytes(data).decode()


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(bytes(range(256)) * 20).decode(),
        base64.urlsafe_b64encode(bytes(range(256)) * 20).decode(),
        base64_lines(bytes(range(256)) * 20),
        "data:application/pdf;base64," + base64.b64encode(bytes(range(256)) * 20).decode(),
    ],
)
def test_file_content_as_text_is_refused(text: str) -> None:
    decision = may_record({"content": text})
    assert not decision.allowed
    assert decision.reason == f"/content is {len(text)} characters of base64; at most 4096 may be recorded"


def test_a_private_key_is_refused_under_any_name() -> None:
    text = "here it is\n-----BEGIN RSA PRIVATE KEY-----\nMIIE"
    assert may_record({"note": text}).reason == "/note holds a private key"


@pytest.mark.parametrize(
    "text",
    [
        "abcd" * 1024,
        "the quick brown fox jumps over the lazy dog and runs on " * 200,
        "Ünïcödé" * 2000,
        "a.b" * 3000,
        "x" * 2_000_000,
        "\n".join(["word"] * 2000),
        "\n".join(f"Account{number}Name" for number in range(2000)),
        "GATTACA" * 2000,
        (bytes(range(256)) * 20).hex(),
    ],
)
def test_prose_sequences_and_short_digests_pass(text: str) -> None:
    assert may_record({"text": text}).allowed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text("xyz_", max_size=8), below, max_size=4),
    max_leaves=20,
)


@given(beside=JSON, where=st.lists(st.text("abc/~", min_size=1, max_size=3) | st.none(), max_size=5))
def test_a_secret_is_found_however_deep_it_lies(beside: Any, where: list[str | None]) -> None:
    hidden: Any = {"api_key": "k"}
    pointer = "/api_key"
    for key in where:
        hidden = [hidden, beside] if key is None else {key: hidden, "beside": beside}
        part = "0" if key is None else key.replace("~", "~0").replace("/", "~1")
        pointer = f"/{part}{pointer}"
    assert may_record(hidden).reason == f"{pointer} is named like a secret"


@given(JSON)
def test_what_holds_no_secret_may_be_recorded(value: Any) -> None:
    assert may_record(value) == Decision(
        policy="data_steward.record", allowed=True, reason="no secrets and no file content"
    )


def test_depth_does_not_exhaust_the_stack() -> None:
    deep: Any = {"token": "t"}
    for _ in range(100_000):
        deep = [deep]
    assert not may_record(deep).allowed
