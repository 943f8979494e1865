"""What the command line prints can neither drive a terminal nor be taken for something else."""

import io
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.cli.artifacts import lineage_lines
from symphainy.cli.terminal import plain, plain_lines, show_facts, show_json, sized, table_lines

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2028\x00\ud800"


def driving(text: str) -> set[str]:
    """Controls, line separators, halves of characters, and what reorders text."""
    kinds, reordering = {"Cc", "Cs", "Zl", "Zp"}, {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return {c for c in text if unicodedata.category(c) in kinds or unicodedata.bidirectional(c) in reordering}


@given(st.text())
def test_no_text_drives_the_terminal(text: str) -> None:
    assert driving(plain(text)) == set()
    assert driving(plain_lines(text)) <= {"\n"}


def test_what_was_hidden_is_shown() -> None:
    assert plain(HOSTILE) == "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202egnp.exe\\u2028\\x00\\ud800"


@given(st.recursive(st.text(st.characters(exclude_categories=["Cs"])), st.lists))
def test_json_is_the_same_value_and_drives_no_terminal(value: object) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        show_json(value)
    text = out.getvalue()
    assert json.loads(text) == value
    assert all(line == plain_lines(line) for line in text.splitlines())


def test_columns_stand_under_their_heads_whatever_the_width_of_their_letters() -> None:
    rows = [("東京", "ok"), ("e\u0301", "x"), ("plain", "\x1b[0m")]
    assert table_lines(["name", "state"], rows) == [
        "NAME   STATE",
        "東京   ok",
        "e\u0301      x",
        "plain  \\x1b[0m",
    ]


def test_a_long_cell_is_cut_and_says_so() -> None:
    (_, line) = table_lines(["text"], [("x" * 100,)])
    assert line == "x" * 59 + "…"


def test_facts_that_are_not_there_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_facts([("name", "a"), ("error", None), ("longer", 0)])
    assert capsys.readouterr().out == "name    a\nlonger  0\n"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_234_567, "1.2 MB"), (5 * 10**13, "50000.0 GB")]
)
def test_sizes_are_told_in_units_for_people(count: int, told: str) -> None:
    assert sized(count) == told


def node(name: str) -> dict[str, str]:
    return {"artifact_id": name, "artifact_type": f"type_{name}", "lifecycle_state": "READY"}


def test_lineage_is_a_tree_that_unfolds_each_artifact_once() -> None:
    edges = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")]
    found = {"nodes": [node(name) for name in "abcde"], "edges": [{"parent": p, "child": c} for p, c in edges]}
    assert lineage_lines(found, marked="d") == [
        "type_a  a  READY",
        "├─ type_b  b  READY",
        "│  └─ type_d  d  READY  <--",
        "│     └─ type_e  e  READY",
        "└─ type_c  c  READY",
        "   └─ type_d  d  READY  <--  (see above)",
    ]


def test_a_lineage_of_many_diamonds_stays_as_long_as_its_edges() -> None:
    names = [str(number) for number in range(200)]
    edges = [{"parent": names[n], "child": names[m]} for n in range(196) for m in (n + 1, n + 2)]
    found = {"nodes": [node(name) for name in names], "edges": edges}
    assert len(lineage_lines(found)) == len(edges) + 3  # the roots: the first, and two that belong to nothing


def test_nothing_of_the_command_line_prints_past_the_terminal() -> None:
    folder = Path(__file__).parents[3] / "symphainy" / "cli"
    printing = [path.name for path in sorted(folder.glob("*.py")) if "print(" in path.read_text("utf-8")]
    assert printing == ["main.py", "progress.py", "terminal.py"]  # a version, a bar's own console, and the place itself
