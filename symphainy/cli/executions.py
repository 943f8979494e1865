"""symphainy executions: what runs, what ran, and to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from symphainy.cli.options import URL, AsJson, Data, Limit, Token, Url
from symphainy.cli.terminal import say, show, show_facts, show_json, show_table

if TYPE_CHECKING:
    from symphainy.model import Execution, Page
    from symphainy.sdk import ExperienceSDK

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Execution id (exe_...).")]


@app.callback()
def executions() -> None:
    """Executions: one run of an intent each."""


@app.command("list")
def list_(
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Only of this session.")] = None,
    intent: Annotated[str | None, typer.Option("--intent", metavar="TYPE", help="Only of this intent.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only created, running, completed, failed or cancelled ones.")
    ] = None,
    limit: Limit = 50,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List executions, newest first.

    \b
    Example: symphainy executions list --status failed
    """
    from symphainy.cli.connection import asked
    from symphainy.door import execution_to_wire

    async def work(sdk: ExperienceSDK) -> Page[Execution]:
        return await sdk.list_executions(session_id=session, intent_type=intent, status=status, limit=limit)

    page = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json({"executions": [execution_to_wire(each) for each in page.items], "next_cursor": page.next_cursor})
        return
    show_table(
        ["execution", "intent", "status", "created", "session", "error"],
        [
            (
                each.execution_id,
                each.intent_type,
                each.status,
                each.created_at,
                each.session_id,
                each.error.code if each.error else "",
            )
            for each in page.items
        ],
    )
    if page.next_cursor is not None:
        say(f"these are the newest {limit}; --limit shows more")


@app.command("show")
def show_one(
    execution_id: Id,
    steps: Annotated[bool, typer.Option("--steps", help="Also its durable steps.")] = False,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one execution with its result, artifacts and error.

    \b
    Example: symphainy executions show exe_4k2j...
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> Execution:
        return await sdk.get_execution(execution_id, include_steps=steps)

    show_execution(asked(work, url=url, token=token, data=data), as_json)


@app.command()
def cancel(
    execution_id: Id,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the log.")] = None,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Cancel an execution that has not ended.

    \b
    Example: symphainy executions cancel exe_4k2j... --reason "wrong file"
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> Execution:
        return await sdk.cancel(execution_id, reason=reason)

    show_execution(asked(work, url=url, token=token, data=data), as_json)


def show_execution(execution: Execution, as_json: bool) -> None:
    from symphainy.door import execution_to_wire

    if as_json:
        show_json(execution_to_wire(execution))
        return
    progress, error = execution.progress, execution.error
    show_facts(
        [
            ("execution", execution.execution_id),
            ("intent", execution.intent_type),
            ("status", execution.status),
            ("waiting on", (execution.waiting_on or {}).get("kind")),
            ("progress", f"{progress.fraction:.0%} {progress.message}" if progress else None),
            ("session", execution.session_id),
            ("saga", execution.saga_id),
            ("attempts", execution.attempt),
            ("created", execution.created_at),
            ("started", execution.started_at),
            ("ended", execution.completed_at),
            ("error", f"{error.code}: {error.message}" if error else None),
            ("unasked", ", ".join(execution.unasked_steps)),
        ]
    )
    if execution.artifacts:
        show("")
        show_table(
            ["name", "artifact", "type", "state"],
            [
                (name, each.artifact_id, each.artifact_type, each.lifecycle_state)
                for name, each in execution.artifacts.items()
            ],
        )
    if execution.steps:
        show("")
        show_table(
            ["step", "status", "attempt", "finished", "error"],
            [(each.name, each.status, each.attempt, each.finished_at, each.error) for each in execution.steps],
        )
    if execution.result is not None:
        show("")
        show_json(execution.result)
