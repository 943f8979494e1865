"""Deterministic embeddings: the same content always gives the same numbers, other content others."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.fingerprints import (
    DISTINCT_EXACT_MAX,
    Fingerprint,
    mask_of,
    units_of,
)
from symphainy.capabilities.content.parsing.media import CSV, JSON, MARKDOWN, PLAIN
from tests.unit.capabilities.content.parse import parse

TABLE = b"id,name,due\n1,P-101,2026-01-01\n2,P-102,2026-01-02\n3,,2026-01-05\n"


def fingerprint(data: bytes, media_type: str, *, batch: int = 7) -> dict[str, Any]:
    lines = bytes(parse(data, media_type).lines).splitlines()
    found = Fingerprint()
    for start in range(0, len(lines), batch):
        found.add(units_of(lines[start : start + batch]))
    return found.result()


def test_a_table_is_told_by_its_columns() -> None:
    found = fingerprint(TABLE, CSV)
    assert (found["kind"], found["units"], found["kinds"]) == ("records", 4, {"header": 1, "record": 3})
    assert found["columns"][1] == {
        "name": "name",
        "source": "",
        "type": "text",
        "rows": 3,
        "empty_rate": 0.333333,
        "types": {"empty": 1, "text": 2},
        "distinct": {"count": 2, "exact": True},
        "lengths_log2": {"3": 2},
        "characters": {"digit": 6, "other": 2, "upper": 2},
        "masks": [{"mask": "A-9+", "count": 2}],
        "values_of_further_masks": 0,
    }


def test_the_same_content_gives_the_same_numbers_however_it_is_cut() -> None:
    assert fingerprint(TABLE, CSV) == fingerprint(TABLE, CSV, batch=1) == fingerprint(TABLE, CSV, batch=1000)


def test_the_schema_is_told_apart_from_what_stands_in_it() -> None:
    one, other = fingerprint(TABLE, CSV), fingerprint(TABLE.replace(b"P-102", b"P-109"), CSV)
    assert one["schema_fingerprint"] == other["schema_fingerprint"]
    assert one["content_fingerprint"] != other["content_fingerprint"]


def test_the_order_of_columns_is_in_one_fingerprint_and_not_in_the_other() -> None:
    turned = b"name,id,due\nP-101,1,2026-01-01\nP-102,2,2026-01-02\n,3,2026-01-05\n"
    one, other = fingerprint(TABLE, CSV), fingerprint(turned, CSV)
    assert one["schema_fingerprint"] != other["schema_fingerprint"]
    assert one["schema_fingerprint_unordered"] == other["schema_fingerprint_unordered"]


def test_another_type_is_another_schema() -> None:
    one, other = fingerprint(TABLE, CSV), fingerprint(TABLE.replace(b"2026-01-05", b"soon"), CSV)
    assert one["schema_fingerprint"] != other["schema_fingerprint"]


def test_digits_behind_the_point_count() -> None:
    assert fingerprint(b'[{"a": 1.50}]', JSON) != fingerprint(b'[{"a": 1.5}]', JSON)


def test_sections_of_a_document_are_columns_too() -> None:
    found = fingerprint(b'{"limits": {"bar": 4}, "rows": [{"a": 1}], "tags": ["x"]}', JSON)
    assert [(column["source"], column["name"], column["type"]) for column in found["columns"]] == [
        ("", "limits", "object"),
        ("/rows", "a", "integer"),
        ("", "tags", "array"),
    ]


def test_distinct_values_are_estimated_where_they_are_many() -> None:
    rows = b"".join(b"%d,x\n" % number for number in range(20_000))
    columns = fingerprint(b"id,k\n" + rows, CSV, batch=5000)["columns"]
    assert columns[1]["distinct"] == {"count": 1, "exact": True}
    estimate = columns[0]["distinct"]
    assert estimate["exact"] is False
    assert 16_000 < estimate["count"] < 24_000
    few = b"".join(b"%d\n" % number for number in range(DISTINCT_EXACT_MAX - 1))
    assert fingerprint(b"n\n" + few, CSV)["columns"][0]["distinct"] == {"count": DISTINCT_EXACT_MAX - 1, "exact": True}


def common_wording(one: list[str | None], other: list[str | None]) -> float:
    """The share of phrases two documents have in common, as their bins estimate it."""
    used = [(a, b) for a, b in zip(one, other, strict=True) if a is not None or b is not None]
    return sum(1 for a, b in used if a == b) / len(used)


def test_wording_tells_how_much_two_documents_share() -> None:
    chance = random.Random(4)
    words = [f"word{chance.randint(0, 5000)}" for _ in range(4000)]

    def bins(parts: list[str]) -> list[str | None]:
        wording: dict[str, Any] = fingerprint(" ".join(parts).encode(), PLAIN)["wording"]
        return list(wording["bins"])

    same, half, other = bins(words), bins(words[:2000] + words[:100:-1][:2000]), bins(words[::-1])
    assert common_wording(same, bins([*words])) == 1.0
    assert 0.15 < common_wording(same, half) < 0.55
    assert common_wording(same, other) < 0.05


def test_the_shape_of_a_value() -> None:
    shapes = {"P-007": "A-9+", "AB12": "A+9+", "2026-01-31": "9+-9+-9+", "a b": "a a", "": "", "Größe": "Aa+"}
    assert {value: mask_of(value) for value in shapes} == shapes


TABLES = st.lists(st.lists(st.text("ab1. ", max_size=4), min_size=2, max_size=2), min_size=1, max_size=6)


@given(TABLES, TABLES)
def test_two_different_tables_never_give_the_same_numbers(one: list[list[str]], other: list[list[str]]) -> None:
    def written(rows: list[list[str]]) -> bytes:
        return b"k,v\n" + b"".join(",".join(row).encode() + b"\n" for row in rows)

    same = parse(written(one), CSV).records == parse(written(other), CSV).records
    assert (fingerprint(written(one), CSV) == fingerprint(written(other), CSV)) is same


@given(st.text("ab \n#", max_size=30), st.text("ab \n#", max_size=30))
def test_two_different_texts_never_give_the_same_numbers(one: str, other: str) -> None:
    def told(text: str) -> list[Any]:
        return [(unit.kind, unit.text) for unit in parse(text.encode(), MARKDOWN).units]

    equal = fingerprint(one.encode(), MARKDOWN) == fingerprint(other.encode(), MARKDOWN)
    assert equal is (told(one) == told(other))
