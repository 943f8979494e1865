"""A file as lines, each with its exact place in characters and bytes, in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from symphainy.capabilities.content.parsing.encoding import BLOCK_BYTES, WIDE, Encoding
from symphainy.errors import IntentRefused

LINE_BYTES_MAX = 1 << 20
#: Room to cut between characters: the longest is four bytes.
_CUT_BYTES = LINE_BYTES_MAX - 4
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Line(NamedTuple):
    """`text` without its terminator, `end` the terminator: `\\n`, `\\r\\n`, `\\r`, or nothing at the end of the file.

    A line over `LINE_BYTES_MAX` comes in parts; all but the last are `partial`. Bytes that are no character in the
    encoding are lone surrogates, and then `clean` is false.
    """

    text: str
    end: str
    number: int
    char_start: int
    char_end: int
    byte_start: int
    byte_end: int
    """Without the terminator, like `char_end`."""
    byte_length: int
    """With the terminator."""
    clean: bool
    partial: bool


class _Cut(NamedTuple):
    text: str
    byte_length: int
    clean: bool
    partial: bool


def read_lines(file: BinaryIO, encoding: Encoding) -> Iterator[Line]:
    """From just behind the byte order mark to the end. Lines end at `\\n`, `\\r\\n` or `\\r`."""
    file.seek(encoding.bom_bytes)
    unit = WIDE.get(encoding.name, 1)
    number, char, byte = 1, 0, encoding.bom_bytes
    for cut in (_narrow if unit == 1 else _wide)(file, encoding.name):
        text = cut.text if cut.partial else cut.text.rstrip("\r\n")
        end = cut.text[len(text) :]
        byte_end = byte + cut.byte_length - len(end) * unit
        char_end = char + len(text)
        yield Line(text, end, number, char, char_end, byte, byte_end, cut.byte_length, cut.clean, cut.partial)
        number += not cut.partial
        char = char_end + len(end)
        byte += cut.byte_length


def _narrow(file: BinaryIO, name: str) -> Iterator[_Cut]:
    """Cut at line ends first, decoded then: so every line knows its bytes."""
    carry = b""
    while block := file.read(BLOCK_BYTES):
        lines = (carry + block).splitlines(keepends=True)
        # A final `\r` may be half of a `\r\n`.
        carry = b"" if lines[-1].endswith(b"\n") else lines.pop()
        for line in lines:
            yield from _cuts(line, name)
        if len(carry) >= 2 * LINE_BYTES_MAX:
            *parts, carry = _parts(carry, name)
            for part in parts:
                yield _decoded(part, name, partial=True)
    for line in carry.splitlines(keepends=True):
        yield from _cuts(line, name)


def _cuts(line: bytes, name: str) -> Iterator[_Cut]:
    if len(line) >= LINE_BYTES_MAX:
        *parts, line = _parts(line, name)
        for part in parts:
            yield _decoded(part, name, partial=True)
    yield _decoded(line, name, partial=False)


def _parts(data: bytes, name: str) -> list[bytes]:
    """Cuts that fall between characters. The last keeps at least four bytes, so no terminator is cut in two."""
    parts = []
    start = 0
    while len(data) - start >= LINE_BYTES_MAX:
        ends = [start + _CUT_BYTES - shorter for shorter in range(4)]
        end = next((each for each in ends if _is_text(data[start:each], name)), ends[0])
        parts.append(data[start:end])
        start = end
    return [*parts, data[start:]]


def _is_text(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _decoded(data: bytes, name: str, *, partial: bool) -> _Cut:
    try:
        return _Cut(data.decode(name), len(data), True, partial)
    except UnicodeDecodeError:
        pass
    try:
        return _Cut(data.decode(name, "surrogateescape"), len(data), False, partial)
    except UnicodeDecodeError:  # a multi-byte codec that wants to swallow an ASCII byte
        return _Cut(data.decode("ascii", "surrogateescape"), len(data), False, partial)


def _wide(file: BinaryIO, name: str) -> Iterator[_Cut]:
    """UTF-16 and UTF-32, where a line feed is two or four bytes: decoded first, cut then."""
    unit = WIDE[name]
    chars_max = LINE_BYTES_MAX // 4
    decoder = codecs.getincrementaldecoder(name)("surrogatepass")
    carry, odd = "", b""
    while block := file.read(BLOCK_BYTES):
        block = odd + block
        whole = len(block) - len(block) % unit
        odd = block[whole:]
        try:
            text = decoder.decode(block[:whole])
        except UnicodeDecodeError as error:
            raise IntentRefused(
                "encoding_broken",
                f"the file begins like {name} and is not: {error.reason}",
                {"encoding": name},
            ) from None
        lines = _LINE.findall(carry + text)
        carry = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        for line in lines:
            yield from _wide_cuts(line, name, chars_max)
        while len(carry) > 2 * chars_max:
            yield _encoded(carry[:chars_max], name, partial=True)
            carry = carry[chars_max:]
    for line in _LINE.findall(carry + decoder.decode(b"")):
        yield from _wide_cuts(line, name, chars_max)
    left = decoder.getstate()[0] + odd
    if left:
        yield _Cut(left.decode("ascii", "surrogateescape"), len(left), False, False)


def _wide_cuts(line: str, name: str, chars_max: int) -> Iterator[_Cut]:
    while len(line) > chars_max + 2:
        yield _encoded(line[:chars_max], name, partial=True)
        line = line[chars_max:]
    yield _encoded(line, name, partial=False)


def _encoded(text: str, name: str, *, partial: bool) -> _Cut:
    clean = _SURROGATE.search(text) is None
    return _Cut(text, len(text.encode(name, "surrogatepass")), clean, partial)
