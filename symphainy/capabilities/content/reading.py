"""Streams: a file through its parser into two blobs, and back out of blobs line by line."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import msgspec

from symphainy.capabilities.content.parsing.child import Parsed, Refusal, frames
from symphainy.capabilities.content.parsing.media import JSON_LINES, PDF
from symphainy.capability import BlobStore
from symphainy.errors import ChildFailed, IntentRefused, StoreFailed
from symphainy.model import JsonObject, Materialization
from symphainy.ports import Offload

UNITS_FORMAT = JSON_LINES
CHUNKS_FORMAT = "application/vnd.symphainy.chunks+jsonl"
PARSER_TARGET = "symphainy.capabilities.content.parsing.child:run"

BATCH_BYTES = 256 << 10
_WAITING_BATCHES = 8


@dataclass(frozen=True, kw_only=True)
class ParseLimits:
    """Bounds of one parse. `thread_bytes_max`: smaller files, but for PDF, are not worth a process of their own."""

    timeout_s: float = 600.0
    memory_bytes_max: int = 1 << 30
    thread_bytes_max: int = 1 << 20


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a parse has left behind."""

    units: Materialization
    chunks: Materialization
    parsed: Parsed


async def parse_into_blobs(
    blobs: BlobStore,
    offload: Offload,
    source: Materialization,
    *,
    media_type: str,
    options: JsonObject,
    limits: ParseLimits,
) -> Kept:
    """Parse `source`, writing units and chunks as they come. Raises `IntentRefused`, and then nothing is kept."""
    stream = _parsed(blobs, offload, source, media_type, options, limits)
    units, chunks = _Pipe(), _Pipe()
    try:
        async with aclosing(stream), asyncio.TaskGroup() as group:
            kept_units = group.create_task(blobs.put(units.read(), format=UNITS_FORMAT))
            kept_chunks = group.create_task(blobs.put(chunks.read(), format=CHUNKS_FORMAT))
            parsed = await _divided(stream, units, chunks)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return Kept(units=kept_units.result(), chunks=kept_chunks.result(), parsed=parsed)


class _Pipe:
    """Bytes from one task to another, a few batches ahead at most."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[bytes] = asyncio.Queue(_WAITING_BATCHES)

    async def write(self, batch: bytes) -> None:
        if batch:
            await self._batches.put(batch)

    async def close(self) -> None:
        await self._batches.put(b"")

    async def read(self) -> AsyncIterator[bytes]:
        while batch := await self._batches.get():
            yield batch


async def _divided(stream: AsyncIterator[bytes], units: _Pipe, chunks: _Pipe) -> Parsed:
    parsed: Parsed | None = None
    refusal: Refusal | None = None
    async for lines in _line_batches(stream):
        for line in lines:
            match line[:1]:
                case b"s":
                    parsed = msgspec.json.decode(line[1:], type=Parsed)
                case b"f":
                    refusal = msgspec.json.decode(line[1:], type=Refusal)
        await units.write(b"".join(line[1:] for line in lines if line[:1] == b"u"))
        await chunks.write(b"".join(line[1:] for line in lines if line[:1] == b"c"))
    if refusal is not None:
        raise IntentRefused(refusal.code, refusal.message, refusal.details)
    assert parsed is not None, "a parser ends with a summary or a refusal"
    await units.close()
    await chunks.close()
    return parsed


async def _parsed(
    blobs: BlobStore,
    offload: Offload,
    source: Materialization,
    media_type: str,
    options: JsonObject,
    limits: ParseLimits,
) -> AsyncGenerator[bytes, None]:
    """The parser's frames, in pieces of any length."""
    if source.size_bytes <= limits.thread_bytes_max and media_type != PDF:
        data = b"".join([piece async for piece in blobs.open(source)])
        yield await offload.thread(_in_one, data, media_type, options)
        return
    try:
        output = await offload.process(
            PARSER_TARGET,
            {"media_type": media_type, "options": options},
            blobs.open(source),
            timeout_s=limits.timeout_s,
            memory_bytes_max=limits.memory_bytes_max,
        )
        # Closing it ends the child, whatever happens out there.
        async with aclosing(cast("AsyncGenerator[bytes, None]", output)) as pieces:
            async for piece in pieces:
                yield piece
    except ChildFailed as failure:
        raise _refused(failure, limits) from None


def _in_one(data: bytes, media_type: str, options: JsonObject) -> bytes:
    return b"".join(frames(io.BytesIO(data), len(data), media_type, options))


def _refused(failure: ChildFailed, limits: ParseLimits) -> IntentRefused:
    match failure.reason:
        case "timeout":
            details = {"limit": "time_s", "max": limits.timeout_s}
            return IntentRefused("parser_limit", f"the file could not be read within {limits.timeout_s:g} s", details)
        case "memory":
            details = {"limit": "memory_bytes", "max": limits.memory_bytes_max}
            return IntentRefused(
                "parser_limit", f"the file could not be read with {limits.memory_bytes_max} bytes of memory", details
            )
    return IntentRefused(
        "parser_failed",
        f"the parser broke down over this file: {failure.message}",
        {"reason": failure.reason},
    )


async def _line_batches(stream: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Whole lines with their ends, as many at a time as have come."""
    rest: list[bytes] = []
    async for piece in stream:
        # In parts, so that a large piece does not hold the event loop.
        for start in range(0, len(piece), BATCH_BYTES):
            head, end, tail = piece[start : start + BATCH_BYTES].rpartition(b"\n")
            if end:
                yield b"".join([*rest, head, end]).splitlines(keepends=True)
                rest = []
            rest.append(tail)
    if any(rest):
        raise StoreFailed("a stream of lines breaks off within a line")


async def read_lines(stream: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The lines of a stream, without their ends, in batches of a bounded size."""
    async for lines in _line_batches(stream):
        yield [line[:-1] for line in lines]
