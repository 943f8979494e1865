"""The options that verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str, typer.Option("--url", envvar="SYMPHAINY_URL", metavar="URL", help="Address of the platform.")]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SYMPHAINY_TOKEN",
        metavar="TOKEN",
        show_default="the saved one, or on this machine a development token",
        help="Who is asking.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        show_default="SYMPHAINY_DATA, or ./.symphainy",
        help="Folder of the platform: its store, blobs and keys.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, for programs.")]
Session = Annotated[
    str | None, typer.Option("--session", metavar="ID", show_default="a new one", help="Session to work in.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=500, help="Rows at most.")]

URL = "http://127.0.0.1:8001"
