"""What the SDK does when the platform, or what lies before it, misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from symphainy.door import AnonymousSession, Check, Health, IntentRequest, Refusal, execution_to_wire
from symphainy.errors import (
    Conflict,
    Invalid,
    Limited,
    NotFound,
    Overloaded,
    PolicyDenied,
    RemoteError,
    SymphainyError,
    Unauthenticated,
    Unreachable,
)
from symphainy.model import Event, Execution, Session, SessionState, Status, Submitted
from symphainy.sdk import POLLING, ExperienceSDK, HttpDoor, Retry, SyncExperienceSDK
from tests.loopback import Asked, Loopback, cut, events, hang_up, head, loopback, problem, say, sse

NOW = "2026-11-20T16:00:00.000Z"
SESSION = Session(
    session_id="ses_1",
    tenant_id="acme",
    user_id="ann",
    solution_id="default",
    is_anonymous=False,
    lifecycle_state=SessionState.ACTIVE,
    context={"surface": "claims"},
    metadata={},
    created_at=NOW,
    updated_at=NOW,
    expires_at="2026-11-21T16:00:00.000Z",
)
RUNNING = Execution(
    execution_id="exe_1",
    intent_id="int_1",
    intent_type="count_words",
    tenant_id="acme",
    session_id="ses_1",
    solution_id="default",
    user_id="ann",
    status=Status.RUNNING,
    lifecycle_state=Status.RUNNING,
    ordinal=0,
    created_at=NOW,
    started_at=NOW,
)
COMPLETED = Execution(
    execution_id="exe_1",
    intent_id="int_1",
    intent_type="count_words",
    tenant_id="acme",
    session_id="ses_1",
    solution_id="default",
    user_id="ann",
    status=Status.COMPLETED,
    lifecycle_state=Status.COMPLETED,
    result={"words": 3},
    ordinal=0,
    created_at=NOW,
    started_at=NOW,
    completed_at=NOW,
)
ACCEPTED = {"execution_id": "exe_1", "intent_id": "int_1", "status": "accepted", "created_at": NOW}
SUBMITTED = Submitted(execution_id="exe_1", intent_id="int_1", status="accepted", created_at=NOW)
REQUEST = IntentRequest(intent_type="count_words", session_id="ses_1", parameters={"text": "a b c"})


class Waits:
    """In place of the clock: remembers how long the SDK meant to wait."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waited_s.append(round(seconds, 3))


@pytest.fixture
def waits() -> Waits:
    return Waits()


def sdk_of(server: Loopback, waits: Waits, **changes: Any) -> ExperienceSDK:
    retry = Retry(sleep=waits, fraction=lambda: 0.5, **changes)
    return ExperienceSDK.connect(server.url, token="t0ken", retry=retry)


def envelope(seq: int, event_type: str, **payload: Any) -> dict[str, Any]:
    return {
        "position": seq,
        "seq": seq,
        "event_id": f"evt_{seq}",
        "event_type": event_type,
        "tenant_id": "acme",
        "session_id": "ses_1",
        "execution_id": "exe_1",
        "timestamp": NOW,
        "payload": payload,
    }


def event(seq: int, event_type: str, **payload: Any) -> Event:
    return Event(**envelope(seq, event_type, **payload))


async def test_the_token_goes_with_every_request_and_into_no_address(waits: Waits) -> None:
    async with loopback(say(200, SESSION.to_dict())) as server, sdk_of(server, waits) as sdk:
        assert await sdk.get_session("ses_1") == SESSION
    assert (server.asked[0].headers["authorization"], server.asked[0].query) == ("Bearer t0ken", {})


async def test_a_field_that_a_newer_platform_adds_is_ignored(waits: Waits) -> None:
    newer = execution_to_wire(COMPLETED) | {"mood": "fine"}
    async with loopback(say(200, newer)) as server, sdk_of(server, waits) as sdk:
        assert await sdk.get_execution("exe_1") == COMPLETED


async def test_a_submit_that_was_never_answered_is_sent_again_under_the_same_key(waits: Waits) -> None:
    replayed = say(202, ACCEPTED, Idempotency_Replayed="true")
    async with loopback(hang_up, hang_up, replayed) as server, sdk_of(server, waits) as sdk:
        submitted = await sdk.invoke_intent("count_words", {"text": "a b c"}, session_id="ses_1")
    assert submitted == replace(SUBMITTED, replayed=True)
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert (len(server.asked), len(keys), len(keys.pop())) == (3, 1, 32)
    assert {asked.body for asked in server.asked} == {server.asked[0].body}


async def test_two_submits_have_two_keys_and_a_key_of_the_callers_is_kept(waits: Waits) -> None:
    async with loopback(*[say(202, ACCEPTED)] * 3) as server, sdk_of(server, waits) as sdk:
        await sdk.invoke_intent("count_words", session_id="ses_1")
        await sdk.invoke_intent("count_words", session_id="ses_1")
        await sdk.invoke_intent("count_words", session_id="ses_1", idempotency_key="mine")
    first, second, third = (asked.headers["idempotency-key"] for asked in server.asked)
    assert first != second
    assert third == "mine"


async def test_a_refusal_by_rate_is_tried_again_no_sooner_than_it_asks_for(waits: Waits) -> None:
    limited = problem(429, "rate_limited", "too many", {"Retry-After": "2"}, retryable=True)
    async with loopback(limited, say(202, ACCEPTED)) as server, sdk_of(server, waits) as sdk:
        await sdk.submit(REQUEST)
    assert waits.waited_s == [2.075]


async def test_a_retry_after_that_is_a_date_counts_from_the_answers_own_date(waits: Waits) -> None:
    dates = {"Retry-After": "Fri, 20 Nov 2026 16:00:03 GMT", "Date": "Fri, 20 Nov 2026 16:00:00 GMT"}
    limited = problem(503, "overloaded", "draining", dates, retryable=True)
    async with loopback(limited, say(202, ACCEPTED)) as server, sdk_of(server, waits) as sdk:
        await sdk.submit(REQUEST)
    assert waits.waited_s == [3.075]


async def test_an_answer_that_asks_for_a_long_wait_goes_to_the_caller(waits: Waits) -> None:
    limited = problem(429, "quota_exceeded", "tomorrow", {"Retry-After": "3600"}, retryable=True)
    async with loopback(limited) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(Limited) as refused:
            await sdk.submit(REQUEST)
    assert (refused.value.code, refused.value.retry_after_s, waits.waited_s) == ("quota_exceeded", 3600.0, [])


async def test_waits_grow_and_end_with_what_was_tried(waits: Waits) -> None:
    busy = problem(503, "overloaded", "busy", {"Retry-After": "0"}, retryable=True)
    async with loopback(*[busy] * 4) as server, sdk_of(server, waits, attempts_max=4) as sdk:
        with pytest.raises(Overloaded) as refused:
            await sdk.submit(REQUEST)
    assert waits.waited_s == [0.075, 0.15, 0.3]
    assert refused.value.__notes__ == ["tried 4 times in 0.5 s"]


async def test_a_refusal_that_is_final_is_not_tried_again(waits: Waits) -> None:
    denied = problem(403, "policy_denied", "no", policy="quota", reason="none left", request_id="req_7")
    async with loopback(denied) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(PolicyDenied) as refused:
            await sdk.submit(REQUEST)
    error = refused.value
    assert (str(error), error.policy, error.reason, error.request_id) == ("no", "quota", "none left", "req_7")
    assert len(server.asked) == 1


async def test_a_validation_failure_names_its_fields(waits: Waits) -> None:
    errors = [{"pointer": "/parameters/text", "detail": "is missing"}]
    refusal = problem(422, "validation_failed", "bad", errors=errors)
    async with loopback(refusal) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(Invalid) as refused:
            await sdk.submit(REQUEST)
    assert refused.value.errors == (("/parameters/text", "is missing"),)


async def test_an_unknown_code_comes_through_as_it_is(waits: Waits) -> None:
    refusal = problem(418, "file_not_found", "no such file", {"X-Request-Id": "req_8"}, file_id="art_1")
    async with loopback(refusal) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(RemoteError) as refused:
            await sdk.submit(REQUEST)
    error = refused.value
    assert (error.code, error.details["file_id"], error.request_id) == ("file_not_found", "art_1", "req_8")


async def test_what_may_not_happen_twice_is_not_sent_twice(waits: Waits) -> None:
    async with loopback(hang_up, hang_up) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(Unreachable):
            await sdk.cancel("exe_1")
        with pytest.raises(Unreachable):
            await sdk.create_pending(intent_type="i", target_artifact_id="art_1", session_id="ses_1")
    assert len(server.asked) == 2


async def test_what_was_refused_unprocessed_is_sent_again_even_if_it_may_not_happen_twice(waits: Waits) -> None:
    busy = problem(503, "overloaded", "busy", {"Retry-After": "1"}, retryable=True)
    async with loopback(busy, say(200, execution_to_wire(COMPLETED))) as server, sdk_of(server, waits) as sdk:
        assert await sdk.cancel("exe_1", reason="late") == COMPLETED
    assert [asked.json for asked in server.asked] == [{"reason": "late"}] * 2


async def test_nobody_listening_is_named_and_tried_again(waits: Waits) -> None:
    async with loopback() as server:
        url = server.url
    async with ExperienceSDK.connect(url, retry=Retry(sleep=waits, attempts_max=3)) as sdk:
        with pytest.raises(Unreachable) as refused:
            await sdk.cancel("exe_1")
    assert str(refused.value).startswith(f"{url} cannot be reached: ")
    assert len(waits.waited_s) == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Unauthenticated), (404, NotFound), (302, RemoteError), (500, RemoteError)]
)
async def test_an_answer_of_something_else_is_called_that(
    waits: Waits, status: int, kind: type[SymphainyError]
) -> None:
    page = say(status, b"<html>", Content_Type="text/html", Location="https://elsewhere.example/")
    async with loopback(page) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(kind) as refused:
            await sdk.get_session("ses_1")
    assert f"GET {server.url}/api/session/ses_1 was answered with {status}" in str(refused.value)


async def test_an_answer_that_is_no_session_is_called_that(waits: Waits) -> None:
    async with loopback(say(200, {"hello": "world"}), say(200, b"hello")) as server, sdk_of(server, waits) as sdk:
        for _ in range(2):
            with pytest.raises(RemoteError) as refused:
                await sdk.get_session("ses_1")
            assert refused.value.code == "unexpected_answer"


async def test_a_gateway_that_does_not_get_through_is_a_connection_fault(waits: Waits) -> None:
    gateway = say(502, b"bad gateway", Content_Type="text/plain")
    async with loopback(gateway, say(200, SESSION.to_dict())) as server, sdk_of(server, waits) as sdk:
        assert await sdk.get_session("ses_1") == SESSION


@pytest.mark.parametrize("hostile", ["..", ".", ""])
async def test_an_id_leads_to_no_other_route(waits: Waits, hostile: str) -> None:
    async with loopback() as server, sdk_of(server, waits) as sdk:
        with pytest.raises(NotFound):
            await sdk.get_session(hostile)


async def test_the_slashes_of_an_id_are_escaped(waits: Waits) -> None:
    async with loopback(say(200, SESSION.to_dict())) as server, sdk_of(server, waits) as sdk:
        await sdk.get_session("../x?y#z")
    assert server.asked[0].path == "/api/session/..%2Fx%3Fy%23z"


@pytest.mark.parametrize("url", ["", "localhost:8001", "ftp://x", "http://", "//x"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(Invalid, match=r"Write it like http://127\.0\.0\.1:8001"):
        ExperienceSDK.connect(url)


def test_a_token_that_is_no_header_is_refused_and_not_shown() -> None:
    with pytest.raises(Invalid) as refused:
        ExperienceSDK.connect("http://127.0.0.1:8001", token="se\ncret")
    assert "cret" not in str(refused.value)


async def test_a_runtime_without_a_token_is_told_the_tenant_each_time() -> None:
    script = [say(200, SESSION.to_dict()), say(202, ACCEPTED)]
    async with loopback(*script) as server, ExperienceSDK.connect(server.url, tenant_id="acme") as sdk:
        await sdk.get_session("ses_1")
        await sdk.submit(REQUEST)
    assert [asked.query for asked in server.asked] == [{"tenant_id": "acme"}] * 2
    assert "authorization" not in server.asked[0].headers


async def test_callers_share_connections_and_nothing_else(waits: Waits) -> None:
    seen = say(200, SESSION.to_dict(), Set_Cookie="who=ann")
    async with loopback(seen, seen) as server, sdk_of(server, waits) as sdk:
        await sdk.get_session("ses_1")
        await sdk.with_token("other").get_session("ses_1")
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer t0ken", "Bearer other"]
    assert "cookie" not in server.asked[1].headers


async def test_an_anonymous_session_comes_with_the_token_that_opens_it() -> None:
    answer = SESSION.to_dict() | {"access_token": "anon", "expires_in": 60}
    async with loopback(say(201, answer)) as server, ExperienceSDK.connect(server.url) as sdk:
        opened = await sdk.create_anonymous_session(context={"a": 1})
    assert opened == AnonymousSession(session=SESSION, access_token="anon", expires_in=60)
    assert (server.asked[0].path, server.asked[0].json) == (
        "/api/session/create-anonymous",
        {"context": {"a": 1}},
    )


async def test_a_platform_that_is_down_tells_its_health_all_the_same(waits: Waits) -> None:
    down = {
        "status": "down",
        "version": "1",
        "profile": "development",
        "checks": {"store": {"status": "down", "detail": "gone", "latency_ms": 1.5}},
    }
    async with loopback(say(503, down, Content_Type="application/json")) as server, sdk_of(server, waits) as sdk:
        health = await sdk.health()
    assert health == Health(
        status="down",
        version="1",
        profile="development",
        checks={"store": Check(status="down", detail="gone", latency_ms=1.5)},
    )


async def test_a_batch_answers_each_request_in_order(waits: Waits) -> None:
    refused = {"code": "unknown_intent", "detail": "no such", "status": 404, "title": "T", "near": "x"}
    async with loopback(hang_up, say(202, [ACCEPTED, refused])) as server, sdk_of(server, waits) as sdk:
        answers = await sdk.submit_batch([REQUEST, REQUEST])
    first, second = server.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert answers == (
        SUBMITTED,
        Refusal(code="unknown_intent", message="no such", details={"near": "x"}),
    )


# --- streams ------------------------------------------------------------------------------------------------


async def collected(stream: AsyncIterator[Event]) -> list[Event]:
    return [each async for each in stream]


async def test_a_stream_that_is_cut_goes_on_where_it_was(waits: Waits) -> None:
    script = [
        events(envelope(2, "snapshot"), envelope(3, "noted", n=1), torn=b'id: 4\nevent: noted\ndata: {"po'),
        hang_up,
        events(envelope(4, "noted", n=2)),
        events(envelope(5, "execution_completed")),
    ]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        seen = await collected(sdk.subscribe("exe_1"))
    assert seen == [
        event(2, "snapshot"),
        event(3, "noted", n=1),
        event(4, "noted", n=2),
        event(5, "execution_completed"),
    ]
    resumed = [asked.headers.get("last-event-id") for asked in server.asked]
    assert resumed == [None, "3", "3", "4"]
    assert {asked.headers["accept"] for asked in server.asked} == {"text/event-stream"}


async def test_an_event_that_comes_twice_is_told_once(waits: Waits) -> None:
    again = events(envelope(3, "noted"), envelope(4, "execution_completed"))
    async with loopback(events(envelope(3, "noted")), again) as server, sdk_of(server, waits) as sdk:
        seen = await collected(sdk.subscribe("exe_1", after=2))
    assert [each.seq for each in seen] == [3, 4]


async def test_a_gap_is_told_and_the_snapshot_after_it_counts(waits: Waits) -> None:
    script = [
        events(envelope(9, "noted")),
        events(envelope(2, "stream.gap", oldest=2), envelope(5, "snapshot")),
        events(envelope(6, "execution_failed")),
    ]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        seen = await collected(sdk.subscribe("exe_1", after=8))
    assert [each.event_type for each in seen] == ["noted", "stream.gap", "snapshot", "execution_failed"]
    assert [asked.headers["last-event-id"] for asked in server.asked] == ["8", "9", "5"]


async def test_a_stream_resumed_at_its_end_has_nothing_more(waits: Waits) -> None:
    async with loopback(say(204)) as server, sdk_of(server, waits) as sdk:
        assert await collected(sdk.subscribe("exe_1", after=5)) == []
    assert len(server.asked) == 1


async def test_a_stream_refused_by_rate_is_asked_for_again(waits: Waits) -> None:
    busy = problem(503, "overloaded", "busy", {"Retry-After": "1"}, retryable=True)
    script = [busy, events(envelope(2, "execution_completed"))]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        seen = await collected(sdk.subscribe("exe_1", after=1))
    assert ([each.seq for each in seen], waits.waited_s) == ([2], [1.075])


async def test_an_execution_that_is_not_there_has_no_stream_and_no_status(waits: Waits) -> None:
    gone = problem(404, "not_found", "no execution exe_1")
    async with loopback(gone, gone) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(NotFound, match="no execution exe_1"):
            await collected(sdk.subscribe("exe_1"))


async def test_where_no_stream_can_be_had_the_status_is_asked_for_and_that_is_said(
    waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    noted = {"event_type": "noted", "payload": {"n": 1}, "seq": 4}
    running = execution_to_wire(RUNNING)
    script = [
        say(200, b"<html>", Content_Type="text/html"),
        say(200, b"<html>", Content_Type="text/html"),
        say(200, running),
        say(200, running),
        say(200, running | {"events": [noted], "progress": {"fraction": 0.5, "message": "half"}}),
        say(200, execution_to_wire(COMPLETED) | {"events": [noted]}),
    ]
    async with loopback(*script) as server, sdk_of(server, waits, attempts_max=2) as sdk:
        seen = await collected(sdk.subscribe("exe_1"))
    assert [(each.event_type, each.seq) for each in seen] == [
        (POLLING, None),
        ("snapshot", None),
        ("snapshot", None),
        ("noted", 4),
        ("execution_completed", None),
    ]
    reason = f"{server.url}/api/execution/exe_1/stream answered with text/html, not a stream"
    assert seen[0].payload == {"reason": reason}
    assert seen[-1].payload == {"artifacts": {}, "result": {"words": 3}}
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"exe_1 is followed by its status, as no stream can be had: {reason}"
    ]


async def test_a_fall_back_in_the_middle_repeats_nothing(waits: Waits) -> None:
    noted = [{"event_type": "noted", "payload": {"n": n}, "seq": n} for n in (3, 4)]
    ended = execution_to_wire(COMPLETED) | {"events": noted}
    script = [events(envelope(3, "noted", n=3)), hang_up, hang_up, say(200, ended)]
    async with loopback(*script) as server, sdk_of(server, waits, attempts_max=2) as sdk:
        seen = await collected(sdk.subscribe("exe_1", after=2))
    assert [(each.event_type, each.seq) for each in seen] == [
        ("noted", 3),
        (POLLING, None),
        ("noted", 4),
        ("execution_completed", None),
    ]


async def test_to_stop_listening_closes_the_connection(waits: Waits) -> None:
    hung_up = asyncio.Event()

    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, {"Content-Type": "text/event-stream"}) + sse(envelope(2, "snapshot")))
        await asked.gone()
        hung_up.set()

    async with loopback(endless) as server, sdk_of(server, waits) as sdk:
        async with aclosing(sdk.subscribe("exe_1")) as stream:
            assert (await anext(stream)).event_type == "snapshot"
        async with asyncio.timeout(5):
            await hung_up.wait()


async def test_run_waits_for_the_end_and_returns_what_came_out(waits: Waits) -> None:
    script = [
        say(202, ACCEPTED),
        events(envelope(2, "snapshot"), envelope(3, "execution_completed")),
        say(200, execution_to_wire(COMPLETED)),
    ]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        assert await sdk.run("count_words", {"text": "a b c"}, session_id="ses_1") == COMPLETED


async def test_run_raises_what_the_execution_failed_with(waits: Waits) -> None:
    error = {"code": "conflict", "message": "not now", "details": {"state": "READY"}, "retryable": False}
    failed = execution_to_wire(COMPLETED) | {"status": "failed", "lifecycle_state": "failed", "error": error}
    script = [say(202, ACCEPTED), events(envelope(3, "execution_failed")), say(200, failed)]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(Conflict) as refused:
            await sdk.run("count_words", session_id="ses_1")
    assert (str(refused.value), refused.value.details) == (
        "not now",
        {"state": "READY", "execution_id": "exe_1"},
    )


# --- bytes --------------------------------------------------------------------------------------------------


async def test_a_download_that_is_cut_goes_on_at_the_next_byte(waits: Waits) -> None:
    whole = {"Content-Type": "text/plain", "Content-Length": "11", "ETag": '"abc"', "Connection": "close"}
    rest = {"Content-Range": "bytes 5-10/11", "ETag": '"abc"', "Content-Type": "text/plain"}
    script = [
        cut(200, whole, b"hello"),
        hang_up,
        say(206, b" world", **{k.replace("-", "_"): v for k, v in rest.items()}),
    ]
    async with loopback(*script) as server, sdk_of(server, waits) as sdk:
        content = await sdk.open_artifact("art_1")
        data = b"".join([chunk async for chunk in content.chunks])
    assert (data, content.sha256, content.size_bytes) == (b"hello world", "abc", 11)
    assert [asked.headers.get("range") for asked in server.asked] == [None, "bytes=5-10", "bytes=5-10"]


async def test_a_download_never_goes_on_with_other_bytes(waits: Waits) -> None:
    whole = {"Content-Type": "text/plain", "Content-Length": "11", "ETag": '"abc"', "Connection": "close"}
    other = say(206, b" world", Content_Range="bytes 5-10/11", ETag='"xyz"')
    async with loopback(cut(200, whole, b"hello"), other) as server, sdk_of(server, waits) as sdk:
        content = await sdk.open_artifact("art_1")
        with pytest.raises(Unreachable, match="cut off at byte 5 of 11"):
            async for _ in content.chunks:
                pass


async def test_a_part_of_a_download_is_asked_for_by_range(waits: Waits) -> None:
    part = say(
        206,
        b"ell",
        Content_Range="bytes 1-3/5",
        ETag='"abc"',
        Content_Disposition="attachment; filename*=UTF-8''na%C3%AFve.txt",
        Content_Type="text/plain",
    )
    async with loopback(part) as server, sdk_of(server, waits) as sdk:
        content = await sdk.open_artifact("art_1", start=1, stop=4)
        assert b"".join([chunk async for chunk in content.chunks]) == b"ell"
    assert (content.start, content.stop, content.size_bytes, content.filename) == (1, 4, 5, "naïve.txt")
    assert server.asked[0].headers["range"] == "bytes=1-3"


async def test_an_upload_that_was_cut_is_sent_again_whole_under_one_key(waits: Waits, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"dear " * 100_000)
    told: list[tuple[int, int | None]] = []
    async with loopback(hang_up, say(202, ACCEPTED)) as server, sdk_of(server, waits) as sdk:
        submitted = await sdk.upload(
            path,
            session_id="ses_1",
            metadata={"saga": "ingest_to_search"},
            progress=lambda sent, size: told.append((sent, size)),
        )
    assert submitted == SUBMITTED
    first, second = server.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert second.body.count(b"dear ") == 100_000
    assert b'name="metadata"\r\n\r\n{"saga":"ingest_to_search"}\r\n' in second.body
    assert b'name="session_id"\r\n\r\nses_1\r\n' in second.body
    assert b'name="file"; filename="letter.txt"\r\n\r\n' in second.body
    chunk, size = 256 * 1024, 500_000
    assert told == [(chunk, size), (size, size), (0, size), (chunk, size), (size, size)]


async def test_chunks_that_have_begun_are_not_sent_again(waits: Waits) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"once"

    async with loopback(hang_up) as server, sdk_of(server, waits) as sdk:
        with pytest.raises(Unreachable):
            await sdk.upload(chunks(), filename="a.txt", session_id="ses_1")
    assert len(server.asked) == 1


async def test_a_file_that_is_not_there_fails_before_anything_is_sent(waits: Waits, tmp_path: Path) -> None:
    async with loopback() as server, sdk_of(server, waits) as sdk:
        with pytest.raises(FileNotFoundError):
            await sdk.upload(tmp_path / "nothing.txt", session_id="ses_1")
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "written"),
    [('a"b\r\nX: y.txt', b'a\\"b%0D%0AX: y.txt'), ("naïve.txt", "naïve.txt".encode()), ("\udcff.txt", b"?.txt")],
)
async def test_no_file_name_breaks_out_of_its_place(waits: Waits, tmp_path: Path, name: str, written: bytes) -> None:
    path = tmp_path / "file"
    path.touch()
    async with loopback(say(202, ACCEPTED)) as server, sdk_of(server, waits) as sdk:
        await sdk.upload(path, filename=name, session_id="ses_1")
    assert b'filename="' + written + b'"\r\n' in server.asked[0].body


# --- the mirror ---------------------------------------------------------------------------------------------


async def test_the_plain_sdk_does_the_same_without_await(waits: Waits) -> None:
    content = say(200, b"hello", Content_Type="text/plain", ETag='"abc"')
    script = [
        say(200, SESSION.to_dict()),
        events(envelope(2, "snapshot"), envelope(3, "execution_completed")),
        content,
        problem(404, "not_found", "no session ses_2"),
    ]

    def use(url: str) -> list[Any]:
        with SyncExperienceSDK.connect(url, token="t0ken", retry=Retry(sleep=waits)) as sdk:
            out: list[Any] = [sdk.get_session("ses_1")]
            out.append([each.seq for each in sdk.subscribe("exe_1")])
            out.append(b"".join(sdk.open_artifact("art_1").chunks))
            with pytest.raises(NotFound, match="no session ses_2"):
                sdk.get_session("ses_2")
        with pytest.raises(RuntimeError, match="closed"):
            sdk.get_session("ses_1")
        return out

    async with loopback(*script) as server:
        assert await asyncio.to_thread(use, server.url) == [SESSION, [2, 3], b"hello"]


async def test_a_door_of_its_own_closes_with_its_block(waits: Waits) -> None:
    async with loopback() as server:
        async with HttpDoor.connect(server.url) as door:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            await door.get_session("ses_1")
