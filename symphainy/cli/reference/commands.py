"""docs/reference/cli.md: every command as its own `--help` tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from symphainy.cli.reference.contracts import GENERATED
from symphainy.cli.reference.markdown import code, codes, fenced, paragraphs, table

PROGRAM = "symphainy"


def commands_page(app: typer.Typer) -> str:
    root: Any = typer.main.get_command(app)
    found = list(_walk(root, ()))
    return paragraphs(
        GENERATED,
        "# Command line",
        _help(root),
        "Exit codes: 0 done, 1 refused or failed, 2 misused. Data goes to stdout, talk to stderr.",
        table(["command", "does"], [(code(name), _help(command).partition("\n")[0]) for name, command in found]),
        *(_section(name, command) for name, command in found),
    )


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            if not getattr(child, "commands", None) or child.invoke_without_command:
                yield " ".join((PROGRAM, *path, name)), child
            yield from _walk(child, (*path, name))


def _section(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    return paragraphs(
        f"## {name}",
        _help(command),
        table(
            ["argument or option", "default", "environment", "meaning"],
            [_row(parameter) for parameter in shown if parameter.name != "help"],
        )
        if shown
        else "",
    )


def _help(command: Any) -> str:
    """What it does, and its example in a fence."""
    does, _, example = str(command.help or "").partition("\b\n")
    lines = [line.removeprefix("Example:").strip() for line in example.strip().splitlines()]
    return paragraphs(does, fenced("\n".join(lines), "sh") if lines else "").strip()


def _row(parameter: Any) -> tuple[str, str, str, str]:
    repeated = " (may be repeated)" if parameter.multiple or parameter.nargs == -1 else ""
    return (
        _name(parameter) + (" (required)" if parameter.required else ""),
        _default(parameter),
        codes([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()),
        (parameter.help or "") + repeated,
    )


def _name(parameter: Any) -> str:
    if parameter.param_type_name != "option":
        return code(parameter.metavar or parameter.name.upper())
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    return codes(f"{option}{value}" for option in [*parameter.opts, *parameter.secondary_opts])


def _default(parameter: Any) -> str:
    told = getattr(parameter, "show_default", None)
    if isinstance(told, str):
        return told
    match parameter.default:
        case None | False | [] | () | "":
            return ""
        case True:
            return code(parameter.opts[0])
        case default if callable(default):
            return ""
        case default:
            return code(str(default))
