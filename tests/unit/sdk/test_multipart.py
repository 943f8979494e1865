"""The multipart body, read by the parser that the platform reads it with."""

from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser, parse_options_header

from symphainy.sdk.multipart import Multipart

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


async def body_of(form: Multipart) -> bytes:
    return b"".join([chunk async for chunk in form])


def parts_of(media_type: str, body: bytes) -> list[tuple[dict[bytes, bytes], bytes]]:
    """The options of each part's Content-Disposition, and its bytes."""
    _, options = parse_options_header(media_type)
    found: list[tuple[bytearray, bytearray]] = []
    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": lambda: found.append((bytearray(), bytearray())),
            "on_header_value": lambda data, start, end: found[-1][0].extend(data[start:end]),
            "on_part_data": lambda data, start, end: found[-1][1].extend(data[start:end]),
        },
    )
    parser.write(body)
    parser.finalize()
    return [(parse_options_header(bytes(header))[1], bytes(data)) for header, data in found]


@given(st.lists(st.binary(max_size=200), max_size=5), NAMES)
async def test_what_goes_in_is_what_the_platform_reads(chunks: list[bytes], filename: str) -> None:
    async def source() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    form = Multipart({"session_id": "ses_1"}, source(), filename=filename, media_type=None)
    (field, value), (file, data) = parts_of(form.media_type, await body_of(form))
    assert (field, value) == ({b"name": b"session_id"}, b"ses_1")
    assert (file[b"name"], data) == (b"file", b"".join(chunks))
    if "\\" not in filename:  # from Windows paths the parser takes the last part
        assert file[b"filename"].decode() == filename
