"""symphainy runtime: the execution authority alone."""

from __future__ import annotations

from typing import Annotated

import typer

from symphainy.cli.options import Data
from symphainy.cli.up import Capabilities, Host, reachable, ready, served


def runtime(
    host: Host = None,
    port: Annotated[
        int | None, typer.Option("--port", show_default="8000", help="Port of the Runtime; 0 takes a free one.")
    ] = None,
    data: Data = None,
    capability: Capabilities = None,
) -> None:
    """Start the Runtime alone; Experience joins it over HTTP.

    \b
    Example: symphainy runtime --port 8000
    """
    from symphainy.boot.config import load
    from symphainy.boot.serve import Service, serve

    settings = load(
        overrides={
            "runtime_host": host,
            "runtime_port": port,
            "data_dir": data,
            "capability": reachable(capability),
        }
    )
    served(serve(settings, services=frozenset({Service.RUNTIME}), on_ready=ready))
