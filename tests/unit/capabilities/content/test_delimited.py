"""Delimited text: the right dialect, typed columns, and no row that vanishes because another one is broken."""

import csv
import io
import random
import string
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing.media import CSV
from tests.unit.capabilities.content.parse import Outcome, assert_conserved, assert_covered, assert_exact, parse

MAINTENANCE = (
    b"Maintenance log of hall 3\r\n"
    b"\r\n"
    b"id;pump;due;cost;code\r\n"
    b'1;"P-1; main";2026-03-01;12,50;007\r\n'
    b'2;"P-2 ""old""";2026-03-02;3,00;010\r\n'
    b"3;P-3;2026-03-04\r\n"
    b'4;"two\r\nlines";;1,00;011\r\n'
    b"5;P-5;2026-03-09;n/a;012\r\n"
)


def test_a_table_below_notes_is_found_with_its_types() -> None:
    outcome = parse(MAINTENANCE, CSV)
    assert [unit.kind for unit in outcome.units] == [
        "preamble",
        "header",
        *["record"] * 2,
        "quarantined",
        *["record"] * 2,
    ]
    assert outcome.records == [
        {"id": "1", "pump": "P-1; main", "due": "2026-03-01", "cost": "12,50", "code": "007"},
        {"id": "2", "pump": 'P-2 "old"', "due": "2026-03-02", "cost": "3,00", "code": "010"},
        {"id": "4", "pump": "two\r\nlines", "due": "", "cost": "1,00", "code": "011"},
        {"id": "5", "pump": "P-5", "due": "2026-03-09", "cost": "n/a", "code": "012"},
    ]
    assert outcome.structure["columns"] == [
        {"name": "id", "type": "integer", "types": {"integer": 4}},
        {"name": "pump", "type": "text", "types": {"text": 4}},
        {"name": "due", "type": "date", "types": {"date": 3, "empty": 1}},
        {"name": "cost", "type": "text", "types": {"decimal": 3, "text": 1}},
        {"name": "code", "type": "code", "types": {"code": 4}},
    ]
    assert outcome.structure["dialect"] == {
        "delimiter": ";",
        "quote": '"',
        "escape": None,
        "skip_space": False,
        "preamble_rows": 1,
        "columns": 5,
        "header": True,
        "decided_by": "sample",
    }
    assert outcome.balance == {
        "bytes": {
            "total": len(MAINTENANCE),
            "delivered": 125,
            "ignored": {"blank": 2, "header": 23, "preamble": 27},
            "quarantined": {"ragged_row": 18},
        },
        "rows": {
            "total": 8,
            "delivered": 4,
            "ignored": {"blank": 1, "header": 1, "preamble": 1},
            "quarantined": {"ragged_row": 1},
        },
    }
    ragged = outcome.units[4]
    assert (ragged.text, ragged.details, ragged.position.line) == ("3;P-3;2026-03-04", {"fields": 3, "expected": 5}, 6)
    assert_exact(outcome)
    assert_covered(outcome)


def rows_of(outcome: Outcome) -> list[list[str]]:
    return [[*record.values()] for record in outcome.records]


def broken(first: bytes) -> bytes:
    return b"id,name,note\n1,a,x\n" + first + b"\n" + b"".join(b"%d,n%d,ok\n" % (n, n) for n in range(3, 40))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'2,b,"never closed', "quote_left_open"),
        (b'2,"closed" late,x', "text_after_quote"),
        (b'2,"never closed,x', "quote_left_open"),
        (b'"2,b,x', "quote_left_open"),
        (b"2,b", "ragged_row"),
        (b"2,b,c,d", "ragged_row"),
        (b"2,\x00,c", "nul_byte"),
    ],
)
def test_a_broken_row_costs_itself_alone(line: bytes, reason: str) -> None:
    outcome = parse(broken(line), CSV)
    assert rows_of(outcome) == [["1", "a", "x"], *([str(n), f"n{n}", "ok"] for n in range(3, 40))]
    assert outcome.reasons == [reason]
    assert outcome.balance["rows"]["quarantined"] == {reason: 1}
    assert_conserved(outcome)


def test_an_open_quote_that_is_closed_far_below_does_not_swallow_the_rows_between() -> None:
    data = broken(b'2,b,"open') + b'40,z,close"\n41,q,"quoted"\n'
    outcome = parse(data, CSV)
    assert len(outcome.records) == 1 + 37 + 2
    assert outcome.reasons == ["quote_left_open"]
    assert outcome.records[-2] == {"id": "40", "name": "z", "note": 'close"'}


def test_two_stray_quotes_that_would_make_one_valid_record_do_not() -> None:
    outcome = parse(broken(b'2,b,"') + b'40,c,"\n', CSV)
    assert len(outcome.records) == 38
    assert outcome.reasons == ["quote_left_open", "quote_left_open"]


def test_a_field_of_several_lines_is_one_field() -> None:
    data = b'id,name,note\n1,a,"Dear all,\nplease, note:\n\n  the pump, it leaks.\nBye"\n2,b,x\n'
    assert rows_of(parse(data, CSV)) == [
        ["1", "a", "Dear all,\nplease, note:\n\n  the pump, it leaks.\nBye"],
        ["2", "b", "x"],
    ]


def test_quotes_in_the_middle_of_a_field_are_letters() -> None:
    assert rows_of(parse(b'size,count\n5" pipe,1\n6" pipe,2\n', CSV)) == [['5" pipe', "1"], ['6" pipe', "2"]]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_small_table_loses_no_row(rows: int) -> None:
    data = b"".join(b"%d,%d\n" % (n, n * n) for n in range(rows))
    assert len(parse(data, CSV).records) == rows


def test_a_single_row_is_data_not_a_header() -> None:
    assert parse(b"name,place", CSV).records == [{"column_1": "name", "column_2": "place"}]


def test_the_caller_decides_against_the_sample() -> None:
    outcome = parse(b"a;b,c\n1;2,3\n", CSV, delimiter=",", header=False)
    assert outcome.records == [{"column_1": "a;b", "column_2": "c"}, {"column_1": "1;2", "column_2": "3"}]
    assert outcome.structure["dialect"]["decided_by"] == "caller"


def test_a_separator_line_decides() -> None:
    outcome = parse(b"sep=|\nname|n\nx|1\ny|2\n", CSV)
    assert outcome.records == [{"name": "x", "n": "1"}, {"name": "y", "n": "2"}]
    assert outcome.balance["rows"]["ignored"] == {"header": 1, "preamble": 1}


def test_columns_without_a_name_of_their_own_get_one_and_say_so() -> None:
    outcome = parse(b"a,,a,a_2\n1,2,3,4\n5,6,7,8\n", CSV)
    assert outcome.records[0] == {"a": "1", "column_2": "2", "a_2": "3", "a_2_2": "4"}
    assert outcome.summary.summary.warnings == ("columns without a name of their own were named: column_2, a_2, a_2_2",)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_do_not_matter(encoding: str, end: str) -> None:
    text = end.join(["name,größe,note", 'Öl,1,"zwei', 'Zeilen"', "Übel,2,x", ""])
    outcome = parse(text.encode(encoding), CSV)
    assert rows_of(outcome) == [["Öl", "1", f"zwei{end}Zeilen"], ["Übel", "2", "x"]]
    assert_exact(outcome)
    assert_conserved(outcome)


CELLS = st.text(alphabet=string.ascii_letters + string.digits + " \"',;|\t\n\r.-äé", max_size=12)


@given(st.integers(2, 6).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=12)))
def test_what_the_standard_library_writes_is_read_back(rows: list[list[str]]) -> None:
    """With the dialect told: then no cell can be taken for another one."""
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerows(rows)
    width = len(rows[0]) if rows else 2
    header = ",".join(f"h{number}" for number in range(width)) + "\r\n"
    outcome = parse((header + buffer.getvalue()).encode(), CSV, delimiter=",", quote='"', header=True)
    assert_conserved(outcome)
    assert_exact(outcome)
    # A field that holds three rows and more of the table's own width is taken for swallowed rows, and quarantined.
    if not outcome.reasons:
        assert rows_of(outcome) == rows


def table(chance: random.Random, *, rows: int) -> list[list[str]]:
    kinds = chance.choices(["word", "number", "date", "money", "sentence", "code"], k=chance.randint(2, 8))
    words = ["pump", "valve", "hall", "motor", "filter", "gauge", "inspect", "replace", "north"]

    def cell(kind: str) -> str:
        match kind:
            case "number":
                return str(chance.randint(0, 9999))
            case "date":
                return f"20{chance.randint(10, 30)}-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}"
            case "money":
                return f"{chance.random() * 1000:.2f}"
            case "sentence":
                return ", ".join(" ".join(chance.choices(words, k=3)) for _ in range(2)).capitalize()
            case "code":
                return f"P-{chance.randint(0, 99):03}"
        return chance.choice(words)

    return [[f"{kind}_{at}" for at, kind in enumerate(kinds)], *[[cell(kind) for kind in kinds] for _ in range(rows)]]


@given(st.integers(0, 2**32))
def test_the_dialect_is_found(seed: int) -> None:
    chance = random.Random(seed)
    rows = table(chance, rows=chance.randint(5, 40))
    delimiter, quote = chance.choice(",;\t|^"), chance.choice("\"'")
    buffer = io.StringIO()
    form = csv.excel()
    form.delimiter, form.quotechar, form.lineterminator = delimiter, quote, "\n"
    form.quoting = chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    csv.writer(buffer, form).writerows(rows)
    notes = ["Report of hall 3", "printed on a Monday, for the team", "all amounts in EUR"]
    preamble = "".join(f"{note}\n" for note in notes[: chance.choice([0, 0, 0, 1, 3])])
    outcome = parse((preamble + buffer.getvalue()).encode(), CSV)
    assert outcome.structure["dialect"]["delimiter"] == delimiter
    assert rows_of(outcome) == rows[1:]
    assert [*outcome.records[0]] == rows[0]


MUTATIONS = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(["insert", "delete", "replace"]), st.sampled_from(b'",;\n\r\x00\xff\xc3a')
    ),
    max_size=12,
)


def mutated(data: bytes, mutations: list[tuple[float, str, int]]) -> bytes:
    out = bytearray(data)
    for place, act, byte in mutations:
        at = int(place * len(out))
        if act == "insert":
            out.insert(at, byte)
        elif out and at < len(out):
            out[at : at + 1] = b"" if act == "delete" else bytes([byte])
    return bytes(out)


@given(st.integers(0, 2**16), MUTATIONS)
@example(seed=0, mutations=[(0.5, "insert", ord('"'))])
def test_nothing_is_lost_however_the_file_is_damaged(seed: int, mutations: list[tuple[float, str, int]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(table(random.Random(seed), rows=30))
    outcome = parse(mutated(buffer.getvalue().encode(), mutations), CSV)
    if outcome.refusal is not None:
        assert outcome.refusal.code == "encoding_broken"
        return
    assert_conserved(outcome)
    assert_exact(outcome)
    assert_covered(outcome)
    spans = [(unit.position.byte_start or 0, unit.position.byte_end or 0) for unit in outcome.units]
    assert spans == sorted(spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@given(st.integers(0, 2**16), st.floats(0, 1))
def test_one_stray_quote_costs_few_rows(seed: int, place: float) -> None:
    buffer = io.StringIO()
    rows = table(random.Random(seed), rows=60)
    csv.writer(buffer).writerows(rows)
    outcome = parse(mutated(buffer.getvalue().encode(), [(place, "insert", ord('"'))]), CSV, delimiter=",", header=True)
    assert len(outcome.records) >= 57


def test_a_file_full_of_quotes_that_lead_nowhere_is_read_in_bounded_work() -> None:
    outcome = parse(b"a,b,c\n1,2,3\n4,5,6\n" + b'x","y\n' * 20_000, CSV)
    assert_conserved(outcome)


def test_a_row_without_an_end_is_quarantined_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = parse(b"a,b\n1,2\n" + b"z" * 3_500_000 + b"\n3,4\n", CSV)
    assert rows_of(outcome) == [["1", "2"], ["3", "4"]]
    long = next(unit for unit in outcome.units if unit.reason)
    assert (long.reason, long.truncated, len(str(long.text))) == ("record_too_long", True, 4096)
    assert (long.position.byte_start, long.position.byte_end) == (8, 8 + 3_500_000)
    assert_conserved(outcome)


def test_too_many_columns_are_refused() -> None:
    refusal = parse(b",".join([b"1"] * 20_000) + b"\n", CSV).refusal
    assert refusal is not None
    assert (refusal.code, refusal.details) == ("parser_limit", {"limit": "columns", "value": 20_000, "max": 16_384})


def test_two_tables_never_have_the_same_outcome() -> None:
    def told(data: bytes) -> Any:
        outcome = parse(data, CSV)
        return outcome.units, outcome.summary

    assert told(b"a,b\n1,2\n3,4\n") != told(b"a,b\n1,2\n3,5\n")
