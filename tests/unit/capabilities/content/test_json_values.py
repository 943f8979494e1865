"""JSON: values as they are written, each with its place; and what is not JSON is refused with its place."""

import codecs
import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing import json_values
from symphainy.capabilities.content.parsing.media import JSON, JSON_LINES
from tests.unit.capabilities.content.parse import Outcome, assert_conserved, assert_covered, assert_exact, parse

ORDERS = b"""{
  "plant": "hall 3",
  "orders": [
    {"id": 1, "cost": 12.50, "open": true},
    {"id": 2, "cost": 3, "tags": ["a"]}
  ],
  "limits": {"bar": 4}
}
"""


def test_members_become_sections_and_lists_of_objects_records() -> None:
    outcome = parse(ORDERS, JSON)
    assert [(unit.kind, unit.values, unit.position.pointer, unit.position.row) for unit in outcome.units] == [
        ("section", {"plant": "hall 3"}, "/plant", None),
        ("record", {"id": 1, "cost": Decimal("12.50"), "open": True}, "/orders/0", 1),
        ("record", {"id": 2, "cost": 3, "tags": ["a"]}, "/orders/1", 2),
        ("section", {"limits": {"bar": 4}}, "/limits", None),
    ]
    assert outcome.structure["form"] == "object"
    assert outcome.structure["records"] == [
        {
            "pointer": "/orders",
            "rows": 2,
            "columns": [
                {"name": "id", "type": "integer", "types": {"integer": 2}},
                {"name": "cost", "type": "decimal", "types": {"decimal": 1, "integer": 1}},
                {"name": "open", "type": "boolean", "types": {"absent": 1, "boolean": 1}},
                {"name": "tags", "type": "array", "types": {"absent": 1, "array": 1}},
            ],
            "keys_beyond_limit": 0,
        }
    ]
    keys_and_values = ('"plant"', '"hall 3"', '"orders"', '"limits"', '{"bar": 4}')
    records = ('{"id": 1, "cost": 12.50, "open": true}', '{"id": 2, "cost": 3, "tags": ["a"]}')
    delivered = len("".join([*keys_and_values, *records]))
    assert outcome.balance["bytes"] == {
        "total": len(ORDERS),
        "delivered": delivered,
        "ignored": {"structure": len(ORDERS) - delivered},
        "quarantined": {},
    }
    assert_exact(outcome)
    assert_covered(outcome)


@pytest.mark.parametrize(
    ("data", "byte", "reason"),
    [
        (b"", 0, "Expecting value"),
        (b'{"a": 1', 7, "the text ends where ',' or '}' must follow"),
        (b"[1, 2\n, }", 8, "Expecting value"),
        (b'{"a": 1} {', 9, "something follows the end of the document"),
        (b'{"a": 1, "a": 2}', 12, "the key 'a' stands twice in one object"),
        (b'[{"a": 1, "a": 2}]', 1, "the key 'a' stands twice in one object"),
        (b"[NaN]", 1, "NaN is not JSON"),
        (b"[1, -Infinity]", 4, "-Infinity is not JSON"),
        (b"[1e999]", 1, "the number 1e999 is greater than JSON readers can hold"),
        (b"[" + b"9" * 5000 + b"]", 1, "an integer of 5000 digits; at most 1000 are read"),
        (b'["\\ud800"]', 1, "a string holds one half of a surrogate pair"),
        (b'{"k": "\xff"}', 7, "bytes that are not utf-8"),
        (b"{'a': 1}", 1, "expected a key in double quotes"),
        (b'["a\nb"]', 3, "Invalid control character at"),
        (b"hello", 0, "Expecting value"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(data: bytes, byte: int, reason: str) -> None:
    refusal = parse(data, JSON).refusal
    assert refusal is not None
    assert (refusal.code, refusal.details["byte"], refusal.details["reason"]) == ("invalid_json", byte, reason)


@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 65 + b"]" * 65])
def test_deep_json_is_refused(data: bytes) -> None:
    refusal = parse(data, JSON).refusal
    assert refusal is not None
    assert (refusal.code, refusal.details) == ("parser_limit", {"limit": "depth", "max": 64})


def test_as_deep_as_allowed_is_read() -> None:
    assert parse(b"[" * 64 + b"]" * 64, JSON).refusal is None


def test_a_value_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "VALUE_CHARS_MAX", 1000)
    monkeypatch.setattr(json_values, "BLOCK_BYTES", 64)
    assert parse(b'[{"a": "' + b"x" * 900 + b'"}]', JSON).refusal is None
    refusal = parse(b'[1, {"a": "' + b"x" * 5000 + b'"}]', JSON).refusal
    assert refusal is not None
    assert (refusal.code, refusal.details) == ("parser_limit", {"limit": "value_chars", "byte": 4, "max": 1000})


def test_json_lines_stand_for_themselves() -> None:
    outcome = parse(b'{"a": 1}\n\n{"a": 2,}\n[3]\n{"a": "\xff"}\n{"a": NaN}\n' + b"[" * 99 + b"]" * 99, JSON_LINES)
    assert [(unit.kind, unit.values) for unit in outcome.content] == [("record", {"a": 1}), ("value", [3])]
    assert [(unit.reason, unit.position.line) for unit in outcome.units if unit.reason] == [
        ("invalid_json", 3),
        ("undecodable_bytes", 5),
        ("invalid_json", 6),
        ("too_deep", 7),
    ]
    assert outcome.balance["rows"] == {
        "total": 7,
        "delivered": 2,
        "ignored": {"blank": 1},
        "quarantined": {"invalid_json": 2, "too_deep": 1, "undecodable_bytes": 1},
    }
    assert_conserved(outcome)
    assert_exact(outcome)


def test_a_long_line_of_json_is_one_record() -> None:
    long = json.dumps({"a": "é" * 2_000_000}, ensure_ascii=False).encode()
    outcome = parse(long + b'\n{"a": 1}\n', JSON_LINES)
    assert [len(str(record["a"])) for record in outcome.records] == [2_000_000, 1]
    assert_conserved(outcome)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**300), max_value=10**300)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


def written(value: Any, indent: int | None) -> bytes:
    data = msgspec.json.Encoder(decimal_format="number").encode(value)
    return data if indent is None else msgspec.json.format(data, indent=indent)


def rebuilt(outcome: Outcome) -> Any:
    """The document, put together from its units alone."""
    lists: dict[str, list[Any]] = {}
    members: dict[str, Any] = {}
    for unit in outcome.units:
        pointer = unit.position.pointer
        assert pointer is not None
        if unit.kind == "section":
            members |= unit.values
        elif pointer == "":
            return unit.values
        else:
            lists.setdefault(pointer.rpartition("/")[0], []).append(unit.values)
    match outcome.structure["form"]:
        case "array":
            return lists.get("", [])
        case _:
            names = {key: key[1:].replace("~1", "/").replace("~0", "~") for key in lists}
            return members | {names[key]: values for key, values in lists.items()}


@given(VALUES, st.sampled_from([None, 0, 2]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_a_document_is_rebuilt_from_its_units(value: Any, indent: int | None, encoding: str) -> None:
    data = written(value, indent).decode().encode(encoding)
    outcome = parse(data, JSON)
    assert rebuilt(outcome) == value
    assert_conserved(outcome)
    assert_exact(outcome)
    assert_covered(outcome)


@given(VALUES, st.binary(max_size=3), st.floats(0, 1))
def test_a_damaged_document_is_refused_or_conserved(value: Any, damage: bytes, place: float) -> None:
    data = written(value, 1)
    at = int(place * len(data))
    outcome = parse(data[:at] + damage + data[at + 1 :], JSON)
    if outcome.refusal is None:
        assert_conserved(outcome)
        assert_exact(outcome)
    else:
        assert outcome.refusal.code in ("invalid_json", "encoding_broken")


@given(st.lists(VALUES, max_size=30))
@example([[], 0, Decimal("0.5")])
@example([1e300, -1.5e-7])
def test_small_blocks_change_nothing(values: list[Any]) -> None:
    data = codecs.BOM_UTF8 + written(values, 1)
    whole = parse(data, JSON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_values, "BLOCK_BYTES", 7)
        assert parse(data, JSON).lines == whole.lines
