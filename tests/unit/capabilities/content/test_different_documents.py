"""No two JSON documents that say different things have the same fingerprint."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing.media import JSON
from tests.unit.capabilities.content.test_fingerprints import fingerprint

LEAVES = st.sampled_from([None, True, False, 0, 1, 10, -1, 0.5, "", "0", "a", "[]", "null"])
KEYS = st.sampled_from(["a", "b", "0", "a/b", "~", ""])
DOCUMENTS = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=6,
)


def content_of(text: str) -> str:
    return str(fingerprint(text.encode(), JSON)["content_fingerprint"])


def written(document: Any, **how: Any) -> str:
    """What a document says. One that holds nothing says nothing, whatever kind of nothing it is."""
    return json.dumps([] if document == {} else document, **how)


@given(st.lists(DOCUMENTS, min_size=2, max_size=12))
def test_a_fingerprint_is_that_of_one_document_only(documents: list[Any]) -> None:
    different = {written(each, sort_keys=True): each for each in documents}
    assert len({content_of(written(each)) for each in different.values()}) == len(different)


@given(DOCUMENTS)
def test_it_is_that_of_the_document_however_it_is_spaced(document: Any) -> None:
    compact, spread = written(document, separators=(",", ":")), written(document, indent=4)
    assert content_of(compact) == content_of(spread)
