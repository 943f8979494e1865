"""docs/reference/settings.md: every setting with its defaults, bounds and variables."""

from __future__ import annotations

import tempfile

from symphainy.boot.config import CLIENT_VARIABLES, CONFIG_VARIABLE, DEFAULT_FILE, Profile, SettingRow, Settings
from symphainy.cli.reference.contracts import GENERATED
from symphainy.cli.reference.markdown import code, codes, paragraphs, table

UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def settings_page() -> str:
    rows = Settings().rows()
    profiles = " and ".join(code(profile.value) for profile in Profile)
    return paragraphs(
        GENERATED,
        "# Settings",
        f"Read once, at start-up, each source over the one before: the profile's defaults; the file"
        f" {code(DEFAULT_FILE)} in the working folder, or the one that {code(CONFIG_VARIABLE)} names; the"
        " environment; the command line. A name that is no setting stops the start, and so does a value"
        " out of"
        f" bounds. Profiles: {profiles}. `symphainy config` shows what is in force, and where it comes from.",
        table(
            ["setting", "means", "development", "production", "bounds", "environment"],
            [
                (
                    code(row.name),
                    row.description,
                    _value(row.development, row),
                    _same_or(row),
                    _bounds(row),
                    codes(row.environment),
                )
                for row in rows
            ],
        ),
        "Variables of the command line's own, which are no settings of the platform:"
        f" {codes(sorted(CLIENT_VARIABLES))}.",
    )


def _same_or(row: SettingRow) -> str:
    return "the same" if row.production == row.development else _value(row.production, row)


def _value(text: str, row: SettingRow) -> str:
    if not text:
        return "none"
    # The folder differs from machine to machine; the page must not.
    shown = text.replace(tempfile.gettempdir(), "(temporary folder)")
    if row.unit == "bytes":
        return _size(int(shown))
    return " ".join(filter(None, [code(shown), row.unit]))


def _size(count: int) -> str:
    for size, name in UNITS:
        if count >= size and count % size == 0:
            return f"{count // size} {name}"
    return f"{count} B"


def _bounds(row: SettingRow) -> str:
    if row.unit != "bytes" or not row.bounds:
        return row.bounds
    low, _, high = row.bounds.partition(" to ")
    return f"{_size(int(low))} to {_size(int(high))}"
