"""Text and Markdown: blocks and chunks that are exact spans, and nothing missing between them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing.media import MARKDOWN, PLAIN
from symphainy.capabilities.content.parsing.units import UNIT_CHARS_MAX
from tests.unit.capabilities.content.parse import assert_conserved, assert_covered, assert_exact, parse

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("\n\r \t#-=*`~|>1.<ab"), st.characters(exclude_categories=["Cs"])), max_size=400
)
ANYTHING = st.one_of(st.binary(max_size=400), TEXTS.map(str.encode), TEXTS.map(lambda text: text.encode("utf-16")))

HANDBOOK = b"""---
title: Pump handbook
---
# Pump handbook

How the pumps of hall 3 are kept running.
Two lines of one paragraph.

Daily round
-----------

- Read the gauge
  and note it.
- Listen.

| pump | limit |
|------|-------|
| P-1  | 4 bar |

> Never open
> a hot valve.

```sh
# not a heading

stop pump
```

***

### Faults ###

    indented

<!-- a remark -->
1. Call
2) Wait
"""


def test_markdown_becomes_its_blocks() -> None:
    outcome = parse(HANDBOOK, MARKDOWN)
    assert [(unit.kind, unit.level, unit.position.line, unit.position.section) for unit in outcome.units] == [
        ("front_matter", None, 1, ()),
        ("heading", 1, 4, ("Pump handbook",)),
        ("paragraph", None, 6, ("Pump handbook",)),
        ("heading", 2, 9, ("Pump handbook", "Daily round")),
        ("list_item", None, 12, ("Pump handbook", "Daily round")),
        ("list_item", None, 14, ("Pump handbook", "Daily round")),
        ("table", None, 16, ("Pump handbook", "Daily round")),
        ("quote", None, 20, ("Pump handbook", "Daily round")),
        ("code", None, 23, ("Pump handbook", "Daily round")),
        ("heading", 3, 31, ("Pump handbook", "Daily round", "Faults")),
        ("code", None, 33, ("Pump handbook", "Daily round", "Faults")),
        ("html", None, 35, ("Pump handbook", "Daily round", "Faults")),
        ("list_item", None, 36, ("Pump handbook", "Daily round", "Faults")),
        ("list_item", None, 37, ("Pump handbook", "Daily round", "Faults")),
    ]
    assert outcome.balance == {
        "bytes": {
            "total": len(HANDBOOK),
            "delivered": len(HANDBOOK) - 14,
            "ignored": {"blank": 10, "thematic_break": 4},
            "quarantined": {},
        },
        "lines": {"total": 37, "delivered": 26, "ignored": {"blank": 10, "thematic_break": 1}, "quarantined": {}},
    }
    assert_exact(outcome)


def test_paragraphs_of_text_are_parted_by_blank_lines() -> None:
    outcome = parse(b"one\ntwo\n \nthree\r\n", PLAIN)
    assert [(unit.kind, unit.text, unit.position.line) for unit in outcome.units] == [
        ("paragraph", "one\ntwo", 1),
        ("paragraph", "three", 4),
    ]
    assert outcome.balance["bytes"] == {"total": 17, "delivered": 15, "ignored": {"blank": 2}, "quarantined": {}}


def test_what_is_no_text_is_quarantined_with_its_place() -> None:
    outcome = parse("café é ü ö\n".encode() + b"bad \xff byte\nnul \x00 here\nfine\n\x00\x00\x1a", PLAIN)
    assert [unit.text for unit in outcome.content] == ["café é ü ö", "fine"]
    assert [(unit.reason, unit.text, unit.position.line) for unit in outcome.units if unit.reason] == [
        ("undecodable_bytes", "bad \\xff byte", 2),
        ("nul_byte", "nul \x00 here", 3),
    ]
    assert outcome.balance["lines"] == {
        "total": 5,
        "delivered": 2,
        "ignored": {"padding": 1},
        "quarantined": {"nul_byte": 1, "undecodable_bytes": 1},
    }
    assert_exact(outcome)
    assert_conserved(outcome)


@given(ANYTHING, st.sampled_from([MARKDOWN, PLAIN]))
def test_no_byte_of_a_text_is_lost_and_every_span_is_exact(data: bytes, media_type: str) -> None:
    outcome = parse(data, media_type)
    if outcome.refusal is not None:
        assert outcome.refusal.code == "encoding_broken"
        return
    assert_conserved(outcome)
    assert_exact(outcome)
    assert_covered(outcome)


@given(st.integers(0, 2**32))
def test_chunks_of_long_texts_are_exact_and_complete(seed: int) -> None:
    chance = random.Random(seed)
    words = [
        "pump",
        "Größe",
        "valve,",
        "limit.",
        "設備。",
        "a" * chance.choice([3, 30, 3000]),
        "\n",
        "\n\n",
        "# Head\n",
        "- ",
    ]
    text = " ".join(chance.choices(words, weights=[9, 3, 3, 3, 2, 1, 3, 2, 1, 1], k=chance.randint(1, 2500)))
    outcome = parse(text.encode(), MARKDOWN)
    assert_conserved(outcome)
    assert_exact(outcome)
    assert_covered(outcome)
    assert max((len(chunk.text) for chunk in outcome.chunks), default=0) <= 1200


def test_prose_is_cut_at_sentences() -> None:
    text = "".join(f"Sentence number {number} of the handbook ends here. " for number in range(200))
    chunks = [chunk.text for chunk in parse(text.encode(), PLAIN).chunks]
    assert all(chunk.startswith("Sentence") and chunk.endswith("here.") for chunk in chunks)
    assert all(500 <= len(chunk) <= 1200 for chunk in chunks)


def test_a_heading_stays_with_what_it_heads() -> None:
    text = "intro " * 100 + "\n\n## Valves\n\n" + "valve " * 150
    assert [chunk.text.split("\n")[0] for chunk in parse(text.encode(), MARKDOWN).chunks] == [
        ("intro " * 100).strip(),
        "## Valves",
    ]


def test_a_block_without_an_end_is_delivered_in_parts() -> None:
    line = "x" * 99 + "\n"
    outcome = parse(("```\n" + line * 2000).encode(), MARKDOWN)
    assert {unit.kind for unit in outcome.units} == {"code"}
    assert [unit.continued for unit in outcome.units] == [False, True, True, True]
    assert all(len(unit.text) <= UNIT_CHARS_MAX + 100 for unit in outcome.units if isinstance(unit.text, str))
    assert_exact(outcome)
    assert_covered(outcome)
