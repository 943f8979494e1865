"""symphainy up: the whole platform in one process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from symphainy.cli.options import URL, Data
from symphainy.cli.terminal import say, show

if TYPE_CHECKING:
    from symphainy.boot.serve import Addresses

INTERRUPTED = 130
SAMPLES = Path(__file__).parents[1] / "samples"

Host = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", show_default="127.0.0.1", help="Address on which it listens."),
]
Capabilities = Annotated[
    list[str] | None,
    typer.Option(
        "--capability", metavar="MODULE:CLASS", help="A capability of your own; the working folder is looked in."
    ),
]


def up(
    host: Host = None,
    port: Annotated[
        int | None, typer.Option("--port", show_default="8001", help="Port of Experience; 0 takes a free one.")
    ] = None,
    runtime_port: Annotated[
        int | None, typer.Option("--runtime-port", show_default="8000", help="Port of the Runtime; 0 takes a free one.")
    ] = None,
    data: Data = None,
    capability: Capabilities = None,
    sample: Annotated[bool, typer.Option("--sample", help="Also take a few bundled documents in.")] = False,
) -> None:
    """Start the platform: Runtime and Experience in one process.

    It prints `ready` with both addresses. SIGTERM and Ctrl-C drain it: what runs may finish, then it exits.

    \b
    Example: symphainy up --sample
    """
    from symphainy.boot.config import load
    from symphainy.boot.serve import serve

    settings = load(
        overrides={
            "host": host,
            "port": port,
            "runtime_port": runtime_port,
            "data_dir": data,
            "capability": reachable(capability),
        }
    )
    samples: list[asyncio.Task[None]] = []

    def on_ready(addresses: Addresses) -> None:
        ready(addresses)
        _tell_next(addresses, settings.data_dir)
        if sample:
            assert addresses.experience is not None
            work = _take_samples(addresses.experience, settings.data_dir)
            samples.append(asyncio.get_running_loop().create_task(work))

    served(serve(settings, on_ready=on_ready))


def reachable(capabilities: list[str] | None) -> tuple[str, ...] | None:
    """What `--capability` names, once it can be imported: a file of one's own lies in the working folder."""
    if not capabilities:
        return None
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    return tuple(capabilities)


def served(main: Coroutine[Any, Any, None]) -> None:
    """Serve until a signal has drained the platform."""
    from symphainy.boot.serve import run

    try:
        run(main)
    except asyncio.CancelledError:
        # A second signal: whoever sent it did not want to wait for the end.
        raise typer.Exit(INTERRUPTED) from None


def ready(addresses: Addresses) -> None:
    """One line for whoever waits for it."""
    told = [("runtime", addresses.runtime), ("experience", addresses.experience)]
    show(" ".join(["ready", *(f"{name}={url}" for name, url in told if url is not None)]))


def _options(url: str | None, data: Path) -> str:
    """What a client command has to be told to reach this platform from here."""
    told = "" if url == URL else f" --url {url}"
    return told if data == Path(".symphainy").absolute() else f"{told} --data {data}"


def _tell_next(addresses: Addresses, data: Path) -> None:
    options = _options(addresses.experience, data)
    say(
        f"""
Try, in another shell:
  symphainy process FILE...{options}
  symphainy search "your question"{options}
  symphainy intents list{options}
Documents of the interface: {addresses.experience}/docs
Ctrl-C drains and stops; what was acknowledged is on disk in {data}
"""
    )


async def _take_samples(url: str, data: Path) -> None:
    """The bundled documents, as `symphainy process` would take them in. What fails is told and stops nothing."""
    from symphainy.cli.credentials import token_for
    from symphainy.cli.gathering import FILES_MAX, gathered
    from symphainy.cli.process import processed
    from symphainy.errors import SymphainyError
    from symphainy.sdk import ExperienceSDK

    found = await asyncio.to_thread(gathered, [SAMPLES], files_max=FILES_MAX)
    token = await asyncio.to_thread(token_for, url, None, data=data)
    try:
        async with ExperienceSDK.connect(url, token=token) as sdk:
            await processed(sdk, found.files)
    except SymphainyError as error:
        say(f"the samples could not be taken in: {error}")
        return
    say(f'search them: symphainy search "how is a wave taken back?"{_options(url, data)}')
