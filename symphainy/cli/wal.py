"""symphainy wal: the log, and what can be proven and rebuilt from it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol, TypeVar

import typer

from symphainy.cli.options import URL, AsJson, Data, Token, Url
from symphainy.cli.terminal import say, show, show_facts, show_json, show_table

if TYPE_CHECKING:
    from symphainy.model import Event
    from symphainy.public_works.sqlite_snapshot import SqliteSnapshot
    from symphainy.runtime.wal import Verdict

T = TypeVar("T")


class _Where(NamedTuple):
    """Which events. Nothing set: all of them."""

    session_id: str | None = None
    execution_id: str | None = None
    event_type: str | None = None


class _Log(Protocol):
    async def __call__(self, where: _Where, after: int, limit: int) -> tuple[Event, ...]:
        """Up to `limit` events at positions greater than `after`, in the order of the log."""


PAGE = 500
TAIL_S = 1.0

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="T", envvar="SYMPHAINY_TENANT", show_default="the token's", help="Whose log."),
]
EachTenant = Annotated[
    str | None, typer.Option("--tenant", metavar="T", show_default="every tenant there", help="Whose log.")
]
OfSession = Annotated[str | None, typer.Option("--session", metavar="ID", help="Only events of this session.")]
OfExecution = Annotated[str | None, typer.Option("--execution", metavar="ID", help="Only events of this execution.")]
OfType = Annotated[str | None, typer.Option("--type", help="Only events of this type.")]
Files = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", show_default="ask the platform", help="Read the files of this folder."),
]


@app.callback()
def wal() -> None:
    """The write-ahead log: everything that happened, in order."""


@app.command()
def events(
    session: OfSession = None,
    execution: OfExecution = None,
    event_type: OfType = None,
    after: Annotated[int, typer.Option("--after", min=0, metavar="N", help="Only positions greater than N.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Events at most.")] = 50,
    tenant: Tenant = None,
    data: Files = None,
    url: Url = URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show events in the order of the log.

    With --json each is one line.

    \b
    Example: symphainy wal events --type intent_refused
    """

    where = _Where(session, execution, event_type)

    async def work(log: _Log) -> int:
        position, count = after, 0
        while count < limit and (page := await log(where, position, min(PAGE, limit - count))):
            for event in page:
                _show(event, as_json)
            position, count = page[-1].position, count + len(page)
        return count

    if _read(work, tenant, data, url, token) == limit:
        say(f"these are the first {limit}; --after goes on, --limit shows more")


@app.command()
def tail(
    session: OfSession = None,
    execution: OfExecution = None,
    event_type: OfType = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last events to begin with.")] = 10,
    tenant: Tenant = None,
    data: Files = None,
    url: Url = URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the last events, then each new one.

    New ones are looked for once a second. Ctrl-C ends it.

    \b
    Example: symphainy wal tail -n 20
    """

    where = _Where(session, execution, event_type)

    async def work(log: _Log) -> None:
        position = await _last(log)
        for event in await _newest(log, where, position, lines):
            _show(event, as_json)
        while True:
            page = await log(where, position, PAGE)
            for event in page:
                _show(event, as_json)
            if page:
                position = page[-1].position
            else:
                await asyncio.sleep(TAIL_S)

    _read(work, tenant, data, url, token)


@app.command()
def verify(tenant: EachTenant = None, data: Data = None, as_json: AsJson = False) -> None:
    """Name the first event that was altered, if any.

    Reads the files of a running platform or a stopped one, and exits 1 when something is wrong.

    \b
    Example: symphainy wal verify --data ./.symphainy
    """
    from symphainy.runtime.wal import verify as verified

    async def work(store: SqliteSnapshot) -> list[Verdict]:
        return [await verified(store.tenant(name)) for name in await _tenants(store, tenant)]

    verdicts = asyncio.run(_looked(work, data))
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    if as_json:
        show_json(verdicts)
    else:
        for verdict in verdicts:
            _tell(verdict)
        if not verdicts:
            show("there is no log yet")
    if wrong:
        raise typer.Exit(1)


@app.command()
def replay(session: OfSession = None, tenant: EachTenant = None, data: Data = None, as_json: AsJson = False) -> None:
    """Rebuild state from the log alone.

    It is compared with what the store holds, and the exit code is 1 when they differ. --session shows one session.

    \b
    Example: symphainy wal replay --session ses_4k2j...
    """
    if session is not None:
        _replay_session(session, tenant, data, as_json)
        return
    from symphainy.runtime.wal import Replayed, replay_against_store

    async def work(store: SqliteSnapshot) -> list[Replayed]:
        return [await replay_against_store(store.tenant(name)) for name in await _tenants(store, tenant)]

    found = asyncio.run(_looked(work, data))
    if as_json:
        show_json(found)
    else:
        kinds = ["session", "execution", "artifact", "pending", "saga"]
        show_table(
            ["tenant", "events", "erased", *(f"{kind}s" for kind in kinds), "different"],
            [
                (
                    each.tenant_id,
                    each.events,
                    each.erased,
                    *(each.counts[kind] for kind in kinds),
                    len(each.differences),
                )
                for each in found
            ],
        )
        for each in found:
            for difference in each.differences:
                say(f"{each.tenant_id}: {difference.kind} {difference.id} is not what the log says; --json shows both")
    if any(each.differences for each in found):
        raise typer.Exit(1)


def _replay_session(session_id: str, tenant: str | None, data: Path | None, as_json: bool) -> None:
    from symphainy.door import artifact_to_wire, execution_to_wire
    from symphainy.errors import SessionRequired
    from symphainy.model.fold import Projection
    from symphainy.runtime.wal import replay as replayed

    async def work(store: SqliteSnapshot) -> Projection:
        for name in await _tenants(store, tenant):
            found = await replayed(store.tenant(name), session_id=session_id)
            if session_id in found.sessions:
                return found
        raise SessionRequired(f"the log knows no session {session_id}")

    found = asyncio.run(_looked(work, data))
    session = found.sessions[session_id]
    if as_json:
        show_json(
            {
                "session": session.to_dict(),
                "executions": [execution_to_wire(each) for each in found.executions.values()],
                "artifacts": [artifact_to_wire(each) for each in found.artifacts.values()],
            }
        )
        return
    show_facts([("session", session_id), ("state", session.lifecycle_state), ("tenant", session.tenant_id)])
    show("")
    show_table(
        ["execution", "intent", "status"],
        [(each.execution_id, each.intent_type, each.status) for each in found.executions.values()],
    )
    show("")
    show_table(
        ["artifact", "type", "state"],
        [(each.artifact_id, each.artifact_type, each.lifecycle_state) for each in found.artifacts.values()],
    )


# --- reading --------------------------------------------------------------------------------------------------


def _read(
    work: Callable[[_Log], Coroutine[Any, Any, T]], tenant: str | None, data: Path | None, url: str, token: str | None
) -> T:
    """Run `work` on the log that the platform tells, or on the files in `data`."""
    if data is not None:
        return asyncio.run(work(_files(data, tenant)))
    from symphainy.cli.connection import asked
    from symphainy.sdk import ExperienceSDK

    def told(sdk: ExperienceSDK) -> Awaitable[T]:
        async def log(where: _Where, after: int, limit: int) -> tuple[Event, ...]:
            return (await sdk.wal_events(**where._asdict(), after=after, limit=limit)).items

        return work(log)

    return asked(told, url=url, token=token, tenant_id=tenant)


def _files(data: Path, tenant: str | None) -> _Log:
    from symphainy.ports import EventFilter

    async def log(where: _Where, after: int, limit: int) -> tuple[Event, ...]:
        async def work(store: SqliteSnapshot) -> tuple[Event, ...]:
            names = await _tenants(store, tenant)
            if len(names) != 1:
                raise typer.BadParameter(f"there are several: {', '.join(names)}", param_hint="--tenant")
            return await store.tenant(names[0]).events(EventFilter(**where._asdict()), after=after, limit=limit)

        return await _looked(work, data)

    return log


async def _looked(work: Callable[[SqliteSnapshot], Awaitable[T]], data: Path | None) -> T:
    """Run `work` on the store file as it stands, whoever owns it."""
    from symphainy.boot.config import load
    from symphainy.public_works.clock import SystemClock
    from symphainy.public_works.ids import SystemIds
    from symphainy.public_works.sqlite_snapshot import SqliteSnapshot

    path = load(overrides={"data_dir": data}).data_dir / "symphainy.db"
    async with SqliteSnapshot(path, clock=SystemClock(), ids=SystemIds()) as store:
        return await work(store)


async def _tenants(store: SqliteSnapshot, tenant: str | None) -> tuple[str, ...]:
    found = await store.tenants()
    if tenant is None:
        return found
    if tenant not in found:
        raise typer.BadParameter(f"no log of tenant {tenant!r}; there are {', '.join(found)}", param_hint="--tenant")
    return (tenant,)


async def _last(log: _Log) -> int:
    """The position of the newest event. Positions have no gaps, so it is found by halving."""
    low, high = 0, 1
    while await log(_Where(), high, 1):
        low, high = high, high * 2
    if low == 0 and not await log(_Where(), 0, 1):
        return 0
    # An event stands after `low`, none after `high`.
    while high - low > 1:
        middle = (low + high) // 2
        if await log(_Where(), middle, 1):
            low = middle
        else:
            high = middle
    return high


async def _newest(log: _Log, where: _Where, last: int, count: int) -> list[Event]:
    """The newest `count` events up to position `last`, oldest first, looked for further and further back."""
    reach = count
    while count:
        found: deque[Event] = deque(maxlen=count)
        position = begin = max(0, last - reach)
        while page := await log(where, position, PAGE):
            found.extend(event for event in page if event.position <= last)
            position = page[-1].position
            if position >= last:
                break
        if len(found) == count or begin == 0:
            return list(found)
        reach *= 8
    return []


# --- showing --------------------------------------------------------------------------------------------------


def _show(event: Event, as_json: bool) -> None:
    if as_json:
        show_json(event, indent=0)
        return
    about = event.execution_id or event.session_id or ""
    show(f"{event.position:>7}  {event.timestamp}  {event.event_type:<26}  {about}")


def _tell(verdict: Verdict) -> None:
    if verdict.ok:
        erased = f", {verdict.erased} of them without their payload (erased)" if verdict.erased else ""
        show(f"{verdict.tenant_id}: {verdict.events} events{erased}, whole, head {verdict.head[:16]}")
    else:
        where = f"position {verdict.position}" + (f", {verdict.event_id}" if verdict.event_id else "")
        show(f"{verdict.tenant_id}: ALTERED at {where}: {verdict.problem}")
