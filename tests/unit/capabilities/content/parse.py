"""One file through its parser, and everything that came of it."""

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, BinaryIO

import msgspec

from symphainy.capabilities.content.parsing.child import Parsed, Refusal, frames
from symphainy.capabilities.content.parsing.chunks import Chunk
from symphainy.capabilities.content.parsing.units import QUARANTINED, Unit

_decimals = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(kw_only=True)
class Outcome:
    data: bytes
    units: list[Unit] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    parsed: Parsed | None = None
    refusal: Refusal | None = None
    lines: bytearray = field(default_factory=bytearray)

    @property
    def content(self) -> list[Unit]:
        return [unit for unit in self.units if unit.kind != QUARANTINED]

    @property
    def reasons(self) -> list[str | None]:
        return [unit.reason for unit in self.units if unit.kind == QUARANTINED]

    @property
    def records(self) -> list[Any]:
        return [unit.values for unit in self.units if unit.kind == "record"]

    @property
    def summary(self) -> Parsed:
        assert self.parsed is not None, self.refusal
        return self.parsed

    @property
    def balance(self) -> dict[str, Any]:
        return self.summary.summary.balance

    @property
    def structure(self) -> dict[str, Any]:
        return self.summary.summary.structure

    @property
    def text(self) -> str:
        """The source text, as characters are counted. Not for PDF."""
        encoding = self.structure["encoding"]
        errors = "surrogatepass" if encoding["name"].startswith("utf-16") else "surrogateescape"
        return self.data[encoding["bom_bytes"] :].decode(encoding["name"], errors)


def parse(data: bytes, media_type: str, **options: Any) -> Outcome:
    with tempfile.TemporaryFile() as file:  # a PDF is mapped into memory, so the file must be a real one
        file.write(data)
        file.flush()
        return _parse(file, data, media_type, options)


def _parse(file: BinaryIO, data: bytes, media_type: str, options: dict[str, Any]) -> Outcome:
    outcome = Outcome(data=data)
    for frame in frames(file, len(data), media_type, options):
        letter, body = frame[:1], frame[1:]
        assert body.endswith(b"\n")
        assert body.count(b"\n") == 1
        match letter:
            case b"u":
                outcome.lines += body
                outcome.units.append(msgspec.convert(_decimals.decode(body), Unit))
            case b"c":
                outcome.chunks.append(msgspec.json.decode(body, type=Chunk))
            case b"s":
                outcome.parsed = msgspec.json.decode(body, type=Parsed)
            case _:
                outcome.refusal = msgspec.json.decode(body, type=Refusal)
    return outcome


def assert_conserved(outcome: Outcome) -> None:
    """Every measure adds up to its total, and the bytes to the size of the file."""
    for measure, account in outcome.balance.items():
        parts = account["delivered"] + sum(account["ignored"].values()) + sum(account["quarantined"].values())
        assert parts == account["total"], (measure, account)
    if "bytes" in outcome.balance:
        assert outcome.balance["bytes"]["total"] == len(outcome.data)
    assert outcome.summary.units == len(outcome.units)
    assert outcome.summary.chunks == len(outcome.chunks)
    assert outcome.summary.quarantined == len(outcome.reasons)


def assert_exact(outcome: Outcome) -> None:
    """Units and chunks are the characters, and the bytes, that their positions name."""
    text, encoding = outcome.text, outcome.structure["encoding"]["name"]
    for unit in outcome.content:
        place = unit.position
        raw = text[place.char_start : place.char_end]
        if unit.text is not msgspec.UNSET:
            assert raw == unit.text
        assert outcome.data[place.byte_start : place.byte_end].decode(encoding) == raw
    for chunk in outcome.chunks:
        place = chunk.position
        assert text[place.char_start : place.char_end] == chunk.text == chunk.text.strip()
        assert outcome.data[place.byte_start : place.byte_end].decode(encoding) == chunk.text
        assert place.line == line_of(text, place.char_start)
        start, end = chunk.units
        cut_from = [msgspec.json.decode(line, type=Unit) for line in outcome.lines[start:end].splitlines()]
        assert cut_from[0].position.char_start <= place.char_start
        assert place.char_end <= cut_from[-1].position.char_end


def assert_covered(outcome: Outcome) -> None:
    """Every character of a delivered unit that is not white space stands in exactly one chunk, in order."""
    text = outcome.text
    spans = [(chunk.position.char_start, chunk.position.char_end) for chunk in outcome.chunks]
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    inside = [False] * len(text)
    for start, end in spans:
        inside[start:end] = [True] * (end - start)
    for unit in outcome.content:
        for at in range(unit.position.char_start, unit.position.char_end):
            assert inside[at] or text[at].isspace(), (at, text[at])


def line_of(text: str, at: int) -> int:
    before = text[:at]
    return 1 + before.count("\n") + before.count("\r") - before.count("\r\n")
