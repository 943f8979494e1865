"""symphainy docs: write the reference anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from symphainy.cli.terminal import plain, say, show
from symphainy.cli.up import Capabilities, reachable


def docs(
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", exists=True, file_okay=False, help="Clone whose docs/ is written.")
    ] = Path(),
    capability: Capabilities = None,
    built_in_only: Annotated[
        bool, typer.Option("--built-in-only", help="Leave out capabilities of installed distributions.")
    ] = False,
) -> None:
    """Write the reference from the code.

    That is docs/reference/, docs/intent_contracts/ and the generated parts of other pages.

    \b
    Example: symphainy docs
    """
    from symphainy.cli.reference import write_reference

    written = write_reference(root, named=reachable(capability) or (), built_in_only=built_in_only)
    for path in written:
        show(plain(path))
    say(f"{len(written)} pages changed")
