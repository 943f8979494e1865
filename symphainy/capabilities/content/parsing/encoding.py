"""Which characters do these bytes stand for? Decided over the whole file, not over its beginning."""

from __future__ import annotations

import codecs
import re
from typing import BinaryIO

import msgspec

from symphainy.errors import IntentRefused, MissingExtra
from symphainy.model import JsonObject

BLOCK_BYTES = 1 << 18
SAMPLE_BYTES_MAX = 1 << 15

#: Longest first: the mark of UTF-32-LE begins with that of UTF-16-LE.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Encodings in which a line feed takes more than one byte, and how many.
WIDE = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}

#: Encodings in which a line feed, a comma or a quote is never a part of another character, so that lines can be cut
#: before they are decoded. Stateful ones (ISO-2022, UTF-7) are not among them.
ASCII_COMPATIBLE = (
    *(f"cp{page}" for page in (1252, 1250, 1251, 1253, 1254, 1255, 1256, 1257, 1258, 437, 850, 852, 866)),
    *(f"iso8859_{part}" for part in (2, 5, 7, 9, 15)),
    *("koi8_r", "mac_roman", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
)

_MULTIBYTE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xe0[\xa0-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_HIGH = re.compile(rb"[\x80-\xff]")
_HIGH_LINE = re.compile(rb"[^\n]{0,200}[\x80-\xff][^\n]{0,200}")
#: So many good multi-byte sequences for each bad byte, and the file is UTF-8 with damage rather than something else.
_GOOD_PER_BAD = 4
_COUNTED_MIN = 4


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is a Python codec; the file's text is `data[bom_bytes:].decode(name)`."""

    name: str
    bom_bytes: int
    decided_by: str
    """`mark`, `nul_pattern`, `utf8`, `utf8_damaged`, `statistics` or `caller`."""

    def to_dict(self) -> JsonObject:
        out: JsonObject = msgspec.to_builtins(self)
        return out


def decide_encoding(file: BinaryIO, asked: str | None = None, *, guess: bool = True) -> Encoding:
    """Reads `file` from its start to its end and leaves it at its start.

    `asked` is an encoding the caller names. Without `guess`, what is not UTF-8 is damaged, as in formats that are UTF-8
    by definition. Raises `IntentRefused` `encoding_unknown` when nobody here can read it, and
    `missing_extra` when statistics are needed and not installed.
    """
    file.seek(0)
    head = file.read(BLOCK_BYTES)
    mark = next(((name, len(bom)) for bom, name in MARKS if head.startswith(bom)), None)
    if asked is not None:
        name = _supported(asked)
        bom_bytes = mark[1] if mark and mark[0] == name else 0
        encoding = Encoding(name=name, bom_bytes=bom_bytes, decided_by="caller")
    elif mark is not None:
        encoding = Encoding(name=mark[0], bom_bytes=mark[1], decided_by="mark")
    elif (wide := _wide_by_nuls(head[:4096])) is not None:
        encoding = Encoding(name=wide, bom_bytes=0, decided_by="nul_pattern")
    else:
        encoding = _without_mark(file, guess=guess)
    file.seek(0)
    return encoding


def _supported(asked: str) -> str:
    try:
        canonical = codecs.lookup(asked).name
    except LookupError:
        canonical = ""
    known = {codecs.lookup(name).name: name for name in (*ASCII_COMPATIBLE, *WIDE, "utf-8")}
    known |= {"ascii": "utf-8", "utf-8-sig": "utf-8", "iso8859-1": "cp1252"}
    if canonical not in known:
        raise IntentRefused(
            "encoding_unknown",
            f"the encoding {asked!r} is not read here; known are {', '.join(sorted({*known.values()}))}",
            {"encoding": asked},
        )
    return known[canonical]


def _wide_by_nuls(head: bytes) -> str | None:
    """UTF-16 of mostly Latin text has a NUL in every second byte, and then always the same one."""
    pairs = len(head) // 2
    if pairs < 4:
        return None
    even, odd = head[0 : pairs * 2 : 2].count(0) / pairs, head[1 : pairs * 2 : 2].count(0) / pairs
    if odd > 0.7 and even < 0.1:
        return "utf-16-le"
    if even > 0.7 and odd < 0.1:
        return "utf-16-be"
    return None


def _without_mark(file: BinaryIO, *, guess: bool) -> Encoding:
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        while block := file.read(BLOCK_BYTES):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        if guess:
            return _damaged_or_other(file)
        return Encoding(name="utf-8", bom_bytes=0, decided_by="utf8_damaged")
    return Encoding(name="utf-8", bom_bytes=0, decided_by="utf8")


def _damaged_or_other(file: BinaryIO) -> Encoding:
    file.seek(0)
    good = bad = 0
    sample = bytearray()
    while block := file.read(BLOCK_BYTES):
        good += len(_MULTIBYTE.findall(block))
        bad += len(_HIGH.findall(_MULTIBYTE.sub(b"", block)))
        if len(sample) < SAMPLE_BYTES_MAX:
            for match in _HIGH_LINE.finditer(block):
                sample += match.group() + b"\n"
                if len(sample) >= SAMPLE_BYTES_MAX:
                    break
    if good >= _GOOD_PER_BAD * bad:
        return Encoding(name="utf-8", bom_bytes=0, decided_by="utf8_damaged")
    # Statistics of a handful of bytes are noise; nearly all such files are Western.
    name = "cp1252" if good + bad < _COUNTED_MIN else _by_statistics(bytes(sample))
    return Encoding(name=name, bom_bytes=0, decided_by="statistics")


def _by_statistics(sample: bytes) -> str:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MissingExtra("content", needed_for="reading text that is not UTF-8") from None
    best = from_bytes(sample, cp_isolation=[*ASCII_COMPATIBLE]).best()
    # Short Western text reads the same in a dozen code pages; then it is the one that nearly all such files are in.
    if best is None or "cp1252" in best.could_be_from_charset:
        return "cp1252"
    return best.encoding
