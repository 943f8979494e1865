"""What the Experience SDK promises, whatever it stands on. Each transport runs all of it."""

import asyncio
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from symphainy.door import IntentRequest, OpenedContent, Refusal
from symphainy.errors import (
    Cancelled,
    Conflict,
    IdempotencyMismatch,
    Invalid,
    NotFound,
    SessionExpired,
    SessionRequired,
    SymphainyError,
    TenantMismatch,
    UnknownIntent,
)
from symphainy.model import Artifact, Event, Execution, Page, Session, Status, Submitted
from symphainy.sdk import ExperienceSDK, QueryState


class SdkOf(Protocol):
    def __call__(self, tenant_id: str) -> ExperienceSDK:
        """The SDK as an operator of that tenant."""


async def events_of(sdk: ExperienceSDK, execution_id: str, after: int | None = None) -> list[Event]:
    return [event async for event in sdk.subscribe(execution_id, after=after)]


async def until(sdk: ExperienceSDK, execution_id: str, event_type: str) -> Event:
    async with aclosing(sdk.subscribe(execution_id, after=0)) as events:
        async for event in events:
            if event.event_type == event_type:
                return event
    raise AssertionError(f"{execution_id} ended without {event_type}")


async def written(
    sdk: ExperienceSDK, session: Session, text: str, *, times: int = 1, parent: str | None = None
) -> Artifact:
    parameters = {"text": text, "times": times, "parent": parent}
    done = await sdk.run("write", parameters, session_id=session.session_id)
    return await sdk.resolve_artifact(done.artifacts["writing"].artifact_id)


async def read(content: OpenedContent) -> bytes:
    return b"".join([chunk async for chunk in content.chunks])


def without_place(value: Execution | Artifact) -> Execution | Artifact:
    """Without its place in the log, which the wire leaves out."""
    return msgspec.structs.replace(value, ordinal=0)


class SdkRules:
    """`sdk_of` gives the SDK of a tenant; `session` is a fresh session of the tenant `acme`."""

    @pytest.fixture
    def sdk(self, sdk_of: SdkOf) -> ExperienceSDK:
        return sdk_of("acme")

    # --- sessions ---

    async def test_a_session_is_read_as_it_was_created(self, sdk: ExperienceSDK) -> None:
        created = await sdk.create_session(solution_id="claims", context={"a": {"b": 1}}, metadata={"m": 1})
        assert await sdk.get_session(created.session_id) == created
        assert (created.tenant_id, created.solution_id, created.context) == ("acme", "claims", {"a": {"b": 1}})

    async def test_an_update_merges_and_null_removes(self, sdk: ExperienceSDK) -> None:
        session = await sdk.create_session(context={"keep": 1, "drop": 2, "deep": {"x": 1}})
        changed = await sdk.update_session(session.session_id, context={"drop": None, "deep": {"y": 2}})
        assert changed.context == {"keep": 1, "deep": {"x": 1, "y": 2}}
        assert await sdk.get_session(session.session_id) == changed

    async def test_a_closed_session_takes_no_more_intents(self, sdk: ExperienceSDK, session: Session) -> None:
        closed = await sdk.close_session(session.session_id)
        assert closed.lifecycle_state == "closed"
        with pytest.raises(SessionExpired):
            await sdk.invoke_intent("double", {"number": 1}, session_id=session.session_id)

    async def test_a_session_that_is_not_there_is_required(self, sdk: ExperienceSDK) -> None:
        with pytest.raises(SessionRequired):
            await sdk.get_session("ses_nowhere")
        with pytest.raises(SessionRequired):
            await sdk.invoke_intent("double", {"number": 1}, session_id="ses_nowhere")

    # --- intents ---

    async def test_a_submission_is_accepted_and_runs(self, sdk: ExperienceSDK, session: Session) -> None:
        submitted = await sdk.invoke_intent("double", {"number": 21}, session_id=session.session_id)
        assert (submitted.status, submitted.replayed) == ("accepted", False)
        execution = await sdk.wait(submitted.execution_id, timeout_s=20)
        assert (execution.status, execution.result) == (Status.COMPLETED, {"doubled": 42})
        assert execution == await sdk.get_execution(submitted.execution_id)

    async def test_run_returns_the_finished_execution(self, sdk: ExperienceSDK, session: Session) -> None:
        execution = await sdk.run("double", {"number": 4}, session_id=session.session_id)
        assert (execution.status, execution.result) == (Status.COMPLETED, {"doubled": 8})

    async def test_run_raises_what_the_handler_refused_with(self, sdk: ExperienceSDK, session: Session) -> None:
        with pytest.raises(SymphainyError) as refused:
            await sdk.run("refuse", session_id=session.session_id)
        error = refused.value
        assert (error.code, error.message, error.details["noon"]) == ("too_early", "not before noon", 12)
        assert error.details["execution_id"].startswith("exe_")

    async def test_an_intent_that_nobody_registered_is_unknown(self, sdk: ExperienceSDK, session: Session) -> None:
        with pytest.raises(UnknownIntent, match=r"doubel.*double"):
            await sdk.invoke_intent("doubel", {"number": 1}, session_id=session.session_id)

    async def test_parameters_that_do_not_fit_are_named(self, sdk: ExperienceSDK, session: Session) -> None:
        with pytest.raises(Invalid) as refused:
            await sdk.invoke_intent("double", {"number": "many"}, session_id=session.session_id)
        assert [error.pointer for error in refused.value.errors] == ["/parameters/number"]

    async def test_one_key_gives_one_execution(self, sdk: ExperienceSDK, session: Session) -> None:
        request = IntentRequest(
            intent_type="double",
            session_id=session.session_id,
            parameters={"number": 1},
            idempotency_key=session.session_id,
        )
        first, second = await sdk.submit(request), await sdk.submit(request)
        assert second == msgspec.structs.replace(first, replayed=True)
        with pytest.raises(IdempotencyMismatch):
            await sdk.submit(msgspec.structs.replace(request, parameters={"number": 2}))

    async def test_a_batch_answers_each_request_in_order(self, sdk: ExperienceSDK, session: Session) -> None:
        good = IntentRequest(intent_type="double", session_id=session.session_id, parameters={"number": 1})
        bad = IntentRequest(intent_type="doubel", session_id=session.session_id)
        first, second, third = await sdk.submit_batch([good, bad, good])
        assert isinstance(first, Submitted)
        assert isinstance(second, Refusal)
        assert isinstance(third, Submitted)
        assert first.execution_id != third.execution_id
        assert second.code == "unknown_intent"

    async def test_the_catalogue_tells_every_intent_and_its_realm(self, sdk: ExperienceSDK) -> None:
        catalogue = {info.intent_type: info for info in await sdk.list_intents()}
        assert await sdk.get_intent("double") == catalogue["double"]
        assert catalogue["double"].parameters_schema["required"] == ["number"]
        realms = [realm for realm in await sdk.list_realms() if realm.capability == "probing"]
        assert [set(realm.intents) for realm in realms] == [{"double", "remark", "refuse", "linger", "write"}]

    # --- following ---

    async def test_a_subscription_tells_everything_from_a_snapshot_to_the_end(
        self, sdk: ExperienceSDK, session: Session
    ) -> None:
        submitted = await sdk.invoke_intent("remark", {"times": 3}, session_id=session.session_id)
        seen = await events_of(sdk, submitted.execution_id)
        assert (seen[0].event_type, seen[-1].event_type) == ("snapshot", "execution_completed")
        first, rest = seen[0].seq, [event.seq for event in seen[1:]]
        assert first is not None
        assert rest == list(range(first + 1, first + 1 + len(rest)))

    async def test_a_subscription_resumes_at_every_point(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("remark", {"times": 3}, session_id=session.session_id)
        whole = await events_of(sdk, done.execution_id, after=0)
        assert [event.seq for event in whole] == list(range(1, len(whole) + 1))
        assert [event.payload for event in whole if event.event_type == "remarked"] == [
            {"number": 0},
            {"number": 1},
            {"number": 2},
        ]
        for seq in range(1, len(whole) + 1):
            assert await events_of(sdk, done.execution_id, after=seq) == whole[seq:]

    async def test_the_stream_is_the_log(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("remark", {"times": 2}, session_id=session.session_id)
        whole = await events_of(sdk, done.execution_id, after=0)
        page = await sdk.wal_events(execution_id=done.execution_id, limit=500)
        assert list(page.items) == whole
        assert [event async for event in sdk.stream(done.execution_id, after=0)] == whole

    async def test_the_log_is_read_page_by_page(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("remark", {"times": 5}, session_id=session.session_id)
        whole = (await sdk.wal_events(execution_id=done.execution_id, limit=500)).items
        paged: list[Event] = []
        after = 0
        while True:
            page = await sdk.wal_events(execution_id=done.execution_id, after=after, limit=2)
            paged += page.items
            if page.next_cursor is None:
                break
            after = int(page.next_cursor)
        assert tuple(paged) == whole
        typed = await sdk.wal_events(execution_id=done.execution_id, event_type="remarked")
        assert typed.items == tuple(event for event in whole if event.event_type == "remarked")

    async def test_waiting_ends_with_its_time(self, sdk: ExperienceSDK, session: Session) -> None:
        submitted = await sdk.invoke_intent("linger", session_id=session.session_id)
        await until(sdk, submitted.execution_id, "lingering")
        waited = await sdk.wait(submitted.execution_id, timeout_s=0.05)
        assert waited.status is Status.RUNNING
        await sdk.cancel(submitted.execution_id)

    async def test_a_cancelled_execution_ends_for_everybody_who_follows_it(
        self, sdk: ExperienceSDK, session: Session
    ) -> None:
        id_ = session.session_id
        running = asyncio.ensure_future(sdk.run("linger", session_id=id_, idempotency_key=id_))
        submitted = await sdk.invoke_intent("linger", session_id=id_, idempotency_key=id_)
        followed = asyncio.ensure_future(events_of(sdk, submitted.execution_id))
        await until(sdk, submitted.execution_id, "lingering")
        cancelled = await sdk.cancel(submitted.execution_id, reason="enough")
        assert cancelled.status is Status.CANCELLED
        assert (await followed)[-1].event_type == "execution_cancelled"
        with pytest.raises(Cancelled):
            await running
        with pytest.raises(Conflict):
            await sdk.cancel(submitted.execution_id)

    async def test_steps_are_told_on_request(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("double", {"number": 1}, session_id=session.session_id)
        assert done.steps is None
        detailed = await sdk.get_execution(done.execution_id, include_steps=True)
        assert detailed.steps is not None
        assert [step.name for step in detailed.steps if step.name == "double"] == ["double"]

    async def test_executions_are_listed_newest_first_page_by_page(self, sdk: ExperienceSDK, session: Session) -> None:
        done = [(await sdk.run("double", {"number": n}, session_id=session.session_id)).execution_id for n in range(5)]
        listed: list[str] = []
        cursor = None
        while True:
            page = await sdk.list_executions(session_id=session.session_id, limit=2, cursor=cursor)
            assert len(page.items) <= 2
            listed += [each.execution_id for each in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert listed == done[::-1]
        assert (await sdk.list_executions(session_id=session.session_id, status="failed")).items == ()
        with pytest.raises(Invalid):
            await sdk.list_executions(status="fine")

    # --- state ---

    async def test_state_tells_what_was_asked_for_and_no_more(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("double", {"number": 3}, session_id=session.session_id)
        other = await sdk.run("double", {"number": 4}, session_id=session.session_id)
        assert await sdk.query_state(session.session_id) == QueryState(session=session)
        one = await sdk.query_state(session.session_id, "acme", done.execution_id, include_artifacts=True)
        assert one.execution == done
        assert [each.semantic_payload for each in one.artifacts or ()] == [{"doubled": 6}]
        whole = await sdk.query_state(session.session_id, include_artifacts=True)
        assert whole.execution is None
        assert {each.produced_by.execution_id for each in whole.artifacts or ()} == {
            done.execution_id,
            other.execution_id,
        }

    async def test_the_name_of_another_tenant_is_refused(self, sdk: ExperienceSDK, session: Session) -> None:
        done = await sdk.run("double", {"number": 3}, session_id=session.session_id)
        with pytest.raises(TenantMismatch):
            await sdk.query_state(session.session_id, tenant_id="globex")
        with pytest.raises(TenantMismatch):
            await sdk.invoke_intent("double", {"number": 1}, session_id=session.session_id, tenant_id="globex")
        with pytest.raises(TenantMismatch):
            async for _ in sdk.subscribe(done.execution_id, tenant_id="globex"):
                pass

    async def test_nothing_of_one_tenant_can_be_named_by_another(
        self, sdk: ExperienceSDK, sdk_of: SdkOf, session: Session
    ) -> None:
        artifact = await written(sdk, session, "ours")
        execution_id, artifact_id = artifact.produced_by.execution_id, artifact.artifact_id
        stranger = sdk_of("globex")
        theirs = await stranger.create_session()
        for attempt in (
            stranger.get_session(session.session_id),
            stranger.update_session(session.session_id, context={"a": 1}),
            stranger.close_session(session.session_id),
            stranger.invoke_intent("double", {"number": 1}, session_id=session.session_id),
            stranger.get_execution(execution_id),
            stranger.execution_artifacts(execution_id),
            stranger.wait(execution_id, timeout_s=1),
            stranger.cancel(execution_id),
            anext(stranger.subscribe(execution_id)),
            stranger.resolve_artifact(artifact_id),
            stranger.open_artifact(artifact_id),
            stranger.artifact_lineage(artifact_id),
            stranger.create_pending(intent_type="double", target_artifact_id=artifact_id, session_id=theirs.session_id),
        ):
            with pytest.raises(NotFound):
                await attempt
        assert (await stranger.list_executions(session_id=session.session_id)).items == ()
        assert (await stranger.list_artifacts(session_id=session.session_id)).items == ()
        assert (await stranger.wal_events(session_id=session.session_id)).items == ()

    # --- artifacts ---

    async def test_an_artifact_is_the_same_by_every_way(self, sdk: ExperienceSDK, session: Session) -> None:
        artifact = await written(sdk, session, "hello")
        assert await sdk.execution_artifacts(artifact.produced_by.execution_id) == (artifact,)
        page = await sdk.list_artifacts(session_id=session.session_id, artifact_type="writing")
        assert page.items == (artifact,)
        assert artifact.lifecycle_state == "READY"
        with pytest.raises(NotFound):
            await sdk.resolve_artifact("art_nowhere")

    async def test_content_comes_whole_or_in_part(self, sdk: ExperienceSDK, session: Session) -> None:
        text = "0123456789" * 100_000
        artifact = await written(sdk, session, "0123456789", times=100_000)
        (stored,) = artifact.materializations
        content = await sdk.open_artifact(artifact.artifact_id)
        assert await read(content) == text.encode()
        assert (content.media_type, content.filename, content.sha256, content.size_bytes) == (
            "text/plain",
            "naïve name.txt",
            stored.sha256,
            len(text),
        )
        part = await sdk.open_artifact(
            artifact.artifact_id, materialization_id=stored.materialization_id, start=5, stop=12
        )
        assert (part.start, part.stop, await read(part)) == (5, 12, b"5678901")
        rest = await sdk.open_artifact(artifact.artifact_id, start=len(text) - 3)
        assert (rest.start, rest.stop, await read(rest)) == (len(text) - 3, len(text), b"789")
        nothing = await sdk.open_artifact(artifact.artifact_id, start=7, stop=7)
        assert (nothing.start, nothing.stop, await read(nothing)) == (7, 7, b"")
        with pytest.raises(NotFound):
            await sdk.open_artifact(artifact.artifact_id, materialization_id="mat_nowhere")

    async def test_lineage_goes_up_and_down(self, sdk: ExperienceSDK, session: Session) -> None:
        first = await written(sdk, session, "first")
        second = await written(sdk, session, "second", parent=first.artifact_id)
        third = await written(sdk, session, "third", parent=second.artifact_id)
        ids = [first.artifact_id, second.artifact_id, third.artifact_id]
        for direction, expected in (("up", ids[:2]), ("down", ids[1:]), ("both", ids)):
            found = await sdk.artifact_lineage(second.artifact_id, direction=direction)
            assert {node["artifact_id"] for node in found["nodes"]} == set(expected)
            assert {(edge["parent"], edge["child"]) for edge in found["edges"]} == set(pairwise(expected))

    async def test_queued_work_is_listed_until_somebody_starts_it(self, sdk: ExperienceSDK, session: Session) -> None:
        artifact = await written(sdk, session, "hello")
        pending = await sdk.create_pending(
            intent_type="double",
            target_artifact_id=artifact.artifact_id,
            session_id=session.session_id,
            parameters={"number": 1},
        )
        assert (pending.status, pending.parameters) == ("pending", {"number": 1})
        assert await sdk.list_pending(session_id=session.session_id) == Page(items=(pending,), next_cursor=None)
        started = await sdk.list_pending(target_artifact_id=artifact.artifact_id, status="started")
        assert started == Page(items=(), next_cursor=None)

    async def test_queued_work_comes_page_by_page_newest_first(self, sdk: ExperienceSDK, session: Session) -> None:
        artifact = await written(sdk, session, "hello")
        queued = [
            await sdk.create_pending(
                intent_type="double",
                target_artifact_id=artifact.artifact_id,
                session_id=session.session_id,
                parameters={"number": number},
            )
            for number in range(5)
        ]
        pages: list[list[str]] = []
        cursor = None
        while True:
            page = await sdk.list_pending(session_id=session.session_id, limit=2, cursor=cursor)
            pages.append([pending.pending_id for pending in page.items])
            cursor = page.next_cursor
            if cursor is None:
                break
        ids = [pending.pending_id for pending in reversed(queued)]
        assert pages == [ids[:2], ids[2:4], ids[4:]]
        for limit, cursor in ((0, None), (501, None), (2, "x")):
            with pytest.raises(Invalid):
                await sdk.list_pending(limit=limit, cursor=cursor)

    async def test_a_file_goes_in_byte_by_byte_as_it_is(
        self, sdk: ExperienceSDK, session: Session, tmp_path: Path
    ) -> None:
        path = tmp_path / "a naïve name; (1).txt"
        path.write_bytes(b"one line\n" * 50_000)
        told: list[tuple[int, int | None]] = []
        submitted = await sdk.upload(
            path, session_id=session.session_id, progress=lambda sent, size: told.append((sent, size))
        )
        done = await sdk.wait(submitted.execution_id, timeout_s=30)
        assert done.status is Status.COMPLETED, done.error
        content = await sdk.open_artifact(done.result["file_id"])
        assert (await read(content), content.filename) == (path.read_bytes(), path.name)
        assert told[-1] == (450_000, 450_000)

    async def test_the_platform_says_how_it_is(self, sdk: ExperienceSDK) -> None:
        health = await sdk.health()
        assert health.status == "ok", health
        assert "store" in health.checks
