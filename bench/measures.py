"""What is measured, by name."""

from __future__ import annotations

import contextlib
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from bench import ceilings, inprocess, pages
from bench.capability import HELD, NOOP, THREE_STEPS, TICKS
from bench.figures import Aim, Ceiling, Figure
from bench.load import Answer, Closed, Listen, Open, Target, drive
from bench.machine import resident_bytes, usage_of
from bench.platform import Platform, running

T = TypeVar("T")

MB = 1_000_000
#: What stands in every event that the streams are measured by.
TICK = '"event_type":"tick"'
LOOK_S = 0.02
#: Seconds after which something that must happen has not.
PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each. The quick ones are only there to see that everything runs."""

    repetitions: int = 3
    connections: int = 32
    submissions: int = 4000
    requests: int = 20_000
    rows: int = 50_000
    commits: int = 1000
    alone: int = 200
    rate: int = 500
    rate_s: float = 10.0
    held: int = 200
    ticks: int = 200
    streams: int = 100
    stream_lead_s: float = 1.0
    """How long subscribers have to arrive before the first event."""
    settle_s: float = 2.0
    idle_s: float = 5.0
    pages: int = 500


QUICK = Sizes(
    repetitions=1,
    connections=4,
    submissions=40,
    requests=200,
    rows=500,
    commits=20,
    alone=5,
    rate=50,
    rate_s=0.5,
    held=5,
    ticks=10,
    streams=3,
    stream_lead_s=0.2,
    settle_s=0.0,
    idle_s=0.2,
    pages=10,
)


class Run:
    """One run: the sizes, where files may lie, and what is measured once and used by several."""

    def __init__(self, sizes: Sizes, directory: Path) -> None:
        self.sizes = sizes
        self._directory = directory
        self._count = 0

    def folder(self) -> Path:
        """A path that is not used yet."""
        self._count += 1
        return self._directory / f"{self._count:03}"

    def repeated(self, measure: Callable[[], T]) -> tuple[T, ...]:
        return tuple(measure() for _ in range(self.sizes.repetitions))

    @functools.cached_property
    def in_process(self) -> tuple[inprocess.Measured, ...]:
        return self.repeated(self._in_process)

    def _in_process(self) -> inprocess.Measured:
        folder = self.folder()
        folder.mkdir()
        self.store = folder / "symphainy.db"
        return inprocess.measure(
            inprocess.Order(data=str(folder), count=self.sizes.submissions, alone=self.sizes.alone)
        )

    def rows(self, intent_type: str) -> tuple[ceilings.EventRow, ...]:
        """The rows that one execution leaves in the log."""
        assert self.in_process, "the log to look at comes from the measurements in process"
        return ceilings.rows_of_an_execution(self.store, intent_type)

    @functools.cached_property
    def rows_per_s(self) -> Figure:
        rows, folder = self.rows(THREE_STEPS), self.folder()
        folder.mkdir()
        return Figure(
            name="sqlite_rows",
            what=f"bare SQLite, {ceilings.ROWS_PER_COMMIT} rows a commit",
            unit="rows/s",
            samples=self.repeated(lambda: ceilings.sqlite_rows_per_s(folder, rows, count=self.sizes.rows)),
        )

    @functools.cached_property
    def commit_ms(self) -> Figure:
        rows, folder = self.rows(THREE_STEPS), self.folder()
        folder.mkdir()
        return Figure(
            name="sqlite_commit",
            what="bare SQLite, one row a commit",
            unit="ms",
            samples=self.repeated(lambda: ceilings.sqlite_commit_ms(folder, rows, count=self.sizes.commits)),
            lower_is_better=True,
        )

    @functools.cached_property
    def requests_per_s(self) -> Figure:
        with ceilings.bare_server() as target:
            return Figure(
                name="bare_requests",
                what="bare Starlette and msgspec on uvicorn",
                unit="requests/s",
                samples=self.repeated(
                    lambda: ceilings.bare_requests_per_s(
                        target, connections=self.sizes.connections, count=self.sizes.requests
                    )
                ),
            )

    @functools.cached_property
    def bare_latency(self) -> Answer:
        """One after the other, from the bare server."""
        with ceilings.bare_server() as target:
            return drive(Closed(target=target, connections=1, count=self.sizes.requests)).require(202)

    @functools.cached_property
    def bare_at_rate(self) -> Answer:
        """At the rate of the latency measurements, from the bare server."""
        with ceilings.bare_server() as target:
            return _at_rate(target, self.sizes)

    @functools.cached_property
    def deliveries_ceiling(self) -> Ceiling:
        sizes = self.sizes
        with ceilings.bare_server() as target:
            order = Listen(target=target, streams=sizes.streams, mark=TICK, query=f"?count={sizes.ticks}")
            answers = self.repeated(lambda: drive(order))
        value = statistics.median(answer.deliveries / answer.seconds for answer in answers)
        return Ceiling(name="bare server", value=value)

    def executions_ceiling(self, intent_type: str, *, over_http: bool) -> Ceiling:
        """The lower of what the disk takes of an execution's rows and, over HTTP, what the server takes of requests."""
        rows = len(self.rows(intent_type))
        of_disk = Ceiling(name=f"SQLite rows ÷ {rows}", value=self.rows_per_s.median / rows)
        if not over_http:
            return of_disk
        of_http = Ceiling(name="bare requests", value=self.requests_per_s.median)
        return min(of_disk, of_http, key=lambda ceiling: ceiling.value)

    def alone_ceiling(self, *, over_http: bool) -> Ceiling:
        """As many commits as a three-step execution has, one after the other."""
        rows = len(self.rows(THREE_STEPS))
        of_disk = rows * self.commit_ms.median
        if not over_http:
            return Ceiling(name=f"{rows} commits", value=of_disk)
        return Ceiling(name=f"{rows} commits + a bare request", value=of_disk + self.bare_latency.latencies_ms["p50"])


Measure = Callable[[Run], Iterator[Figure]]


def limits(run: Run) -> Iterator[Figure]:
    """The machine itself."""
    yield run.rows_per_s
    yield run.commit_ms
    yield run.requests_per_s


def start(run: Run) -> Iterator[Figure]:
    """From the command to `ready`."""
    cold = run.repeated(lambda: _cold_start(run))
    folder = run.folder()
    with running(folder) as platform:
        platform.stop()
        warm = run.repeated(lambda: _warm_start(platform))
    yield Figure(
        name="start_cold",
        what="start-up, cold: new data, nothing compiled",
        unit="s",
        samples=cold,
        lower_is_better=True,
    )
    yield Figure(
        name="start_warm",
        what="start-up, warm",
        unit="s",
        samples=warm,
        lower_is_better=True,
        aim=Aim(at_most=3),
    )


def _cold_start(run: Run) -> float:
    folder = run.folder()
    folder.mkdir()
    platform = Platform(folder)
    with tempfile.TemporaryDirectory() as empty:
        seconds = platform.start(environment={"PYTHONPYCACHEPREFIX": empty})
        platform.stop()
    return seconds


def _warm_start(platform: Platform) -> float:
    seconds = platform.start()
    platform.stop()
    return seconds


def rest(run: Run) -> Iterator[Figure]:
    """A platform with nothing to do."""
    memory, cpu_ms, switches = [], [], []
    with running(run.folder()) as platform:
        platform.stop()
        for _ in range(run.sizes.repetitions):
            platform.start()
            time.sleep(run.sizes.settle_s)
            before = usage_of(platform.pid)
            time.sleep(run.sizes.idle_s)
            after = usage_of(platform.pid)
            memory.append(resident_bytes(platform.pid) / MB)
            cpu_ms.append((after.cpu_s - before.cpu_s) * 1000 / run.sizes.idle_s)
            switches.append((after.switches - before.switches) / run.sizes.idle_s)
            platform.stop()
    yield Figure(
        name="rest_memory",
        what="memory at rest, after a warm start",
        unit="MB",
        samples=tuple(memory),
        lower_is_better=True,
        aim=Aim(at_most=150),
    )
    yield Figure(
        name="rest_cpu",
        what="processor time when idle",
        unit="ms/s",
        samples=tuple(cpu_ms),
        lower_is_better=True,
        aim=Aim(at_most=1),
    )
    yield Figure(
        name="rest_switches",
        what="thread switches when idle",
        unit="1/s",
        samples=tuple(switches),
        lower_is_better=True,
        aim=Aim(at_most=2),
    )


def in_process(run: Run) -> Iterator[Figure]:
    """Through the door, without HTTP."""
    measured = run.in_process
    yield Figure(
        name="in_process_noop",
        what="in process: no-op executions",
        unit="1/s",
        samples=tuple(each.noops_per_s for each in measured),
        ceiling=run.executions_ceiling(NOOP, over_http=False),
    )
    yield Figure(
        name="in_process_three_steps",
        what="in process: three-step executions",
        unit="1/s",
        samples=tuple(each.three_steps_per_s for each in measured),
        ceiling=run.executions_ceiling(THREE_STEPS, over_http=False),
    )
    yield Figure(
        name="in_process_alone",
        what="in process: one three-step execution alone, p50",
        unit="ms",
        samples=tuple(sorted(each.alone_ms)[len(each.alone_ms) // 2] for each in measured),
        lower_is_better=True,
        ceiling=run.alone_ceiling(over_http=False),
    )


def throughput(run: Run) -> Iterator[Figure]:
    """As much as is accepted, over HTTP, with everything on."""
    with running(run.folder()) as platform:
        session_id = platform.new_session()
        _flood(run, platform, session_id, NOOP)  # warm
        noops = run.repeated(lambda: _flood(run, platform, session_id, NOOP))
        steps = run.repeated(lambda: _flood(run, platform, session_id, THREE_STEPS))
        waited = run.repeated(lambda: _flood_waiting(run, platform, session_id, THREE_STEPS))
        loaded = resident_bytes(platform.pid) / MB
    yield Figure(
        name="http_submits",
        what="accepted submits (no-op), while they also run",
        unit="1/s",
        samples=tuple(each.submits_per_s for each in noops),
        ceiling=run.executions_ceiling(NOOP, over_http=True),
    )
    yield Figure(
        name="http_noop",
        what="no-op executions",
        unit="1/s",
        samples=tuple(each.executions_per_s for each in noops),
        ceiling=run.executions_ceiling(NOOP, over_http=True),
    )
    yield Figure(
        name="http_three_steps",
        what="three-step executions",
        unit="1/s",
        samples=tuple(each.executions_per_s for each in steps),
        ceiling=run.executions_ceiling(THREE_STEPS, over_http=True),
        aim=Aim(at_least=1000),
    )
    yield Figure(
        name="http_three_steps_waited",
        what="three-step executions, each answered with its result",
        unit="1/s",
        samples=waited,
        ceiling=run.executions_ceiling(THREE_STEPS, over_http=True),
    )
    yield Figure(
        name="loaded_memory",
        what="memory after this load",
        unit="MB",
        samples=(loaded,),
        lower_is_better=True,
    )


class _Flooded(msgspec.Struct, frozen=True, kw_only=True):
    submits_per_s: float
    executions_per_s: float


def _flood(run: Run, platform: Platform, session_id: str, intent_type: str) -> _Flooded:
    """Submit as fast as it is accepted, and wait until the last execution has ended."""
    count = run.sizes.submissions
    goal = platform.ended() + count
    target = platform.submission(intent_type, session_id, n=1)
    answer = drive(Closed(target=target, connections=run.sizes.connections, count=count)).require(202)
    await_true(lambda: platform.ended() >= goal, "the executions to end")
    seconds = time.time() - answer.began_at_ms / 1000
    return _Flooded(submits_per_s=count / answer.seconds, executions_per_s=count / seconds)


def _flood_waiting(run: Run, platform: Platform, session_id: str, intent_type: str) -> float:
    """Executions a second when every submission waits for its result."""
    count = run.sizes.submissions
    target = platform.submission(intent_type, session_id, wait_s=30, n=1)
    return count / drive(Closed(target=target, connections=run.sizes.connections, count=count)).require(200).seconds


def latency(run: Run) -> Iterator[Figure]:
    """Submits at a fixed rate, counted from when each was due."""
    sizes = run.sizes
    for intent_type, told, aim in ((NOOP, "no-op", None), (THREE_STEPS, "three-step", Aim(at_most=25))):
        with running(run.folder()) as platform:
            target = platform.submission(intent_type, platform.new_session(), n=1)
            drive(Closed(target=target, connections=sizes.connections, count=sizes.submissions // 10))  # warm
            answers = run.repeated(functools.partial(_at_rate, target, sizes))
        for quantile in ("p50", "p99"):
            yield Figure(
                name=f"submit_{quantile}_{intent_type}",
                what=f"submit {quantile} at {sizes.rate}/s, {told}",
                unit="ms",
                samples=tuple(answer.latencies_ms[quantile] for answer in answers),
                lower_is_better=True,
                ceiling=Ceiling(
                    name="a commit + a bare request at that rate",
                    value=run.commit_ms.median + run.bare_at_rate.latencies_ms[quantile],
                ),
                aim=aim if quantile == "p99" else None,
            )


def _at_rate(target: Target, sizes: Sizes) -> Answer:
    order = Open(target=target, connections=sizes.connections, rate=sizes.rate, seconds=sizes.rate_s)
    return drive(order).require(202)


def alone(run: Run) -> Iterator[Figure]:
    """One execution after the other, each from submission to result."""
    with running(run.folder()) as platform:
        target = platform.submission(THREE_STEPS, platform.new_session(), wait_s=30, n=1)
        order = Closed(target=target, connections=1, count=run.sizes.alone)
        drive(order)  # warm
        answers = run.repeated(lambda: drive(order).require(200))
    yield Figure(
        name="http_alone",
        what="one three-step execution alone, p50",
        unit="ms",
        samples=tuple(answer.latencies_ms["p50"] for answer in answers),
        lower_is_better=True,
        ceiling=run.alone_ceiling(over_http=True),
    )


def streams(run: Run) -> Iterator[Figure]:
    """Many subscribers to one execution that emits many events at once."""
    sizes = run.sizes

    def once(platform: Platform, session_id: str) -> float:
        target = platform.submission(TICKS, session_id, count=sizes.ticks, after_s=sizes.stream_lead_s)
        answer = drive(Listen(target=target, streams=sizes.streams, mark=TICK))
        expected = sizes.ticks * sizes.streams
        if answer.deliveries != expected:
            raise RuntimeError(f"{answer.deliveries} events were delivered, not {expected}")
        return expected / answer.seconds

    with running(run.folder()) as platform:
        session_id = platform.new_session()
        samples = run.repeated(lambda: once(platform, session_id))
    yield Figure(
        name="sse_deliveries",
        what=f"SSE events delivered, {sizes.streams} subscribers",
        unit="1/s",
        samples=samples,
        ceiling=run.deliveries_ceiling,
    )


class _Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the kill."""

    ready_s: float
    first_s: float
    last_s: float


def resume(run: Run) -> Iterator[Figure]:
    """`kill -9` with executions in flight, and start again at once."""
    resumed = run.repeated(lambda: _resume(run))
    what = f"after kill -9 with {run.sizes.held} in flight"
    for name, told in (("ready_s", "ready"), ("first_s", "first progress"), ("last_s", "all of them done")):
        yield Figure(
            name=f"resume_{name.removesuffix('_s')}",
            what=f"{what}: {told}",
            unit="s",
            samples=tuple(getattr(each, name) for each in resumed),
            lower_is_better=True,
        )


def _resume(run: Run) -> _Resumed:
    count = run.sizes.held
    with running(run.folder()) as platform:
        target = platform.submission(HELD, platform.new_session(), n=1)
        drive(Closed(target=target, connections=run.sizes.connections, count=count)).require(202)
        await_true(lambda: len(_logged(platform, "step_completed")) == count, "every execution to be in flight")
        killed_at_s = time.time()
        platform.kill()
        platform.start()
        ready_s = time.time() - killed_at_s
        await_true(lambda: len(_logged(platform, "execution_completed")) == count, "every execution to be resumed")
        ends_s = [_unix_s(at) for at in _logged(platform, "execution_completed")]
    return _Resumed(ready_s=ready_s, first_s=min(ends_s) - killed_at_s, last_s=max(ends_s) - killed_at_s)


def pdf(run: Run) -> Iterator[Figure]:
    """A document of several hundred pages."""
    documents = iter(range(run.sizes.repetitions * 2))

    def new_document() -> bytes:
        return pages.document(run.sizes.pages, seed=next(documents))

    with running(run.folder()) as platform:
        parsed = run.repeated(lambda: pages.parse(platform, new_document(), run.sizes.pages))
    bare = statistics.median(run.repeated(lambda: pages.bare_pages_per_s(new_document())))
    yield Figure(
        name="pdf_pages",
        what=f"PDF of {run.sizes.pages} pages, parsed, chunked and indexed",
        unit="pages/s",
        samples=tuple(each.pages_per_s for each in parsed),
        ceiling=Ceiling(name="bare pypdfium2, text only", value=bare),
        aim=Aim(at_least=200),
    )
    yield Figure(
        name="pdf_child_memory",
        what="… most memory of the parsing process",
        unit="MB",
        samples=tuple(each.child_bytes / MB for each in parsed),
        lower_is_better=True,
        aim=Aim(at_most=300),
    )
    yield Figure(
        name="pdf_all_memory",
        what="… most memory of the platform with it",
        unit="MB",
        samples=tuple(each.all_bytes / MB for each in parsed),
        lower_is_better=True,
    )


def _logged(platform: Platform, event_type: str) -> list[str]:
    """The instants of the first events of this type."""
    found = platform.call("GET", f"/api/wal/events?event_type={event_type}&limit=500")
    return [event["timestamp"] for event in found["events"]]


def _unix_s(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def await_true(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"waited {PATIENCE_S:g} s for {what}")
        time.sleep(LOOK_S)


MEASURES: dict[str, Measure] = {
    "limits": limits,
    "start": start,
    "rest": rest,
    "in_process": in_process,
    "throughput": throughput,
    "latency": latency,
    "alone": alone,
    "streams": streams,
    "resume": resume,
    "pdf": pdf,
}


@contextlib.contextmanager
def new_run(sizes: Sizes) -> Iterator[Run]:
    with tempfile.TemporaryDirectory(prefix="symphainy-bench-") as directory:
        yield Run(sizes, Path(directory))
