"""One visit to a platform that dies on the way, and everything that must hold after it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from symphainy.boot.phases import KEY_FOLDER, STORE_FILE
from symphainy.identity import DevelopmentIssuer
from symphainy.model import Event, Role
from symphainy.ports import EventFilter
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.ids import SystemIds
from symphainy.public_works.sqlite_snapshot import SqliteSnapshot
from symphainy.runtime.wal import replay_against_store, verify
from tests.integration.crash.client import Client, Cut
from tests.integration.crash.victim import Place, Victim
from tests.integration.crash.visit import Job, Visit, differences

TENANT = "acme"
PAGE = 1000
AT_ONCE = 3
#: Steps that a handler of these tests runs at the same time: so many can be cut at once.
BESIDE_EACH_OTHER = 2

StepKey = tuple[str, str]
"""Execution id, and the name of a step."""


def log_of(place: Place) -> tuple[Event, ...]:
    """The tenant's log, of a platform that does not run. It verifies, and explains every row that is stored."""
    return asyncio.run(_log_of(place))


async def _log_of(place: Place) -> tuple[Event, ...]:
    path = place.data / STORE_FILE
    async with SqliteSnapshot(path, clock=SystemClock(), ids=SystemIds()) as store:
        if TENANT not in await store.tenants():
            return ()
        tenant = store.tenant(TENANT)
        verdict = await verify(tenant)
        assert verdict.ok, verdict.problem
        replayed = await replay_against_store(tenant)
        assert replayed.differences == (), replayed.differences
        found: list[Event] = []
        while page := await tenant.events(EventFilter(), after=len(found), limit=PAGE):
            found += page
        return tuple(found)


def recorded_runs(log: tuple[Event, ...]) -> Counter[StepKey]:
    """How often each step has ended, well or badly, by the log. None is completed twice."""
    completed = Counter(
        (event.execution_id, event.payload["name"]) for event in log if event.event_type == "step_completed"
    )
    assert max(completed.values(), default=0) <= 1, f"completed more than once: {completed}"
    ended = [event for event in log if event.event_type in ("step_completed", "step_failed")]
    return Counter((str(event.execution_id), event.payload["name"].partition("#")[0]) for event in ended)


def real_runs(place: Place) -> Counter[StepKey]:
    """How often each step was really begun."""
    if not place.ledger.exists():
        return Counter()
    pairs = (line.split(" ", 1) for line in place.ledger.read_text("utf-8").splitlines())
    return Counter((execution_id, name) for execution_id, name in pairs)


def begun_and_lost(place: Place, log: tuple[Event, ...]) -> Counter[StepKey]:
    """Runs of steps that were begun and are not on record."""
    lost = real_runs(place)
    lost.subtract(recorded_runs(log))
    assert min(lost.values(), default=0) >= 0, f"on record, and never run: {lost}"
    return +lost


def acknowledged_stands(visit: Visit, log: tuple[Event, ...]) -> None:
    """Whatever the client was told is in the log, as it was told."""
    sessions = {event.session_id for event in log if event.event_type == "session_created"}
    assert visit.session_id is None or visit.session_id in sessions, f"session {visit.session_id} is gone"
    kept = {(event.execution_id, event.seq): event for event in log}
    received = {event.execution_id for event in log if event.event_type == "intent_received"}
    for execution_id, seen in visit.seen.items():
        assert execution_id in received, f"execution {execution_id} is gone"
        for told in seen:
            event = kept.get((execution_id, told["seq"]))
            assert event is not None, f"this was told and is gone: {told}"
            assert (event.event_id, event.payload) == (told["event_id"], told["payload"])


def submissions(log: tuple[Event, ...]) -> Counter[str]:
    """How often each thing was submitted: by its idempotency key, or by its place in a saga."""
    intents = [event.payload for event in log if event.event_type == "intent_received"]
    return Counter(
        str(intent["idempotency"]["key"] if "idempotency" in intent else intent["saga"]) for intent in intents
    )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A platform that was started once and holds nothing, to be copied; a job; and how it ends without a crash."""

    template: Place
    token: str
    job: Callable[[], Job]
    outcome: Any
    points: tuple[str, ...]
    """What happens at each point, from the first on."""

    def crash_at(self, point: int) -> None:
        """Die at this point, come back, and finish. Raises `AssertionError` when the crash has left a trace."""
        place = _copied(self.template, f"at-{point}")
        victim, visit = Victim(place, at=point), Visit(job=self.job())
        try:
            visit.advance(Client(victim.port(), self.token))
        except Cut:
            pass
        else:
            assert victim.stop() == -signal.SIGKILL, f"point {point} was never reached"
        assert victim.end() == -signal.SIGKILL
        at_death = log_of(place)
        acknowledged_stands(visit, at_death)
        lost = begun_and_lost(place, at_death)
        assert sum(lost.values()) <= BESIDE_EACH_OTHER, f"more was under way than can be: {lost}"

        again = Victim(place)
        visit.advance(Client(again.port(), self.token))
        assert again.stop() == 0
        log = log_of(place)
        acknowledged_stands(visit, log)
        # Nothing but what was under way has run once more.
        assert begun_and_lost(place, log) == lost
        assert max(submissions(log).values()) == 1, "an intent was submitted twice"
        assert differences(visit.outcome, self.outcome) == []
        # What has left a trace stays, to be looked at.
        shutil.rmtree(place.folder)

    def failures_of(self, points: Iterable[int]) -> dict[str, str]:
        """Crash at each of these points: what went wrong, by point."""

        def tried(point: int) -> tuple[str, str] | None:
            try:
                self.crash_at(point)
            except (AssertionError, RuntimeError) as error:
                return f"{point}: {self.points[point - 1]}", str(error)
            return None

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(found for found in pool.map(tried, points) if found is not None)


def scene(folder: Path, job: Callable[[], Job]) -> Scene:
    """Play the job once without a crash."""
    template = Place(folder=folder / "template")
    template.folder.mkdir()
    first = Victim(template)
    first.port()
    assert first.stop() == 0
    token = token_of(template)
    place = _copied(template, "undisturbed")
    victim, visit = Victim(place), Visit(job=job())
    visit.advance(Client(victim.port(), token))
    points = tuple(place.diary.read_text("utf-8").splitlines())
    assert victim.stop() == 0
    assert begun_and_lost(place, log_of(place)) == Counter()
    return Scene(template=template, token=token, job=job, outcome=visit.outcome, points=points)


def _copied(template: Place, name: str) -> Place:
    place = Place(folder=template.folder.parent / name)
    place.folder.mkdir()
    shutil.copytree(template.data, place.data)
    return place


def token_of(place: Place) -> str:
    issuer = DevelopmentIssuer(place.data / KEY_FOLDER, profile="development", clock=SystemClock(), ids=SystemIds())
    return issuer.mint(TENANT, "ada", [Role.OPERATOR]).access_token
