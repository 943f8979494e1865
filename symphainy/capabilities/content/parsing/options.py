"""What a caller may decide about a parse instead of the parser."""

from __future__ import annotations

from typing import Any

import msgspec


class ParseOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All absent by default: then the content decides."""

    encoding: str | None = None
    """A Python codec name, for text formats."""
    delimiter: str | None = None
    """One character, for delimited text."""
    quote: str | None = None
    """One character, for delimited text."""
    header: bool | None = None
    """Whether the first row of a delimited text names its columns."""

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            value = getattr(self, name)
            if value is not None and (len(value) != 1 or value in "\r\n\x00"):
                raise ValueError(f"{name} is one character and no line end, not {value!r}")


def parse_options(raw: dict[str, Any]) -> ParseOptions:
    """Raises `ValueError` naming what is wrong or unknown."""
    return msgspec.convert(raw, ParseOptions)
