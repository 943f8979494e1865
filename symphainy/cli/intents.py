"""symphainy intents: what this platform can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from symphainy.cli.options import URL, AsJson, Data, Token, Url
from symphainy.cli.terminal import show, show_facts, show_json, show_table

if TYPE_CHECKING:
    from symphainy.model import IntentInfo
    from symphainy.sdk import ExperienceSDK

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def intents() -> None:
    """Intents: what this platform can be asked for."""


@app.command("list")
def list_(url: Url = URL, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """List every intent with what it does.

    \b
    Example: symphainy intents list
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> tuple[IntentInfo, ...]:
        return await sdk.list_intents()

    found = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json(found)
        return
    show_table(
        ["intent", "capability", "does"],
        [(each.intent_type, each.capability, each.description.partition("\n")[0]) for each in found],
    )


@app.command("show")
def show_one(
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="Its type, or an alias.")],
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show one intent with its parameters and results.

    \b
    Example: symphainy intents show parse_content
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> IntentInfo:
        return await sdk.get_intent(intent)

    info = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json(info)
        return
    show_facts(
        [
            ("intent", info.intent_type),
            ("does", info.description),
            ("capability", info.capability),
            ("version", info.version),
            ("changes", "nothing" if info.read_only else "what it produces"),
            ("artifacts", ", ".join(info.artifacts)),
            ("also called", ", ".join(info.aliases)),
        ]
    )
    show("")
    required = set(info.parameters_schema.get("required", ()))
    show_table(
        ["parameter", "type", "required", "meaning"],
        [
            (name, _type(schema), "yes" if name in required else "", schema.get("description", ""))
            for name, schema in info.parameters_schema.get("properties", {}).items()
        ],
    )


def _type(schema: dict[str, object]) -> str:
    """What a schema allows, in a few words."""
    if "enum" in schema:
        choices = schema["enum"]
        return " | ".join(map(str, choices)) if isinstance(choices, list) else ""
    if "anyOf" in schema:
        choices = schema["anyOf"]
        return " | ".join(_type(each) for each in choices) if isinstance(choices, list) else ""
    return str(schema.get("type", "any"))
