"""What a user does, as far as it got: after each crash it goes on from where it stood, and starts nothing twice."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.integration.crash.client import Client

ID = re.compile(r"\b[a-z]{3}_[a-z0-9]{26}\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: What a crash may change of an outcome: when it happened, where in the log, and how often it was tried.
VARYING = frozenset({"attempt", "latency_ms", "ordinal", "position", "seq", "request_id"})


class Job(Protocol):
    """What is submitted, and what is looked at in the end."""

    def submit(self, client: Client, session_id: str) -> str:
        """The execution id. Asked again after a crash, it submits the same."""

    def look(self, client: Client, session_id: str) -> Any:
        """What else must be the same as without a crash."""


@dataclass
class Visit:
    """Opens a session, does the job, and follows it from execution to execution. Acknowledged is what stands here."""

    job: Job
    session_id: str | None = None
    following: str | None = None
    seen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Every event that came, by execution, in the order of the executions."""
    outcome: Any = None

    def advance(self, client: Client) -> None:
        """Go on to the end. Raises `Cut` when the platform dies on the way."""
        if self.session_id is None:
            self.session_id = client.call("POST", "/api/session/create", {"context": {"visit": 1}})["session_id"]
        if not self.seen:
            self._follow(self.job.submit(client, self.session_id))
        while self.following is not None:
            self._read(client, self.following)
        self.outcome = self._look(client)

    def _follow(self, execution_id: str | None) -> None:
        self.following = execution_id
        if execution_id is not None:
            self.seen[execution_id] = []

    def _read(self, client: Client, execution_id: str) -> None:
        seen = self.seen[execution_id]
        for event in client.events(execution_id, after=len(seen)):
            assert event["seq"] == len(seen) + 1, f"after event {len(seen)} came {event['seq']}: {event}"
            seen.append(event)
        told = [event["payload"].get("next") for event in seen if event["event_type"].startswith("saga_")]
        then = next((each["execution_id"] for each in told if each), None)
        self._follow(then)

    def _look(self, client: Client) -> Any:
        executions = [
            client.call("GET", f"/api/execution/{execution_id}/status?include_artifacts=true&include_steps=true")
            for execution_id in self.seen
        ]
        artifacts = client.call("POST", "/api/artifact/list", {"session_id": self.session_id, "limit": 100})
        return plain(
            {
                "executions": [_without_attempts(each) for each in executions],
                "events": [_kinds(events) for events in self.seen.values()],
                "artifacts": artifacts["artifacts"],
                "session": client.call("GET", f"/api/session/{self.session_id}"),
                "more": self.job.look(client, str(self.session_id)),
            }
        )


def _without_attempts(execution: dict[str, Any]) -> dict[str, Any]:
    """Steps by name, with what they returned, not when or at which attempt."""
    steps = {step["name"]: step["result"] for step in execution["steps"] if step["status"] == "completed"}
    return {**execution, "steps": steps}


def _kinds(events: list[dict[str, Any]]) -> dict[str, int]:
    """How often each kind of event came, without those that tell of attempts."""
    told = {"execution_started", "execution_waiting", "step_failed"}
    return dict(Counter(event["event_type"] for event in events if event["event_type"] not in told))


def plain(value: Any) -> Any:
    """The value with ids numbered as they come, and without what may differ from one run to the next."""
    names: dict[str, str] = {}

    def named(text: str) -> str:
        text = ID.sub(lambda found: names.setdefault(found[0], f"{found[0][:3]}_{len(names)}"), text)
        return INSTANT.sub("then", text)

    def walk(each: Any) -> Any:
        match each:
            case dict():
                return {named(key): walk(inner) for key, inner in each.items() if key not in VARYING}
            case list():
                return [walk(inner) for inner in each]
            case str():
                return named(each)
            case _:
                return each

    return walk(value)


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two plain values differ, a line for each place."""
    match one, other:
        case dict(), dict():
            names = sorted(one.keys() | other.keys())
            missing = object()
            return [
                line
                for name in names
                for line in differences(one.get(name, missing), other.get(name, missing), f"{path}/{name}")
            ]
        case list(), list() if len(one) == len(other):
            pairs = enumerate(zip(one, other, strict=True))
            return [line for at, (left, right) in pairs for line in differences(left, right, f"{path}/{at}")]
        case _:
            return [] if one == other else [f"{path}: {one!r} is not {other!r}"]
