"""The program: its verbs, and what becomes of their failures."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from symphainy import __version__
from symphainy.cli import (
    artifacts,
    config,
    docs,
    doctor,
    executions,
    experience,
    intents,
    process,
    run,
    runtime,
    search,
    sessions,
    token,
    up,
    wal,
)
from symphainy.cli.failures import explained
from symphainy.cli.terminal import plain, say
from symphainy.errors import SymphainyError

DONE, FAILED, INTERRUPTED = 0, 1, 130

app = typer.Typer(
    name="symphainy",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"symphainy {__version__}")
        raise typer.Exit


@app.callback()
def symphainy(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A governed execution platform: files go in, durable artifacts with lineage come out.

    \b
    Example: symphainy up
             symphainy process report.pdf
             symphainy search "what was agreed on delivery?"
    """


# In the order of a first day: start it, do the main job, look closer, look after it.
app.command()(up.up)
app.command()(process.process)
app.command()(search.search)
app.command()(run.run)
app.add_typer(intents.app, name="intents")
app.add_typer(sessions.app, name="sessions")
app.add_typer(executions.app, name="executions")
app.add_typer(artifacts.app, name="artifacts")
app.add_typer(wal.app, name="wal")
app.command()(token.token)
app.command()(config.config)
app.command()(doctor.doctor)
app.command()(runtime.runtime)
app.command()(experience.experience)
app.command()(docs.docs)


def main() -> None:
    """Entry point. Exits 0 when done, 1 when refused or failed, 2 when misused, 130 when interrupted."""
    sys.exit(program(sys.argv[1:]))


def program(arguments: Sequence[str]) -> int:
    """The exit code of one command. Whatever goes wrong is told on standard error, with the command to try next."""
    command = _verb(arguments)
    try:
        code = get_command(app).main(list(arguments), prog_name="symphainy", standalone_mode=False)
    except typer.TyperException as misuse:
        text = misuse.format_message()
        context = getattr(misuse, "ctx", None)
        path = context.command_path if context is not None else f"symphainy {command}"
        # A group without a verb is answered with its help.
        say(text if text.startswith("Usage:") else f"error: {text}\ntry: {path} --help")
        return misuse.exit_code
    except typer.Abort:
        return INTERRUPTED
    except SymphainyError as error:
        for line in explained(error, command):
            say(line)
        return FAILED
    except OSError as error:
        subject = f"{plain(error.filename)}: " if error.filename is not None else ""
        say(f"error: {subject}{error.strerror or error}\ntry: symphainy doctor")
        return FAILED
    except Exception:
        traceback.print_exc()
        say("error: this is a fault of symphainy itself; the lines above say where\ntry: symphainy doctor")
        return FAILED
    return code if isinstance(code, int) else DONE


def _verb(arguments: Sequence[str]) -> str:
    """The verb as it was typed, with that of its group: `executions show`."""
    words = [word for word in arguments if not word.startswith("-")]
    groups = {group.name for group in app.registered_groups}
    return " ".join(words[: 2 if words and words[0] in groups else 1])


if __name__ == "__main__":
    main()
