"""Names of files as they may be shown and kept."""

from __future__ import annotations

import re
import unicodedata

NAME_BYTES_MAX = 255
UNNAMED = "unnamed"

#: Controls, and the marks that turn or hide what stands beside them: `report<U+202E>fdp.exe` shows as `reportexe.pdf`.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FORBIDDEN = re.compile(r'[<>:"|?*]')


def display_name(given: str) -> str:
    """The last part of a path, without anything that is no letter on a screen; `unnamed` when nothing is left."""
    last = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(char for char in unicodedata.normalize("NFC", last) if unicodedata.category(char) not in _INVISIBLE)
    shown = _FORBIDDEN.sub("_", shown).strip().rstrip(". ") if set(shown) - set(". ") else ""
    return _shortened(shown) or UNNAMED


def _shortened(name: str) -> str:
    """At most `NAME_BYTES_MAX` bytes of UTF-8; what is cut is the end of the stem, not the extension."""
    if len(name.encode()) <= NAME_BYTES_MAX:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension.encode()) > 16:
        stem, extension = name, ""
    suffix = f"{dot}{extension}" if extension else ""
    room = NAME_BYTES_MAX - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + suffix
