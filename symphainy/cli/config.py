"""symphainy config: every setting, and where its value comes from."""

from __future__ import annotations

from symphainy.cli.options import AsJson, Data
from symphainy.cli.terminal import show_json, show_table


def config(data: Data = None, as_json: AsJson = False) -> None:
    """Show every setting, and where its value comes from.

    \b
    Example: SYMPHAINY_PORT=9001 symphainy config
    """
    from symphainy.boot.config import load

    rows = load(overrides={"data_dir": data}).rows()
    if as_json:
        show_json(rows)
        return
    show_table(
        ["setting", "value", "unit", "origin", "set by"],
        [(row.name, row.value, row.unit, row.origin, row.environment[0]) for row in rows],
    )
