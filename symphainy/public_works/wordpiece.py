"""Text to the numbers of a BERT vocabulary, uncased: as the package `tokenizers` does it, without what that brings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

WORD_CHARS_MAX: Final = 100
WORDS_REMEMBERED: Final = 50_000
#: No text has more than this many characters in its first few hundred tokens, but for endless words and white space.
TEXT_CHARS_MAX: Final = 65_536

_ASCII_PUNCTUATION = r"!-/:-@\[-`{-~"
_ASCII_WORDS = re.compile(rf"[^\s{_ASCII_PUNCTUATION}]+|[{_ASCII_PUNCTUATION}]")
_ASCII_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])
#: The blocks of Han characters, each of which is a word.
_HAN = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f])"
)


class WordPiece:
    """`vocabulary`: one piece a line; those that continue a word begin with `##`."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._unknown = self._numbers["[UNK]"]
        self._start = self._numbers["[CLS]"]
        self._end = self._numbers["[SEP]"]
        self._pieces = lru_cache(WORDS_REMEMBERED)(self._split)

    def encode(self, text: str, *, tokens_max: int) -> list[int]:
        """At most `tokens_max` numbers, the first and last of which mark start and end."""
        numbers = [self._start]
        for word in _words(text[:TEXT_CHARS_MAX]):
            numbers += self._pieces(word)
            if len(numbers) >= tokens_max:
                break
        return [*numbers[: tokens_max - 1], self._end]

    def _split(self, word: str) -> tuple[int, ...]:
        """The longest piece that fits, again and again. One number for a word that cannot be made of pieces."""
        if len(word) > WORD_CHARS_MAX:
            return (self._unknown,)
        numbers: list[int] = []
        start = 0
        while start < len(word):
            stop, number = self._longest(word, start)
            if number is None:
                return (self._unknown,)
            numbers.append(number)
            start = stop
        return tuple(numbers)

    def _longest(self, word: str, start: int) -> tuple[int, int | None]:
        mark = "##" if start else ""
        for stop in range(len(word), start, -1):
            number = self._numbers.get(mark + word[start:stop])
            if number is not None:
                return stop, number
        return start, None


def _words(text: str) -> Iterator[str]:
    """Lower case, without accents; each mark of punctuation and each Han character by itself."""
    if text.isascii():
        for found in _ASCII_WORDS.finditer(text.translate(_ASCII_CONTROL).lower()):
            yield found[0]
        return
    cleaned = "".join(map(_cleaned, text))
    plain = "".join(char for char in unicodedata.normalize("NFD", _HAN.sub(r" \1 ", cleaned)) if not _is_accent(char))
    yield from "".join(map(_set_off, plain.lower())).split()


@lru_cache(4096)
def _cleaned(char: str) -> str:
    """Nothing for what cannot be seen, a space for white space of every kind."""
    if char in "\t\n\r" or (char.isspace() and not _is_control(char)):
        return " "
    return "" if char == "\ufffd" or _is_control(char) else char


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs")


@lru_cache(4096)
def _is_accent(char: str) -> bool:
    return unicodedata.category(char) == "Mn"


@lru_cache(4096)
def _set_off(char: str) -> str:
    is_mark = unicodedata.category(char)[0] == "P" or (char.isascii() and char.isprintable() and not char.isalnum())
    return f" {char} " if is_mark else char
