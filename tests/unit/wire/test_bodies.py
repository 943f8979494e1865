"""Bodies within bounds: hostile JSON is refused with a 4xx, whatever it does."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from symphainy.errors import Invalid, TooLarge, UnsupportedMedia
from symphainy.wire.bodies import ClientGone, expect_json, json_object, json_value, read_body
from symphainy.wire.problems import RequestTimeout

MIB = 1 << 20


def messages(*chunks: bytes, ends: bool = True) -> Receive:
    sent: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if ends:
        sent[-1]["more_body"] = False
    else:
        sent.append({"type": "http.disconnect"})
    waiting = iter(sent)

    async def receive() -> Message:
        return next(waiting)

    return receive


async def test_a_body_in_pieces_is_put_together() -> None:
    assert await read_body(messages(b"ab", b"", b"c"), {}, bytes_max=3, deadline_s=1) == b"abc"


@pytest.mark.parametrize("chunks", [(b"abcd",), (b"ab", b"cd"), (b"abc", b"d")])
async def test_a_body_over_its_limit_is_refused_while_it_comes_in(chunks: tuple[bytes, ...]) -> None:
    with pytest.raises(TooLarge, match="larger than 3 bytes"):
        await read_body(messages(*chunks, ends=True), {}, bytes_max=3, deadline_s=1)


async def test_a_body_that_declares_too_much_is_refused_unread() -> None:
    async def unread() -> Message:
        raise AssertionError("nothing had to be read")

    with pytest.raises(TooLarge):
        await read_body(unread, {b"content-length": b"4"}, bytes_max=3, deadline_s=1)


async def test_an_endless_body_is_not_gathered_in_memory() -> None:
    seen = 0

    async def endless() -> Message:
        nonlocal seen
        seen += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    with pytest.raises(TooLarge):
        await read_body(endless, {}, bytes_max=10_000, deadline_s=5)
    assert seen == 11


async def test_a_client_that_hangs_up_is_not_answered() -> None:
    with pytest.raises(ClientGone):
        await read_body(messages(b"ab", ends=False), {}, bytes_max=99, deadline_s=1)


async def test_a_body_that_stops_half_way_is_timed_out(never: Receive) -> None:
    first: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        return first.pop() if first else await never()

    with pytest.raises(RequestTimeout):
        await read_body(receive, {}, bytes_max=99, deadline_s=0.01)


@pytest.mark.parametrize(
    "declared",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_is_taken(declared: str) -> None:
    expect_json({b"content-type": declared.encode()})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"content-type": b""},
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/x-www-form-urlencoded"},
        {b"content-type": b"application/jsonp"},
        {b"content-type": b"application/json; charset=utf-16"},
        {b"content-type": b"\xff\xfe"},
        {b"content-type": b"application/json", b"content-encoding": b"gzip"},
    ],
)
def test_anything_else_is_an_unsupported_media_type(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(UnsupportedMedia):
        expect_json(headers)


#: What breaks parsers, or makes two of them read two things.
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \n",
    "no object": b"[]",
    "a string": b'"{}"',
    "null": b"null",
    "a number": b"1",
    "cut off": b'{"a": ',
    "cut in a string": b'{"a": "b',
    "cut in an escape": b'{"a": "\\u00',
    "trailing text": b'{"a": 1} x',
    "two values": b"{}{}",
    "a trailing comma": b'{"a": 1,}',
    "a comment": b'{"a": 1 /* */}',
    "single quotes": b"{'a': 1}",
    "no quotes": b"{a: 1}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "a float without end": b'{"a": 1e999}',
    "a float without end, signed": b'{"a": -1e999}',
    "the same name twice": b'{"a": 1, "a": 2}',
    "the same name twice, inside": b'{"x": [{"a": 1, "b": 0, "a": 2}]}',
    "the same name twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "the same name twice, beside colons": b'{"a": "x:y", "a": "::"}',
    "33 digits": b'{"a": ' + b"9" * 33 + b"}",
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "5,000 digits, negative": b'{"a": -' + b"9" * 5000 + b"}",
    "5,000 digits before the point": b'{"a": ' + b"9" * 5000 + b".5}",
    "5,000 digits of exponent": b'{"a": 1e' + b"9" * 5000 + b"}",
    "a leading zero": b'{"a": 01}',
    "hexadecimal": b'{"a": 0x10}',
    "a plus sign": b'{"a": +1}',
    "65 levels": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    "100,000 levels": b"[" * 100_000,
    "100,000 levels of objects": b'{"a":' * 100_000,
    "a lone high surrogate": b'{"a": "\\ud800"}',
    "a lone low surrogate": b'{"a": "\\udc00"}',
    "surrogates the wrong way round": b'{"a": "\\udc00\\ud800"}',
    "a surrogate in a name": b'{"\\ud800": 1}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "an overlong slash": b'{"a": "\xc0\xaf"}',
    "Latin-1": b'{"a": "\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "a control character": b'{"a": "\x00"}',
    "a line break in a string": b'{"a": "\n"}',
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        json_object(body)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a": "x:y", "b": "::\\":"}',
        b'{"a": {"a": {"a": 1}}, "b": {"a": 2}}',
        b'{"a": 12345678901234567890123456789012}',
        b'{"a": 0.' + b"3" * 400 + b"}",
        b'{"a": "' + b"9" * 400 + b'"}',
        b'{"a":' + b"[" * 63 + b"]" * 63 + b"}",
        b'{"a": "\\ud83e\\udd9c"}',
        b'{"a": "\\u0000"}',
        b'{"": 1}',
        b' {"a" : 1 } ',
    ],
)
def test_json_that_means_one_thing_is_read_as_it_is(body: bytes) -> None:
    assert json_object(body) == json.loads(body)


MEBIBYTES: dict[str, bytes] = {
    "objects": b"[" + b'{"a":1},' * (MIB // 8 - 1) + b"1]",
    "empty arrays": b"[" + b"[]," * (MIB // 3 - 1) + b"1]",
    "escapes": b'["' + b'\\"' * (MIB // 2 - 2) + b'"]',
    "strings with colons": b"[" + b'":",' * (MIB // 4 - 2) + b"1]",
    "numbers": b"[" + b"1," * (MIB // 2 - 2) + b"1]",
    "names": b"{" + b",".join(b'"%06x":0' % number for number in range(MIB // 11)) + b"}",
    "an open string": b'"' + b"a" * MIB,
    "backslashes": b'"' + b"\\" * MIB,
    "quotes": b'"' * MIB,
    "brackets": b"[" * MIB,
    "digits": b"9" * MIB,
}


@pytest.mark.parametrize("kind", MEBIBYTES)
def test_no_mebibyte_costs_more_than_a_moment(kind: str) -> None:
    # 0.15 s at worst, measured. Anything quadratic takes minutes, and meets the time limit that every test has.
    with contextlib.suppress(Invalid):
        json_value(MEBIBYTES[kind])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**31), 10**31)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.booleans())
def test_whatever_can_be_written_can_be_read(value: dict[str, Any], ascii_only: bool) -> None:
    try:
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    assert json_object(body) == value


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_invalid(body: bytes) -> None:
    with contextlib.suppress(Invalid):
        json_object(body)
