"""symphainy run: any intent, from a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from symphainy.cli.options import URL, AsJson, Data, Session, Token, Url
from symphainy.cli.terminal import plain, say, show_facts, show_json

if TYPE_CHECKING:
    from symphainy.model import Event, Execution, IntentInfo, Submitted
    from symphainy.sdk import ExperienceSDK

#: The intent that takes uploads, and with it the one that takes `--file`.
TAKES_FILES = "ingest_file"


def run(
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="Its type, or an alias: `symphainy intents list`.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            metavar="KEY=VALUE",
            help="A parameter. The value is text where the intent asks for text, and JSON everywhere else.",
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="PATH", exists=True, dir_okay=False, help=f"File to send, for {TAKES_FILES}."),
    ] = None,
    session: Session = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show events as they come, and wait for the result.")
    ] = False,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Submit an intent, and with --follow watch it run to its end.

    \b
    Example: symphainy run query_data -p query="who signed?" --follow
    """
    from symphainy.cli.connection import asked

    given = dict(_pair(text) for text in parameters or [])

    async def work(sdk: ExperienceSDK) -> Execution | Submitted:
        info = await sdk.get_intent(intent)
        typed = {name: _value(value, _types(info, name)) for name, value in given.items()}
        session_id = session or (await sdk.create_session(context={"surface": "cli"})).session_id
        if session is None:
            say(f"session {session_id}")
        submitted = await _submit(sdk, info, typed, file, session_id)
        say(f"execution {submitted.execution_id}")
        if not follow:
            return submitted
        from symphainy.cli.following import ended

        return (await ended(sdk, submitted.execution_id, _tell)).execution

    _show(asked(work, url=url, token=token, data=data, patient=follow), as_json)


async def _submit(
    sdk: ExperienceSDK, info: IntentInfo, parameters: dict[str, Any], file: Path | None, session_id: str
) -> Submitted:
    if file is None:
        return await sdk.invoke_intent(info.intent_type, parameters, session_id=session_id)
    if info.intent_type != TAKES_FILES:
        raise typer.BadParameter(
            f"{info.intent_type} takes no file; `symphainy process {file}` takes it in, then name its artifact with -p",
            param_hint="--file",
        )
    return await sdk.upload(file, session_id=session_id, parameters=parameters or None)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not of the form KEY=VALUE", param_hint="-p")
    return name, value


def _types(info: IntentInfo, name: str) -> set[str]:
    """The JSON types that the intent's schema gives the parameter."""
    schema = info.parameters_schema.get("properties", {}).get(name, {})
    choices = [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]
    return {kind for choice in choices if isinstance(kind := choice.get("type"), str)}


def _value(text: str, types: set[str]) -> Any:
    from symphainy.errors import Invalid
    from symphainy.model.json import parse

    if "string" in types:
        return text
    try:
        return parse(text)
    except Invalid:
        # The platform says better than we could what it wanted instead.
        return text


def _tell(event: Event) -> None:
    say(f"{event.timestamp[11:23]}  {event.seq or '-':>4}  {event.event_type}{_remark(event)}")


def _remark(event: Event) -> str:
    payload = event.payload
    match event.event_type:
        case "execution_progress":
            return f"  {payload.get('fraction', 0):.0%} {plain(payload.get('message', ''))}".rstrip()
        case "step_completed" | "step_failed":
            return f"  {plain(payload.get('name', ''))}"
        case "execution_failed" | "execution_cancelled":
            error = payload.get("error") or {}
            return f"  {plain(error.get('code', ''))}: {plain(error.get('message', ''))}"
        case "stream.polling":
            return f"  {plain(payload.get('reason', ''))}"
        case _:
            return ""


def _show(outcome: Execution | Submitted, as_json: bool) -> None:
    from symphainy.cli.executions import show_execution
    from symphainy.model import Execution
    from symphainy.sdk import completed

    if not isinstance(outcome, Execution):
        if as_json:
            show_json(outcome)
        else:
            show_facts([("execution", outcome.execution_id), ("status", outcome.status)])
            say(f"watch it: symphainy executions show {outcome.execution_id}")
        return
    show_execution(outcome, as_json)
    completed(outcome)
