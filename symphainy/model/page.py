"""One page of a list."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """`next_cursor` is opaque, and None at the end."""

    items: tuple[T, ...]
    next_cursor: str | None = None
