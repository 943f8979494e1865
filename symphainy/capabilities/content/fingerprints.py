"""Deterministic embeddings: what a parsed file looks like, as numbers that the same content always gives.

Three fingerprints (of the schema, of the schema whatever its order, of the content), a pattern signature per column,
and for prose an outline and a signature of its wording from which the share of common phrases can be estimated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b, sha256
from heapq import heappushpop
from typing import Any

import msgspec

from symphainy.capabilities.content.parsing.column_types import common_type, type_of
from symphainy.capabilities.content.parsing.units import QUARANTINED
from symphainy.model import JsonObject
from symphainy.model.json import canonical

FINGERPRINT_VERSION = "1"
"""Raise when the same content would give other numbers."""

COLUMNS_MAX = 1000
MASKS_MAX = 200
MASKS_SHOWN = 10
MASK_CHARS_MAX = 40
DISTINCT_EXACT_MAX = 256
"""Distinct values are counted up to here; beyond, they are estimated from the smallest hashes."""
WORDING_BINS = 128
SHINGLE_WORDS = 3

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_WORD = re.compile(r"\w+")
_RUN = re.compile(r"9+|a+|A+")
_HASH_SPAN = float(1 << 64)


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def mask_of(value: str) -> str:
    """The shape of a value: a digit is 9, a letter a or A, runs are told once. `P-007` is `A-9+`, `AB12` is `A+9+`."""
    shape = "".join(
        "9" if char.isdigit() else ("A" if char.isupper() else "a") if char.isalpha() else char for char in value
    )
    return _RUN.sub(lambda run: run.group() if len(run.group()) == 1 else f"{run.group()[0]}+", shape)[:MASK_CHARS_MAX]


class _Distinct:
    """How many different values: exact for few, from the k smallest hashes for many."""

    def __init__(self) -> None:
        self._smallest: list[int] = []  # a heap of negated hashes, the greatest hash on top
        self._held: set[int] = set()

    def add(self, value: bytes) -> None:
        found = _hash(value)
        if found in self._held:
            return
        if len(self._smallest) < DISTINCT_EXACT_MAX:
            self._held.add(found)
            self._smallest.append(-found)
            if len(self._smallest) == DISTINCT_EXACT_MAX:
                self._smallest.sort()
        elif found < -self._smallest[0]:
            self._held.discard(-heappushpop(self._smallest, -found))
            self._held.add(found)

    def estimate(self) -> JsonObject:
        count = len(self._smallest)
        if count < DISTINCT_EXACT_MAX:
            return {"count": count, "exact": True}
        greatest = max(-each for each in self._smallest)
        return {"count": round((count - 1) / (greatest / _HASH_SPAN)), "exact": False}


class _Column:
    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.rows = 0
        self.empty = 0
        self._types: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._classes: Counter[str] = Counter()
        self._masks: Counter[str] = Counter()
        self._unmasked = 0
        self._distinct = _Distinct()

    def add(self, values: Iterable[Any]) -> None:
        # Each value once: most columns repeat themselves.
        for (kind, text), times in Counter(map(_told, values)).items():
            self.rows += times
            self._types[kind] += times
            if kind in ("empty", "null"):
                self.empty += times
                continue
            self._lengths[len(text).bit_length()] += times
            self._distinct.add(text.encode("utf-8", "surrogatepass"))
            for name, found in _classes(text).items():
                self._classes[name] += found * times
            mask = mask_of(text)
            if mask in self._masks or len(self._masks) < MASKS_MAX:
                self._masks[mask] += times
            else:
                self._unmasked += times

    @property
    def type(self) -> str:
        seen = {*self._types} - {"null"}
        return common_type(seen) if seen <= _TEXT_TYPES else seen.pop() if len(seen) == 1 else "mixed"

    def signature(self) -> JsonObject:
        commonest = sorted(self._masks.items(), key=lambda pair: (-pair[1], pair[0]))[:MASKS_SHOWN]
        return {
            "name": self.name,
            "source": self.source,
            "type": self.type,
            "rows": self.rows,
            "empty_rate": round(self.empty / self.rows, 6) if self.rows else 0.0,
            "types": dict(sorted(self._types.items())),
            "distinct": self._distinct.estimate(),
            # Values of 2^(n-1) to 2^n - 1 characters.
            "lengths_log2": {str(bits): times for bits, times in sorted(self._lengths.items())},
            "characters": dict(sorted(self._classes.items())),
            "masks": [{"mask": mask, "count": times} for mask, times in commonest],
            "values_of_further_masks": self._unmasked,
        }


_TEXT_TYPES = frozenset({"empty", "integer", "decimal", "code", "date", "time", "datetime", "boolean", "text"})


def _told(value: Any) -> tuple[str, str]:
    """The type of a value, and its text."""
    match value:
        case None:
            return "null", ""
        case str():
            return type_of(value), value
        case bool():
            return "boolean", str(value).lower()
        case int():
            return "integer", str(value)
        case list():
            return "array", canonical(value).decode()
        case dict():
            return "object", canonical(value).decode()
        case _:
            return "decimal", str(value)


def _classes(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for char, times in Counter(text).items():
        if char.isdigit():
            found["digit"] += times
        elif char.isalpha():
            found["upper" if char.isupper() else "lower"] += times
        elif char.isspace():
            found["space"] += times
        else:
            found["other"] += times
    return found


class Fingerprint:
    """Fed with the units of a parsed file, in order."""

    def __init__(self) -> None:
        self.units = 0
        self._content = sha256()
        self._outline = sha256()
        self._kinds: Counter[str] = Counter()
        self._columns: dict[tuple[str, str], _Column] = {}
        self._beyond = 0
        self._words = 0
        self._tail: list[str] = []
        self._bins: list[int | None] = [None] * WORDING_BINS

    def add(self, units: Sequence[JsonObject]) -> None:
        """`units` as they stand in the JSON Lines. Quarantined ones are part of the content and of nothing else."""
        columns: dict[tuple[str, str], list[Any]] = {}
        for unit in units:
            self.units += 1
            kind = unit["kind"]
            self._kinds[kind] += 1
            place = unit["position"]
            # Where it stands is content as far as the file itself says so: below which key, on which page.
            told = canonical(
                [
                    *(kind, unit.get("level"), unit.get("reason"), unit.get("text"), unit.get("values")),
                    *(place.get("pointer"), place.get("page")),
                ]
            )
            self._content.update(len(told).to_bytes(8, "big") + told)
            if kind in ("record", "section", "value"):
                source = str(place.get("pointer", "")).rpartition("/")[0]
                values = {"": unit["values"]} if kind == "value" else unit["values"]
                for name, value in values.items():
                    columns.setdefault((source, name), []).append(value)
            elif kind not in (QUARANTINED, "preamble") and isinstance(unit.get("text"), str):
                self._outline.update(f"{kind}:{unit.get('level')};".encode())
                self._worded(unit["text"])
        for key, found in columns.items():
            if key not in self._columns:
                if len(self._columns) >= COLUMNS_MAX:
                    self._beyond += len(found)
                    continue
                self._columns[key] = _Column(key[1], key[0])
            self._columns[key].add(found)

    def _worded(self, text: str) -> None:
        """One-permutation minhash: each phrase falls into one bin, which keeps the smallest it has seen."""
        words = [*self._tail, *_WORD.findall(text.casefold())]
        self._words += len(words) - len(self._tail)
        for at in range(len(words) - SHINGLE_WORDS + 1):
            found = _hash(" ".join(words[at : at + SHINGLE_WORDS]).encode("utf-8", "surrogatepass"))
            place, value = found % WORDING_BINS, found // WORDING_BINS
            held = self._bins[place]
            if held is None or value < held:
                self._bins[place] = value
        self._tail = words[-(SHINGLE_WORDS - 1) :]

    @property
    def kind(self) -> str:
        has_words, has_records = self._words > 0, bool(self._columns)
        if has_words and has_records:
            return "mixed"
        return "records" if has_records else "document" if has_words else "empty"

    def result(self) -> JsonObject:
        columns = [(column.source, column.name, column.type) for column in self._columns.values()]
        outline = self._outline.hexdigest()
        ordered: Any = columns or outline
        # Of prose, what remains without its order is how many blocks of each kind it has.
        unordered: Any = sorted(columns) or dict(sorted(self._kinds.items()))
        return {
            "version": FINGERPRINT_VERSION,
            "kind": self.kind,
            "units": self.units,
            "kinds": dict(sorted(self._kinds.items())),
            "schema_fingerprint": sha256(canonical(ordered)).hexdigest(),
            "schema_fingerprint_unordered": sha256(canonical(unordered)).hexdigest(),
            "content_fingerprint": self._content.hexdigest(),
            "columns": [column.signature() for column in self._columns.values()],
            "column_values_beyond_limit": self._beyond,
            "outline_fingerprint": outline,
            "words": self._words,
            "wording": {
                "method": "one_permutation_minhash",
                "shingle_words": SHINGLE_WORDS,
                "bins": [None if value is None else f"{value:015x}" for value in self._bins] if self._words else [],
            },
        }


def units_of(lines: Iterable[bytes]) -> list[JsonObject]:
    """Numbers keep the digits they are written with."""
    return [_decoder.decode(line) for line in lines]
