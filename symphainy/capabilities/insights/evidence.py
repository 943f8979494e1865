"""Does the source really say so? A passage of the index is only answered when its source, read again, holds it.

The formats that are relied on are in the README of content: a text format is read from the file itself, by bytes; a PDF
from the units of its parsed content, by characters of a page.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from symphainy.errors import NotFound
from symphainy.model import Artifact, JsonObject
from symphainy.ports import Blobs, Hit


async def holds(blobs: Blobs, tenant_id: str, parsed: Artifact, hit: Hit) -> bool:
    """Whether the source of `parsed` holds `hit.text` at `hit.position`."""
    source = parsed.semantic_descriptor["source"]
    position = hit.position
    try:
        if "byte_start" in position:
            start, stop = position["byte_start"], position["byte_end"]
            data = await _read(blobs.read(tenant_id, source["sha256"], start=start, stop=stop))
            return _decoded(data, source["encoding"]) == hit.text
        start, stop = position["units"]
        data = await _read(blobs.read(tenant_id, parsed.materializations[0].sha256, start=start, stop=stop))
    except NotFound:
        return False
    return _units_hold(data, hit)


async def _read(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in stream])


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


class _Place(msgspec.Struct, frozen=True):
    char_start: int
    char_end: int
    page: int | None = None


class _Unit(msgspec.Struct, frozen=True):
    position: _Place
    text: str


def _units_hold(lines: bytes, hit: Hit) -> bool:
    """Whether the units, with nothing but white space between them, read as the passage."""
    start, end = hit.position["char_start"], hit.position["char_end"]
    if len(hit.text) != end - start:
        return False
    try:
        units = [msgspec.json.decode(line, type=_Unit) for line in lines.splitlines()]
    except msgspec.DecodeError:
        return False
    at = start
    for unit in units:
        place = unit.position
        if place.page != hit.position.get("page") or place.char_start > end or place.char_end < at:
            return False
        between, low, high = max(place.char_start, at), max(place.char_start, start), min(place.char_end, end)
        if hit.text[at - start : between - start].strip():
            return False
        if hit.text[low - start : high - start] != unit.text[low - place.char_start : high - place.char_start]:
            return False
        at = high
    return at == end and bool(units)


def place_of(position: JsonObject) -> JsonObject:
    """A position as it is answered: without what only serves to find it again."""
    return {name: value for name, value in position.items() if name not in ("file_id", "filename", "units")}
