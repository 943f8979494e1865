"""Names of files, as they may be shown and kept."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.names import NAME_BYTES_MAX, display_name


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\x\\f.csv", "f.csv"),
        ("/tmp/a/../b.txt", "b.txt"),
        ("..", "unnamed"),
        ("...", "unnamed"),
        ("a/..", "unnamed"),
        ("", "unnamed"),
        ("/", "unnamed"),
        (" spaced .txt ", "spaced .txt"),
        (".env", ".env"),
        ("new\nline\x00\x1b[2J.csv", "newline[2J.csv"),
        ("report\u202efdp.exe", "reportfdp.exe"),
        ("zero\u200bwidth.md", "zerowidth.md"),
        ("con:<|>.csv", "con____.csv"),
        ("Größe 設備.csv", "Größe 設備.csv"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("é" * 300 + ".pdf", "é" * 125 + ".pdf"),
    ],
)
def test_a_name_is_its_last_part_without_what_cannot_be_seen(given_name: str, shown: str) -> None:
    assert display_name(given_name) == shown


@given(st.text(max_size=400))
def test_any_name_becomes_a_harmless_one(given_name: str) -> None:
    shown = display_name(given_name)
    assert 1 <= len(shown.encode()) <= NAME_BYTES_MAX
    assert not {"/", "\\", "\x00"} & {*shown}
    assert shown not in (".", "..")
    assert not any(unicodedata.category(char) in ("Cc", "Cf") for char in shown)
    assert display_name(shown) == shown
