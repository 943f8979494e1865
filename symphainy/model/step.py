"""A named, durable piece of a handler."""

from __future__ import annotations

from typing import Any

import msgspec

from symphainy.model.instant import Instant


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the log remembers of one step.

    A result over the inline limit lies in a blob: `result_blob` is its SHA-256.
    """

    name: str
    status: str
    attempt: int
    result: Any = None
    result_blob: str | None = None
    is_bytes: bool = False
    error: str | None = None
    seq: int
    finished_at: Instant
