"""What the log remembers of one execution: the steps it has finished, so that a rerun gets them back."""

from __future__ import annotations

from collections.abc import Iterable

from symphainy.model import RESERVED_EVENTS, Event, JsonObject, PendingStatus, StepRecord
from symphainy.model.seal import ERASED
from symphainy.ports import TenantStore

PAGE = 500


class History:
    """A fold of one execution's events, as its handler needs them."""

    def __init__(self) -> None:
        self.intent: JsonObject = {}
        """The payload of `intent_received`."""
        self.steps: dict[str, StepRecord] = {}
        """Finished steps by key."""
        self.failures: dict[str, JsonObject] = {}
        """Steps that have failed for good in this run of the handler: key to error."""
        self.tried: dict[str, int] = {}
        """Failed attempts of each step."""
        self.registered: dict[str, str] = {}
        """Artifact ids by the key of the call that registered them."""
        self.produced: dict[str, str] = {}
        """Artifact ids, and the state each takes when the execution completes."""
        self.taken_up: dict[str, None] = {}
        """Pending intents that this execution has completed."""
        self.emitted: dict[str, int] = {}
        """How many events of each type the handler has emitted outside of steps."""
        self.failed_runs = 0
        """Runs of the handler that ended in a retry."""

    def apply(self, event: Event) -> None:
        payload = event.payload
        if payload == ERASED:
            return
        match event.event_type:
            case "intent_received":
                self.intent = payload
            case "step_completed":
                key = payload["name"]
                self.steps[key] = step_record(event)
                for kind, count in payload.get("emitted", {}).items():
                    self.emitted[kind] = self.emitted.get(kind, 0) - count
            case "step_failed":
                self.tried[payload["name"]] = payload["attempt"]
                if payload["final"]:
                    self.failures[payload["name"]] = payload["error"]
            case "execution_waiting" if payload["waiting_on"].get("step") is None:
                self.failed_runs += 1
                self.failures.clear()
            case "artifact_registered":
                self.registered[payload["call"]] = payload["artifact"]["artifact_id"]
                self.note_writes(event)
            case "pending_intent_changed":
                self.note_writes(event)
            case "execution_progress":
                self._emitted("execution_progress")
            case kind if kind not in RESERVED_EVENTS:
                self._emitted(kind)

    def _emitted(self, kind: str) -> None:
        self.emitted[kind] = self.emitted.get(kind, 0) + 1

    def note_writes(self, event: Event) -> None:
        """Keep what has to be settled when the execution ends."""
        payload = event.payload
        match event.event_type:
            case "artifact_registered":
                self.produced[payload["artifact"]["artifact_id"]] = payload["becomes"]
            case "pending_intent_changed" if payload["status"] == PendingStatus.COMPLETED:
                self.taken_up[payload["pending_id"]] = None
            case "pending_intent_changed":
                self.taken_up.pop(payload["pending_id"], None)


def step_record(event: Event) -> StepRecord:
    payload = event.payload
    failed = event.event_type == "step_failed"
    return StepRecord(
        name=payload["name"],
        status="failed" if failed else "completed",
        attempt=payload["attempt"],
        result=payload.get("result"),
        result_blob=payload.get("result_blob"),
        is_bytes=payload.get("is_bytes", False),
        error=payload["error"]["message"] if failed else None,
        seq=event.seq or 0,
        finished_at=event.timestamp,
    )


def steps_of(events: Iterable[Event]) -> tuple[StepRecord, ...]:
    """Finished and failed attempts, in the order they ended."""
    kinds = ("step_completed", "step_failed")
    return tuple(step_record(event) for event in events if event.event_type in kinds and event.payload != ERASED)


async def whole_history(tenant: TenantStore, execution_id: str) -> tuple[Event, ...]:
    found: list[Event] = []
    while page := await tenant.execution_events(execution_id, after=found[-1].seq or 0 if found else 0, limit=PAGE):
        found += page
        if len(page) < PAGE:
            break
    return tuple(found)


async def history_of(tenant: TenantStore, execution_id: str) -> History:
    history = History()
    for event in await whole_history(tenant, execution_id):
        history.apply(event)
    return history
