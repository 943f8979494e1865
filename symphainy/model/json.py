"""JSON as this platform reads and writes it."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from symphainy.errors import Invalid

JsonObject: TypeAlias = dict[str, Any]

DEPTH_MAX = 64

_encoder = msgspec.json.Encoder(order="deterministic", decimal_format="number")
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def canonical(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no white space: equal values give equal bytes."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the value cannot be written as JSON: {error}") from None


def parse(data: bytes | str) -> Any:
    """The JSON value. Raises `Invalid` for anything that is not JSON."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}") from None


def depth_exceeds(value: Any, depth_max: int = DEPTH_MAX) -> bool:
    """Whether objects and arrays are nested deeper than `depth_max`. Walks without recursion."""
    level: list[Any] = [value]
    for _ in range(depth_max + 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(v for v in item.values() if isinstance(v, (dict, list)))
            elif isinstance(item, list):
                deeper.extend(v for v in item if isinstance(v, (dict, list)))
        if not deeper:
            return False
        level = deeper
    return True


def merged(base: JsonObject, changes: JsonObject) -> JsonObject:
    """`base` with `changes` laid over it, as RFC 7396 merges: objects merge, null removes, the rest replaces."""
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            below = out.get(key)
            out[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            out[key] = value
    return out
