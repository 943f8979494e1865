"""Text as the full-text index takes it, and any text as a query that is never a syntax error."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

import apsw

#: Letters, marks, numbers and private characters make words: with marks, no script loses its vowel signs.
TOKENIZER = ("unicode61", "remove_diacritics", "2", "categories", "L* M* N* Co")
#: Of a query these many characters and different terms count.
QUERY_CHARS_MAX = 65_536
QUERY_TERMS_MAX = 256
#: Scripts that put no space between words: kana, Han, Hangul, Thai, Lao, Myanmar, Khmer.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)
#: The tokenizer strips the accents of Latin letters only.
_GREEK = re.compile("[\u0370-\u03ff\u1f00-\u1fff]+")


def spread(text: str) -> str:
    """`text` with each run of an unspaced script written as its characters and its pairs of neighbours."""
    return _UNSPACED.sub(lambda run: f" {' '.join([*run[0], *_pairs(run[0])])} ", _GREEK.sub(_plain, text))


def expression(connection: apsw.Connection, query: str) -> str | None:
    """A MATCH expression for any of the words of `query`. None when it has none."""
    # A surrogate without its other half is no text; nothing that is indexed can hold it.
    text = query[:QUERY_CHARS_MAX].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    terms = dict.fromkeys(_tokens(connection, _UNSPACED.sub(_wanted, _GREEK.sub(_plain, text))))
    quoted = ['"' + term.replace('"', '""') + '"' for term in [*terms][:QUERY_TERMS_MAX]]
    return " OR ".join(quoted) or None


def _wanted(run: re.Match[str]) -> str:
    return f" {' '.join(_pairs(run[0]) if len(run[0]) > 1 else run[0])} "


def _plain(run: re.Match[str]) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", run[0]) if not unicodedata.combining(char)).casefold()


def _pairs(run: str) -> Iterator[str]:
    return map("".join, pairwise(run))


def _tokens(connection: apsw.Connection, text: str) -> list[str]:
    name, *options = TOKENIZER
    tokenize = connection.fts5_tokenizer(name, options)
    found = tokenize(text.encode(), apsw.FTS5_TOKENIZE_QUERY, None, include_offsets=False, include_colocated=False)
    return [term for term in found if isinstance(term, str)]
