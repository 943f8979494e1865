"""symphainy sessions: the conversations in which work is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from symphainy.cli.options import URL, AsJson, Data, Limit, Token, Url
from symphainy.cli.terminal import show, show_facts, show_json, show_table

if TYPE_CHECKING:
    from symphainy.model import Session
    from symphainy.sdk import ExperienceSDK

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Session id (ses_...).")]


@app.callback()
def sessions() -> None:
    """Sessions: the conversations in which work is done."""


@app.command()
def create(
    solution: Annotated[str, typer.Option("--solution", metavar="ID", help="What the session is for.")] = "default",
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Open a session.

    \b
    Example: symphainy sessions create
    """
    _show(lambda sdk: sdk.create_session(solution_id=solution), url, token, data, as_json)


@app.command("list")
def list_(limit: Limit = 50, url: Url = URL, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """List the sessions of the tenant, newest first, as its log tells of them: for operators.

    \b
    Example: symphainy sessions list --limit 10
    """
    from symphainy.cli.connection import asked

    found = asked(lambda sdk: _newest(sdk, limit), url=url, token=token, data=data)
    if as_json:
        show_json({"sessions": [session.to_dict() for session in found]})
        return
    show_table(
        ["session", "state", "user", "created", "expires"],
        [
            (each.session_id, each.lifecycle_state, each.user_id or "", each.created_at, each.expires_at)
            for each in found
        ],
    )


async def _newest(sdk: ExperienceSDK, limit: int) -> list[Session]:
    """No route lists sessions; the log does. It is read from its beginning, and only the newest ids are kept."""
    ids: deque[str] = deque(maxlen=limit)
    after = 0
    while True:
        page = await sdk.wal_events(event_type="session_created", after=after, limit=500)
        ids.extend(event.session_id for event in page.items if event.session_id is not None)
        if page.next_cursor is None:
            break
        after = int(page.next_cursor)
    return [await sdk.get_session(session_id) for session_id in reversed(ids)]


@app.command("show")
def show_one(session_id: Id, url: Url = URL, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one session with its state and the sagas that run in it.

    \b
    Example: symphainy sessions show ses_4k2j...
    """
    _show(lambda sdk: sdk.get_session(session_id), url, token, data, as_json)


@app.command()
def close(session_id: Id, url: Url = URL, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """Close a session; what runs in it runs on.

    \b
    Example: symphainy sessions close ses_4k2j...
    """
    _show(lambda sdk: sdk.close_session(session_id), url, token, data, as_json)


def _show(
    work: Callable[[ExperienceSDK], Awaitable[Session]], url: str, token: str | None, data: Path | None, as_json: bool
) -> None:
    from symphainy.cli.connection import asked

    session = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json(session.to_dict())
        return
    show_facts(
        [
            ("session", session.session_id),
            ("state", session.lifecycle_state),
            ("tenant", session.tenant_id),
            ("user", session.user_id),
            ("solution", session.solution_id),
            ("created", session.created_at),
            ("expires", session.expires_at),
        ]
    )
    if session.active_sagas:
        show("")
        show_table(
            ["saga", "name", "state", "steps done"],
            [
                (
                    saga.saga_id,
                    saga.saga_name,
                    saga.state,
                    f"{sum(step.state == 'completed' for step in saga.steps)} of {len(saga.steps)}",
                )
                for saga in session.active_sagas
            ],
        )
    if session.context:
        show("")
        show_json(session.context)
