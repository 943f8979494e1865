"""Kill `symphainy up` at moments that nobody has chosen, while many are using it."""

from __future__ import annotations

import asyncio
import random
import textwrap
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from symphainy.model import Event
from symphainy.sdk import ExperienceSDK
from tests.integration.crash.client import Client, Cut
from tests.integration.crash.crashing import StepKey, begun_and_lost, log_of, submissions, token_of
from tests.integration.crash.served import Served
from tests.integration.crash.victim import Place

#: The machine may be busy with other tests.
pytestmark = pytest.mark.timeout(300)

CUSTOMERS = 8
#: Answers and events between two deaths: from the first moments to the middle of the work.
SOONEST, LATEST = 1, 800
HERE = """
    from pathlib import Path
    from tests.integration.crash.counting import counted
    from tests.integration.crash.errand import Errands

    Errands.folder = Path(__file__).with_name("errands")
    Errands.folder.mkdir(exist_ok=True)
    Here = counted(Errands, Path(__file__).with_name("ledger"))
"""


@dataclass
class Tally:
    """Counts what customers are told, and does something once at the moment that was drawn."""

    moment: int
    then: Callable[[], None]
    count: int = 0
    is_over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self) -> None:
        with self.lock:
            self.count += 1
            if self.count == self.moment:
                self.is_over = True
                self.then()


@dataclass
class Customer:
    """Runs one errand after the other, and remembers everything it was told, also across deaths of the platform."""

    name: str
    session_id: str | None = None
    number: int = 0
    current: str | None = None
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Execution id by key."""
    seen: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def work(self, client: Client, tally: Tally) -> None:
        """Until the tally is over, or the platform dies."""
        try:
            while self.current is not None or not tally.is_over:
                self._errand(client, tally)
        except Cut:
            pass

    def _errand(self, client: Client, tally: Tally) -> None:
        if self.session_id is None:
            self.session_id = client.call("POST", "/api/session/create", {})["session_id"]
        if self.current is None:
            self.number += 1
            self.current = f"{self.name}-{self.number}"
        if self.current not in self.acknowledged:
            self.acknowledged[self.current] = self._submit(client, self.current)
            tally.note()
        execution_id = self.acknowledged[self.current]
        seen = self.seen.setdefault(execution_id, [])
        for event in client.events(execution_id, after=len(seen)):
            assert event["seq"] == len(seen) + 1
            seen.append(event)
            tally.note()
        assert seen[-1]["event_type"] == "execution_completed", seen[-1]
        self.current = None

    def _submit(self, client: Client, key: str) -> str:
        body = {"intent_type": "run_errand", "session_id": self.session_id, "parameters": {"word": key}}
        answer = client.call("POST", "/api/intent/submit", body, Idempotency_Key=key)
        return str(answer["execution_id"])


def served_until(platform: Served, customers: list[Customer], token: str, tally: Tally) -> None:
    """Let everybody work until the moment of the tally, or until the platform dies."""
    client = Client(platform.port, token)
    with ThreadPoolExecutor(len(customers)) as pool:
        for worked in [pool.submit(customer.work, client, tally) for customer in customers]:
            worked.result()
    assert tally.is_over, "the platform went away by itself"


def told_stands(customers: list[Customer], log: tuple[Event, ...]) -> None:
    """Everything that anybody was told is in the log, and nothing was submitted twice."""
    kept = {(event.execution_id, event.seq): (event.event_id, event.payload) for event in log}
    by_key = {
        event.payload["idempotency"]["key"]: event.execution_id
        for event in log
        if event.event_type == "intent_received"
    }
    for customer in customers:
        for key, execution_id in customer.acknowledged.items():
            assert by_key[key] == execution_id
        for execution_id, seen in customer.seen.items():
            for told in seen:
                assert kept[execution_id, told["seq"]] == (told["event_id"], told["payload"])
    assert max(submissions(log).values(), default=0) <= 1


@pytest.mark.parametrize(
    ("seed", "deaths"), [(1, 4), *(pytest.param(seed, 20, marks=pytest.mark.deep) for seed in range(2, 8))]
)
def test_death_at_any_moment_under_load_loses_nothing_and_repeats_nothing(
    tmp_path: Path, seed: int, deaths: int
) -> None:
    place, chance = Place(folder=tmp_path), random.Random(seed)
    (tmp_path / "errands_here.py").write_text(textwrap.dedent(HERE), "utf-8")
    customers = [Customer(f"customer-{number}") for number in range(CUSTOMERS)]
    lost: Counter[StepKey] = Counter()
    with Served(tmp_path, capability="errands_here:Here") as platform:
        platform.start()
        token = token_of(place)
        for _ in range(deaths):
            served_until(platform, customers, token, Tally(chance.randint(SOONEST, LATEST), platform.kill))
            log = log_of(place)
            told_stands(customers, log)
            before, lost = lost, begun_and_lost(place, log)
            assert lost >= before, "a run that was cut was put on record later"
            platform.start()
        served_until(platform, customers, token, Tally(chance.randint(SOONEST, LATEST), lambda: None))
        platform.stop()
    log = log_of(place)
    told_stands(customers, log)
    # Nothing but what a death has cut was ever begun again.
    assert begun_and_lost(place, log) == lost
    ended = {event.execution_id for event in log if event.event_type == "execution_completed"}
    assert ended == {execution_id for customer in customers for execution_id in customer.seen}


async def test_a_subscription_goes_on_over_the_death_of_the_platform(tmp_path: Path) -> None:
    with Served(tmp_path, capability="bench.capability:Bench") as platform:
        await asyncio.to_thread(platform.start)
        token = token_of(Place(folder=tmp_path))
        async with ExperienceSDK.connect(f"http://127.0.0.1:{platform.port}", token=token) as sdk:
            session = await sdk.create_session()
            run = await sdk.invoke_intent("bench_held", {"n": 1}, session_id=session.session_id)
            seen = []
            async for event in sdk.subscribe(run.execution_id, after=0):
                seen.append((event.seq, event.event_type))
                if event.event_type == "step_completed" and len(seen) == 3:
                    await asyncio.to_thread(platform.kill)
                    await asyncio.to_thread(platform.start)
        await asyncio.to_thread(platform.stop)
    assert seen == [
        (1, "intent_received"),
        (2, "execution_started"),
        (3, "step_completed"),
        (4, "execution_started"),
        (5, "step_completed"),
        (6, "execution_completed"),
    ]
