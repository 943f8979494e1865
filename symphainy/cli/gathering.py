"""Which files `process` takes: those that are named, and those of a known format in the folders that are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Formats by suffix. A file that is named itself is taken whatever it is called: the platform looks at its bytes.
SUFFIXES = frozenset(
    {".csv", ".json", ".jsonl", ".log", ".markdown", ".md", ".ndjson", ".pdf", ".text", ".tsv", ".txt"}
)
FILES_MAX = 1000
#: Bounds the walk through a folder that holds everything.
ENTRIES_MAX = 100_000


@dataclass(kw_only=True)
class Gathered:
    """`skipped` says why, path by path."""

    files: list[Path] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def gathered(paths: Sequence[Path], *, files_max: int) -> Gathered:
    """At most `files_max` files, none twice, in a stable order."""
    found = Gathered()
    seen: set[Path] = set()
    for path in paths:
        for file, problem in _of_folder(path) if path.is_dir() else [(path, _problem(path))]:
            if problem is None and file.resolve() in seen:
                problem = "named twice"
            if problem is None and len(found.files) >= files_max:
                problem = f"beyond the limit of {files_max} files"
            if problem is not None:
                found.skipped.append((file, problem))
                continue
            seen.add(file.resolve())
            found.files.append(file)
    return found


def _of_folder(folder: Path) -> Iterator[tuple[Path, str | None]]:
    unread: list[OSError] = []
    entries = 0
    for place, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            entries += 1
            if entries > ENTRIES_MAX:
                yield folder, f"has more than {ENTRIES_MAX} entries; the rest was not looked at"
                return
            path = Path(place, name)
            if name.startswith("."):
                continue
            known = path.suffix.lower() in SUFFIXES
            yield path, _problem(path) if known else f"no known format ({path.suffix or 'no suffix'})"
    for error in unread:
        yield Path(error.filename), error.strerror or "cannot be read"


def _problem(path: Path) -> str | None:
    """Why it cannot be sent, or None. Only a regular file has an end."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return error.strerror or "cannot be read"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    return None if os.access(path, os.R_OK) else "may not be read by this user"
