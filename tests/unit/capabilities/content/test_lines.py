"""Lines with exact places, and the encoding they are in."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing import lines
from symphainy.capabilities.content.parsing.encoding import Encoding, decide_encoding
from symphainy.capabilities.content.parsing.lines import Line, read_lines
from symphainy.errors import IntentRefused

UTF8 = Encoding(name="utf-8", bom_bytes=0, decided_by="utf8")


def is_utf32(data: bytes) -> bool:
    """Whether every whole unit names a character."""
    units = [data[start : start + 4] for start in range(0, len(data) - len(data) % 4, 4)]
    return all(int.from_bytes(unit, "big") < 0x110000 for unit in units)


def encoding_of(data: bytes, asked: str | None = None) -> Encoding:
    return decide_encoding(io.BytesIO(data), asked)


def read(data: bytes, encoding: Encoding = UTF8) -> list[Line]:
    return [*read_lines(io.BytesIO(data), encoding)]


@given(st.binary(max_size=400), st.sampled_from(["utf-8", "cp1252", "cp932", "gb18030", "utf-16-le", "utf-32-be"]))
def test_no_byte_is_lost_whatever_the_bytes(data: bytes, name: str) -> None:
    encoding = Encoding(name=name, bom_bytes=0, decided_by="caller")
    if name == "utf-32-be" and not is_utf32(data):
        with pytest.raises(IntentRefused, match="begins like utf-32-be"):
            read(data, encoding)
        return
    found = read(data, encoding)
    assert sum(line.byte_length for line in found) == len(data)
    at = 0
    for line in found:
        assert line.byte_start == at
        assert line.byte_end + len(line.end) * {"utf-16-le": 2, "utf-32-be": 4}.get(name, 1) == at + line.byte_length
        at += line.byte_length


@given(
    st.text(alphabet=st.one_of(st.sampled_from("\r\n\r\n"), st.characters(exclude_categories=["Cs"])), max_size=300),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "utf-32-le"]),
)
def test_lines_put_together_are_the_text(text: str, name: str) -> None:
    found = read(text.encode(name), Encoding(name=name, bom_bytes=0, decided_by="caller"))
    assert "".join(line.text + line.end for line in found) == text
    for line in found:
        assert text[line.char_start : line.char_end] == line.text
        assert line.end in ("\n", "\r\n", "\r", "")
        assert not {"\r", "\n"} & {*line.text}
    assert [line.number for line in found] == [*range(1, len(found) + 1)]


@pytest.mark.parametrize("name", ["utf-8", "cp1252", "utf-16-le"])
def test_a_line_without_an_end_is_read_in_bounded_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES_MAX", 64)
    monkeypatch.setattr(lines, "_CUT_BYTES", 60)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 16)
    text = "é" * 500 + "\r\n" + "short\n" + "ö" * 70
    found = read(text.encode(name), Encoding(name=name, bom_bytes=0, decided_by="caller"))
    assert "".join(line.text + line.end for line in found) == text
    assert max(line.byte_length for line in found) < 128
    assert all(line.clean for line in found)
    whole = [line for line in found if not line.partial]
    assert [(line.number, line.end) for line in whole] == [(1, "\r\n"), (2, "\n"), (3, "")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Größe, Länge, Straße\n", "cp1252"),
        ("€ 5,00 — “quoted”\n", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy\n", "cp1250"),
        ("Съешь же ещё этих мягких французских булок\n", "cp1251"),
        ("Съешь же ещё этих мягких французских булок\n", "koi8_r"),
        ("Άλφα βήτα γάμμα δέλτα έψιλον\n", "cp1253"),
        ("設備の保守記録、ポンプ七号機は修理中です。\n", "cp932"),
        ("设备维护记录，七号泵正在维修。\n", "gb18030"),
    ],
)
def test_an_encoding_is_told_from_the_bytes(text: str, name: str) -> None:
    found = encoding_of(text.encode(name))
    assert (found.decided_by, text.encode(name).decode(found.name)) == ("statistics", text)


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_mark_decides(mark: bytes, name: str) -> None:
    found = encoding_of(mark + "a,b\n".encode(name))
    assert found == Encoding(name=name, bom_bytes=len(mark), decided_by="mark")


def test_utf16_without_a_mark_is_known_by_its_nuls() -> None:
    assert encoding_of("name,value\n1,2\n".encode("utf-16-be")).name == "utf-16-be"


def test_one_bad_byte_does_not_turn_utf8_into_something_else() -> None:
    assert encoding_of("café\n".encode() * 4 + b"\xff\n").decided_by == "utf8_damaged"


def test_a_late_byte_counts_as_much_as_an_early_one() -> None:
    data = b"plain ascii\n" * 60_000 + "Größe und Länge, Öl über Straße\n".encode("cp1252")
    assert encoding_of(data).name == "cp1252"


def test_the_caller_may_name_the_encoding() -> None:
    assert encoding_of("Größe".encode("cp850"), "CP850") == Encoding(name="cp850", bom_bytes=0, decided_by="caller")


@pytest.mark.parametrize("name", ["no-such-code", "utf-7", "iso2022_jp", "rot13"])
def test_an_encoding_that_nobody_reads_is_refused(name: str) -> None:
    with pytest.raises(IntentRefused) as refused:
        encoding_of(b"abc", name)
    assert refused.value.code == "encoding_unknown"
    assert name in refused.value.message
