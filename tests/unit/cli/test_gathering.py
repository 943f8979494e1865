"""Which files `process` takes."""

import os
from pathlib import Path

import pytest

from symphainy.cli.gathering import gathered


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.PDF", "notes/c.md", "notes/deep/d.txt", "program.exe", ".hidden.txt", ".git/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


def names(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_gives_every_file_of_a_known_format_and_says_what_it_left_out(folder: Path) -> None:
    found = gathered([folder], files_max=10)
    assert names(folder, found.files) == ["a.PDF", "b.csv", "notes/c.md", "notes/deep/d.txt"]
    assert found.skipped == [(folder / "program.exe", "no known format (.exe)")]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(folder: Path) -> None:
    assert gathered([folder / "program.exe"], files_max=10).files == [folder / "program.exe"]


def test_no_file_is_taken_twice(folder: Path) -> None:
    (folder / "again.csv").symlink_to(folder / "b.csv")
    found = gathered([folder / "b.csv", folder / "notes" / ".." / "b.csv", folder / "again.csv"], files_max=10)
    assert found.files == [folder / "b.csv"]
    assert [reason for _, reason in found.skipped] == ["named twice", "named twice"]


def test_what_is_beyond_the_limit_is_listed(folder: Path) -> None:
    found = gathered([folder], files_max=2)
    assert names(folder, found.files) == ["a.PDF", "b.csv"]
    assert [(path.name, reason) for path, reason in found.skipped] == [
        ("program.exe", "no known format (.exe)"),
        ("c.md", "beyond the limit of 2 files"),
        ("d.txt", "beyond the limit of 2 files"),
    ]


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    found = gathered([tmp_path], files_max=10)
    assert found.files == []
    assert found.skipped == [
        (tmp_path / "broken.txt", "No such file or directory"),
        (pipe, "not a regular file"),
    ]


def test_a_folder_that_is_linked_is_not_walked_into(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "loop").symlink_to(tmp_path)
    (inner / "a.txt").write_text("x")
    assert gathered([inner], files_max=10).files == [inner / "a.txt"]
