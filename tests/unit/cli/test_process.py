"""What `process` makes of the answers of a platform."""

from pathlib import Path
from typing import Any

from symphainy.cli.following import saga_of
from symphainy.cli.process import Outcome, processed
from symphainy.sdk import ExperienceSDK, Retry
from tests.loopback import Reply, events, loopback, problem, say

NOW = "2026-11-20T16:00:00.000Z"
EXTRA = {
    "code": "missing_extra",
    "message": "Sentences need the extra [embeddings]. Install it with: pip install 'symphainy[embeddings]'",
    "details": {"service": "embeddings"},
    "retryable": False,
}


async def at_once(seconds: float) -> None:
    """In place of waiting."""


def sdk_at(url: str) -> ExperienceSDK:
    return ExperienceSDK.connect(url, token="t0ken", retry=Retry(attempts_max=2, sleep=at_once))


def accepted(execution_id: str) -> Reply:
    return say(202, {"execution_id": execution_id, "intent_id": "int_1", "status": "accepted", "created_at": NOW})


def execution(id_: str, intent: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "execution_id": id_,
        "intent_id": f"int_{id_}",
        "intent_type": intent,
        "tenant_id": "acme",
        "session_id": "ses_1",
        "solution_id": "default",
        "user_id": "ann",
        "status": status,
        "lifecycle_state": status,
        "saga_id": "sag_1",
        "created_at": NOW,
        "started_at": NOW,
        "completed_at": NOW,
        **more,
    }


def stream(execution_id: str, *told: tuple[str, dict[str, Any]]) -> Reply:
    return events(
        *(
            {
                "position": seq,
                "seq": seq,
                "event_id": f"evt_{seq}",
                "event_type": event_type,
                "tenant_id": "acme",
                "session_id": "ses_1",
                "execution_id": execution_id,
                "timestamp": NOW,
                "payload": payload,
            }
            for seq, (event_type, payload) in enumerate(told, 1)
        )
    )


def turn(following: str) -> tuple[str, dict[str, Any]]:
    return ("saga_step_completed", {"saga_id": "sag_1", "next": {"step": "s", "execution_id": following}})


async def outcome_of(tmp_path: Path, *script: Reply) -> Outcome:
    path = tmp_path / "letter.txt"
    path.write_text("hello")
    async with loopback(*script) as server, sdk_at(server.url) as sdk:
        _, (outcome,) = await processed(sdk, [path], session_id="ses_1")
        assert server.script == [], "everything was asked for"
        return outcome


async def test_an_extra_that_is_not_installed_fails_no_file(tmp_path: Path) -> None:
    outcome = await outcome_of(
        tmp_path,
        accepted("exe_1"),
        stream(
            "exe_1", ("intent_received", {"intent_type": "parse_content"}), turn("exe_2"), ("execution_completed", {})
        ),
        say(200, execution("exe_1", "parse_content")),
        stream("exe_2", ("saga_step_failed", {}), ("saga_completed", {}), ("execution_failed", {"error": EXTRA})),
        say(200, execution("exe_2", "extract_embeddings", "failed", error=EXTRA)),
    )
    assert (outcome.error, outcome.note) == (None, EXTRA["message"])
    assert [each.execution_id for each in outcome.executions] == ["exe_1", "exe_2"]


async def test_what_undoes_a_failed_saga_is_followed_too(tmp_path: Path) -> None:
    error = {"code": "pdf_truncated", "message": "it breaks off", "details": {}, "retryable": False}
    undoing = ("saga_compensating", {"saga_id": "sag_1", "next": {"step": "s", "execution_id": "exe_2"}})
    outcome = await outcome_of(
        tmp_path,
        accepted("exe_1"),
        stream("exe_1", undoing, ("execution_failed", {"error": error})),
        say(200, execution("exe_1", "parse_content", "failed", error=error)),
        stream("exe_2", ("saga_step_compensated", {}), ("saga_compensated", {}), ("execution_completed", {})),
        say(200, execution("exe_2", "archive_file")),
    )
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.details) == ("pdf_truncated", {"execution_id": "exe_1"})
    assert [each.intent_type for each in outcome.executions] == ["parse_content", "archive_file"]


async def test_a_file_that_is_refused_is_reported_with_what_was_said(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, problem(413, "payload_too_large", "larger than 5 bytes", limit_bytes=5))
    assert outcome.error is not None
    assert (outcome.error.code, str(outcome.error), outcome.error.details["limit_bytes"]) == (
        "payload_too_large",
        "larger than 5 bytes",
        5,
    )


async def test_a_file_that_vanishes_before_its_turn_is_reported(tmp_path: Path) -> None:
    async with loopback() as server, sdk_at(server.url) as sdk:
        _, (outcome,) = await processed(sdk, [tmp_path / "gone.txt"], session_id="ses_1")
    assert str(outcome.error) == "the file cannot be read: No such file or directory"


async def test_a_saga_is_followed_where_no_stream_can_be_had() -> None:
    page = say(200, b"<html>", Content_Type="text/html")
    first, second = execution("exe_1", "ingest_file"), execution("exe_2", "parse_content")
    other = execution("exe_9", "ingest_file", saga_id="sag_9")
    script = [
        *(page, page, say(200, first), say(200, first)),
        say(200, {"executions": [other, second, first], "next_cursor": None}),
        *(page, page, say(200, second), say(200, second)),
        say(200, {"executions": [other, second, first], "next_cursor": None}),
    ]
    told: list[str] = []
    async with loopback(*script) as server, sdk_at(server.url) as sdk:
        followed = [
            one.execution.execution_id
            async for one in saga_of(sdk, "exe_1", lambda event: told.append(event.event_type))
        ]
    assert followed == ["exe_1", "exe_2"]
    assert told == ["stream.polling", "execution_completed"] * 2
