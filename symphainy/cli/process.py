"""symphainy process: files in, searchable artifacts out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from symphainy.cli.artifacts import lineage_lines
from symphainy.cli.gathering import FILES_MAX, Gathered, gathered
from symphainy.cli.options import URL, AsJson, Data, Session, Token, Url
from symphainy.cli.progress import Told, View, viewing
from symphainy.cli.terminal import plain, say, show, show_json, show_table

if TYPE_CHECKING:
    from symphainy.errors import SymphainyError
    from symphainy.model import Artifact, Event, Execution, JsonObject
    from symphainy.sdk import ExperienceSDK

#: From bytes to something that can be searched: ingest, save, parse, fingerprint, embed.
SAGA = "ingest_to_search"
AT_ONCE = 4
SKIPPED_SHOWN_MAX = 20
#: What `process` can do without: search by words needs no vectors.
OPTIONAL = "missing_extra"


@dataclass(kw_only=True)
class Outcome:
    """What became of one file. `note` is what did not happen and need not have."""

    path: Path
    executions: list[Execution] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    lineage: JsonObject | None = None
    error: SymphainyError | None = None
    note: str | None = None

    @property
    def balance(self) -> JsonObject:
        """Every unit of the file, by what became of it."""
        results = (each.result for each in self.executions if isinstance(each.result, dict))
        return next((result["balance"] for result in results if "balance" in result), {})


def process(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", exists=True, help="Files, or folders with files in them.")
    ],
    session: Session = None,
    files_max: Annotated[int, typer.Option("--files-max", min=1, help="Files at most.")] = FILES_MAX,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Take files in and make them searchable.

    Each file is ingested, saved, parsed, fingerprinted and embedded, four files at once.

    \b
    Example: symphainy process report.pdf figures.csv notes/
    """
    from symphainy.cli.connection import asked

    found = gathered(files, files_max=files_max)
    _tell_skipped(found)
    if not found.files:
        raise typer.BadParameter("there is nothing here to take in", param_hint="FILE")

    async def work(sdk: ExperienceSDK) -> tuple[str, list[Outcome]]:
        return await processed(sdk, found.files, session_id=session)

    session_id, outcomes = asked(work, url=url, token=token, data=data, patient=True)
    if as_json:
        show_json(_document(session_id, outcomes, found))
    else:
        _show(outcomes)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    _tell_failed(failed)
    if len(failed) < len(outcomes):
        say('search it: symphainy search "your question"')
    if failed:
        raise typer.Exit(1)


async def processed(
    sdk: ExperienceSDK, files: Sequence[Path], *, session_id: str | None = None
) -> tuple[str, list[Outcome]]:
    """The session, and what became of each file, in their order. Progress is told on standard error."""
    if session_id is None:
        session_id = (await sdk.create_session(context={"surface": "cli"})).session_id
    say(f"session {session_id}")
    with viewing(len(files)) as view:
        return session_id, await _all(sdk, files, session_id, view)


async def _all(sdk: ExperienceSDK, files: Sequence[Path], session_id: str, view: View) -> list[Outcome]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(path: Path) -> Outcome:
        async with places:
            outcome = Outcome(path=path)
            with view.file(path) as told:
                await _one(sdk, outcome, session_id, told)
                told.ended(_summary(outcome), failed=outcome.error is not None)
            return outcome

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(path)) for path in files]
    return [task.result() for task in running]


async def _one(sdk: ExperienceSDK, outcome: Outcome, session_id: str, told: Told) -> None:
    """Fill in what becomes of the file. Whatever goes wrong with it is its own."""
    from symphainy.cli.following import saga_of
    from symphainy.errors import Invalid, SymphainyError
    from symphainy.model import Status
    from symphainy.sdk import failure_of

    made: dict[str, None] = {}
    try:
        submitted = await sdk.upload(outcome.path, session_id=session_id, metadata={"saga": SAGA}, progress=told.sent)
        async for one in saga_of(sdk, submitted.execution_id, _Stages(told)):
            execution = one.execution
            outcome.executions.append(execution)
            made |= dict.fromkeys(each.artifact_id for each in execution.artifacts.values())
            if execution.status is Status.COMPLETED:
                continue
            if one.saga == "saga_completed" or (execution.error and execution.error.code == OPTIONAL):
                outcome.note = str(failure_of(execution))
            elif outcome.error is None:
                outcome.error = failure_of(execution)
        # Later steps change what earlier ones made, so each is looked at when all are done.
        outcome.artifacts = [await sdk.resolve_artifact(artifact_id) for artifact_id in made]
        root = next((each.artifact_id for each in outcome.artifacts if not each.parent_artifacts), None)
        if root is not None:
            outcome.lineage = await sdk.artifact_lineage(root, direction="down")
    except SymphainyError as error:
        outcome.error = error
    except OSError as error:
        outcome.error = Invalid(f"the file cannot be read: {error.strerror or error}")


class _Stages:
    """Events of the saga's executions, as what is being done with the file."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._intent = ""

    def __call__(self, event: Event) -> None:
        payload = event.payload
        if event.event_type in ("intent_received", "snapshot"):
            self._intent = payload.get("intent_type", self._intent)
            self._told.stage(self._intent, (payload.get("progress") or {}).get("fraction", 0.0))
        elif event.event_type == "execution_progress":
            self._told.stage(self._intent, payload.get("fraction", 0.0), payload.get("message", ""))


# --- telling --------------------------------------------------------------------------------------------------


def _tell_skipped(found: Gathered) -> None:
    for path, reason in found.skipped[:SKIPPED_SHOWN_MAX]:
        say(f"skipped {plain(path)}: {reason}")
    if (more := len(found.skipped) - SKIPPED_SHOWN_MAX) > 0:
        say(f"skipped {more} more; --json lists them all")


def _tell_failed(failed: Sequence[Outcome]) -> None:
    from symphainy.cli.failures import remedy

    for outcome in failed:
        assert outcome.error is not None
        say(f"{plain(outcome.path)}: {outcome.error.code}: {plain(outcome.error)}")
        say(f"  try: {remedy(outcome.error, 'process')}")


def _summary(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"failed: {outcome.error.code}: {outcome.error}"
    told = [f"{len(outcome.artifacts)} artifacts", *_account(outcome.balance)]
    return "; ".join(told)


def _account(balance: JsonObject) -> list[str]:
    """What became of every unit, in words: `120 rows: 118 delivered, 2 quarantined (ragged_row 2)`.

    Bytes are told only of a file that is counted in nothing else.
    """
    told = []
    for measure, entry in balance.items():
        if measure == "bytes" and len(balance) > 1:
            continue
        parts = [f"{entry['delivered']} delivered"]
        for fate in ("ignored", "quarantined"):
            reasons = entry[fate]
            if reasons:
                why = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
                parts.append(f"{sum(reasons.values())} {fate} ({why})")
        unit = measure.removesuffix("s") if entry["total"] == 1 else measure
        told.append(f"{entry['total']} {unit}: {', '.join(parts)}")
    return told


def _show(outcomes: Sequence[Outcome]) -> None:
    show_table(
        ["file", "artifact", "type", "state"],
        [
            (outcome.path.name, artifact.artifact_id, artifact.artifact_type, artifact.lifecycle_state)
            for outcome in outcomes
            for artifact in outcome.artifacts
        ],
    )
    for outcome in outcomes:
        show("")
        show(f"{plain(outcome.path)}: {plain(_summary(outcome))}")
        if outcome.lineage is not None:
            show("\n".join(lineage_lines(outcome.lineage)))
        if outcome.note is not None:
            show(f"not done: {plain(outcome.note)}")


def _document(session_id: str, outcomes: Sequence[Outcome], found: Gathered) -> JsonObject:
    from symphainy.door import artifact_to_wire, execution_to_wire

    return {
        "session_id": session_id,
        "files": [
            {
                "path": _text(outcome.path),
                "status": "completed" if outcome.error is None else "failed",
                "executions": [execution_to_wire(each) for each in outcome.executions],
                "artifacts": [artifact_to_wire(each) for each in outcome.artifacts],
                "lineage": outcome.lineage,
                "balance": outcome.balance,
                "note": outcome.note,
                "error": _error(outcome),
            }
            for outcome in outcomes
        ],
        "skipped": [{"path": _text(path), "reason": reason} for path, reason in found.skipped],
    }


def _text(path: Path) -> str:
    """A path as JSON can carry it: bytes that are no UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _error(outcome: Outcome) -> JsonObject | None:
    from symphainy.cli.failures import remedy

    if outcome.error is None:
        return None
    error = outcome.error
    return {
        "code": error.code,
        "message": str(error),
        "details": error.details,
        "request_id": error.request_id,
        "remedy": remedy(error, "process"),
    }
