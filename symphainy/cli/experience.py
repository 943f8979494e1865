"""symphainy experience: the public address alone, in front of a Runtime elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from symphainy.cli.up import Host, ready, served


def experience(
    runtime_url: Annotated[
        str, typer.Option("--runtime-url", metavar="URL", help="Address of the Runtime.")
    ] = "http://127.0.0.1:8000",
    host: Host = None,
    port: Annotated[
        int | None, typer.Option("--port", show_default="8001", help="Port of Experience; 0 takes a free one.")
    ] = None,
) -> None:
    """Start Experience alone, joined to a Runtime over HTTP.

    \b
    Example: symphainy experience --runtime-url http://127.0.0.1:8000
    """
    from symphainy.boot.config import load
    from symphainy.boot.serve import serve_experience

    settings = load(overrides={"host": host, "port": port})
    served(serve_experience(settings, runtime_url=runtime_url, on_ready=ready))
