"""Files come in, are kept, read, and can be searched.

`ContentCapability` is loaded when it is asked for: a parser's child process needs the parsers below, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symphainy.capabilities.content.handlers import ContentCapability

__all__ = ["ContentCapability"]


def __getattr__(name: str) -> Any:
    if name != "ContentCapability":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from symphainy.capabilities.content.handlers import ContentCapability

    return ContentCapability
