"""What is this file? Its first bytes decide. Its name breaks ties between kinds of text; a contradiction is told."""

from __future__ import annotations

import io
import json
import re

import msgspec

from symphainy.capabilities.content.parsing.dialect import decide_dialect
from symphainy.capabilities.content.parsing.encoding import MARKS, Encoding
from symphainy.capabilities.content.parsing.lines import read_lines

HEAD_BYTES = 1 << 16
"""As much of the beginning as detection looks at."""

PDF = "application/pdf"
CSV = "text/csv"
TSV = "text/tab-separated-values"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
MARKDOWN = "text/markdown"
PLAIN = "text/plain"
UNKNOWN = "application/octet-stream"
EBCDIC = "text/x-ebcdic"

#: Read here, with the names a caller may use for them.
PARSING_TYPES = {
    "pdf": PDF,
    "csv": CSV,
    "tsv": TSV,
    "json": JSON,
    "jsonl": JSON_LINES,
    "ndjson": JSON_LINES,
    "markdown": MARKDOWN,
    "md": MARKDOWN,
    "text": PLAIN,
    "txt": PLAIN,
}
PARSED = frozenset(PARSING_TYPES.values())

_EXTENSIONS = {
    **PARSING_TYPES,
    **dict.fromkeys(("tab",), TSV),
    **dict.fromkeys(("psv", "ssv"), CSV),
    **dict.fromkeys(("geojson",), JSON),
    **dict.fromkeys(("mkd", "mdown"), MARKDOWN),
    **dict.fromkeys(("log",), PLAIN),
    **dict.fromkeys(("htm", "html"), "text/html"),
    "xml": "application/xml",
    "edi": "application/edi-x12",
    "x12": "application/edi-x12",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "epub": "application/epub+zip",
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
    "rtf": "application/rtf",
    "zip": "application/zip",
    "gz": "application/gzip",
    "7z": "application/x-7z-compressed",
    "png": "image/png",
    **dict.fromkeys(("jpg", "jpeg"), "image/jpeg"),
    "gif": "image/gif",
    **dict.fromkeys(("tif", "tiff"), "image/tiff"),
    "webp": "image/webp",
    "parquet": "application/vnd.apache.parquet",
}

_OOXML = "application/vnd.openxmlformats-officedocument."
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"BM", "image/bmp"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x01\x00", "image/vnd.microsoft.icon"),
    (0, b"%!PS", "application/postscript"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"\x04\x22\x4d\x18", "application/x-lz4"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"!<arch>\n", "application/x-archive"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"ARROW1", "application/vnd.apache.arrow.file"),
    (0, b"Obj\x01", "application/avro"),
    (0, b"ORC", "application/x-orc"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"CDF\x01", "application/x-netcdf"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x00\x01\x00\x00Standard Jet DB", "application/x-msaccess"),
    (0, b"\x00\x01\x00\x00Standard ACE DB", "application/x-msaccess"),
    (0, b"RIFF", "application/x-riff"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "font/otf"),
    (0, b"\x00\x01\x00\x00\x00", "font/ttf"),
    (0, b"\xac\xed\x00\x05", "application/x-java-serialized-object"),
    (0, b"!BDN", "application/vnd.ms-outlook-pst"),
    (0, b"AT&TFORM", "image/vnd.djvu"),
    (0, b"\xd4\xc3\xb2\xa1", "application/vnd.tcpdump.pcap"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (128, b"DICM", "application/dicom"),
    (0, b"AC10", "image/vnd.dwg"),
)
#: Two letters are also how a text may begin: these count only where the bytes are no text.
_SHORT = frozenset({b"BM", b"MZ", b"ORC", b"ID3", b"BZh", b"AC10", b"RIFF"})
_TEXT_SIGNATURES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<!doctype\s+html|<html[\s>]", re.I), "text/html"),
    (re.compile(r"<\?xml[\s?]"), "application/xml"),
    (re.compile(r"ISA([^A-Za-z0-9\s])\d\d\1.{10}\1"), "application/edi-x12"),
    (re.compile(r"UN(?:A.{6}\s*UN)?B[+]"), "application/edifact"),
    (re.compile(r"BEGIN:VCALENDAR"), "text/calendar"),
    (re.compile(r"BEGIN:VCARD"), "text/vcard"),
)
_ZIP_MEMBERS = (
    (b"word/", f"{_OOXML}wordprocessingml.document"),
    (b"xl/", f"{_OOXML}spreadsheetml.sheet"),
    (b"ppt/", f"{_OOXML}presentationml.presentation"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
)
_OLE_STREAMS = (
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("__substg1.0_", "application/vnd.ms-outlook"),
)
_CONTROLS = bytes({*range(32)} - {7, 8, 9, 10, 12, 13, 26, 27})
_MARKDOWN_SIGNS = tuple(
    re.compile(sign, re.M)
    for sign in (r"^#{1,6} \S", r"^(?:```|~~~)", r"^[-*+] \S", r"^\d+\. \S", r"^\|.+\|\s*$", r"\[[^\]\n]+\]\([^)\n]+\)")
)


class Detected(msgspec.Struct, frozen=True, kw_only=True):
    """`declared_media_type` is what name or sender claim, if they claim anything we know.

    `mismatch`: the claim is of another family than the content, as a PDF that is called `.csv`.
    """

    media_type: str
    declared_media_type: str | None
    mismatch: bool


def detect(head: bytes, *, whole: bool, filename: str, media_type: str | None = None) -> Detected:
    """`head` is the first `HEAD_BYTES` of the file, or all of it when `whole`; `media_type` is what the sender said."""
    declared = declared_type(filename, media_type)
    binary = _binary_type(head)
    found = binary or _text_type(head, whole=whole, declared=declared)
    mismatch = declared is not None and (_family(declared) != _family(found)) and bool(head)
    return Detected(media_type=found, declared_media_type=declared, mismatch=mismatch)


def declared_type(filename: str, media_type: str | None = None) -> str | None:
    """The claim of the name's extension; that of the sender where the extension says nothing."""
    extension = filename.rpartition(".")[2].lower() if "." in filename else ""
    if extension in _EXTENSIONS:
        return _EXTENSIONS[extension]
    claimed = (media_type or "").partition(";")[0].strip().lower()
    aliases = {"text/x-markdown": MARKDOWN, "application/jsonl": JSON_LINES, "application/ndjson": JSON_LINES}
    claimed = aliases.get(claimed, claimed)
    return claimed if claimed in {*_EXTENSIONS.values()} else None


def readable_as(found: str, asked: str) -> bool:
    """Whether content of the type `found` can be read as `asked`: one text as another, everything else as itself."""
    return _family(found) == _family(asked)


def _family(media_type: str) -> str:
    is_text = media_type.startswith("text/") or media_type in (JSON, JSON_LINES, "application/xml")
    is_text = (is_text and media_type != EBCDIC) or media_type.startswith("application/edi")
    return "text" if is_text else media_type


def _binary_type(head: bytes) -> str | None:
    """None when it is text."""
    # The header may stand anywhere in the first kilobyte.
    if b"%PDF-" in head[:1024]:
        return PDF
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_type(head)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        streams = (kind for name, kind in _OLE_STREAMS if name.encode("utf-16-le") in head)
        return next(streams, "application/x-ole-storage")
    is_text = _is_text(head)
    for offset, magic, kind in _SIGNATURES:
        if head.startswith(magic, offset) and not (is_text and magic in _SHORT):
            return kind
    if is_text:
        return None
    return EBCDIC if _is_ebcdic(head) else UNKNOWN


def _zip_type(head: bytes) -> str:
    stored = re.match(rb"PK\x03\x04.{22}\x08\x00..mimetype([a-z.+/-]{1,100})", head, re.S)
    if stored:
        return stored.group(1).removesuffix(b"PK").decode()
    return next((kind for member, kind in _ZIP_MEMBERS if member in head), "application/zip")


def _is_text(head: bytes) -> bool:
    if any(head.startswith(bom) for bom, _ in MARKS):
        return True
    pairs = len(head) // 2
    if pairs >= 4:
        even, odd = head[0 : 2 * pairs : 2].count(0) / pairs, head[1 : 2 * pairs : 2].count(0) / pairs
        if max(even, odd) > 0.7 and min(even, odd) < 0.1:
            return True
    body = head.rstrip(b"\x00\x1a")
    if not body:
        return not head
    controls = len(body) - len(body.translate(None, _CONTROLS))
    # A stray byte or two make no program of a short table.
    bearable = max(0.02 * len(body), 2 if len(body) >= 24 else 0)
    return controls <= bearable and not _is_ebcdic(body)


def _is_ebcdic(head: bytes) -> bool:
    """Letters and blanks where EBCDIC has them (0x40, 0x81-0xA9, 0xC1-0xE9, 0xF0-0xF9), and none where ASCII does."""
    if len(head) < 32:
        return False
    letters = bytes({0x40, 0x4B, 0x60, 0x6B, *range(0x81, 0xAA), *range(0xC1, 0xEA), *range(0xF0, 0xFA)})
    inside = len(head) - len(head.translate(None, letters))
    return inside > 0.9 * len(head) and head.count(0x40) > 0.02 * len(head)


def decoded_head(head: bytes, *, whole: bool) -> str:
    """The beginning as text, good enough to look at: a character cut off at the end is left out."""
    for bom, name in MARKS:
        if head.startswith(bom):
            return head[len(bom) :].decode(name, "ignore")
    if b"\x00" in head[:64] and not head.startswith(b"\x00\x00"):
        return head.decode("utf-16-le" if head[1:2] == b"\x00" else "utf-16-be", "ignore")
    try:
        return head.decode("utf-8")
    except UnicodeDecodeError as error:
        if not whole and error.start >= len(head) - 4:
            return head[: error.start].decode("utf-8")
        return head.decode("cp1252", "replace")


def _text_type(head: bytes, *, whole: bool, declared: str | None) -> str:
    text = decoded_head(head, whole=whole)
    start = text.lstrip("\ufeff \t\r\n")
    for sign, kind in _TEXT_SIGNATURES:
        if sign.match(start):
            return kind
    claims = declared if declared in PARSED and declared != PDF else None
    certain = _json_type(start, whole=whole)
    if claims in (JSON, JSON_LINES):
        return certain or claims
    # A comma-separated file can begin with a bracket; it cannot go on as JSON to its end.
    if certain is not None and claims in (None, CSV, TSV):
        return certain
    if claims is not None:
        return claims
    if _is_delimited(text, whole=whole):
        return CSV
    signs = sum(1 for sign in _MARKDOWN_SIGNS if sign.search(text))
    return MARKDOWN if signs >= 2 else PLAIN


def _json_type(text: str, *, whole: bool) -> str | None:
    """JSON or JSON Lines when the text is one as far as it goes."""
    if text[:1] not in ("{", "["):
        return None
    decoder = json.JSONDecoder()
    try:
        _, end = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        cut_short = not whole and (error.pos >= len(text) - 16 or error.msg.startswith("Unterminated string"))
        return JSON if cut_short else None
    except RecursionError:  # deeper than anyone writes by hand: whoever parses it says so
        return JSON
    rest = text[end:]
    if not rest.strip():
        return JSON
    if rest.lstrip(" \t")[:1] not in ("\r", "\n") or rest.lstrip()[:1] not in ("{", "["):
        return None
    return JSON_LINES


def _is_delimited(text: str, *, whole: bool) -> bool:
    lines = [*read_lines(io.BytesIO(text.encode()), Encoding(name="utf-8", bom_bytes=0, decided_by="mark"))]
    dialect = decide_dialect(lines if whole else lines[:-1])
    return dialect.width >= 2 and dialect.rows >= 3 and dialect.consistency >= 0.9 and dialect.typed
