"""Live progress of several files at once: bars on a terminal, a line a step anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from symphainy.cli.terminal import plain, say, sized

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

NAME_CHARS_MAX = 32


class Told(Protocol):
    """How one file is doing."""

    def sent(self, count: int, size: int | None) -> None:
        """Bytes that have left, and how many there are."""

    def stage(self, name: str, fraction: float, message: str = "") -> None:
        """What is done with it now, and how far that is, 0 to 1."""

    def ended(self, summary: str, *, failed: bool) -> None: ...


class View(Protocol):
    def file(self, path: Path) -> AbstractContextManager[Told]: ...


@contextmanager
def viewing(files: int) -> Iterator[View]:
    """Shown on standard error."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[stage]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        yield _Bars(progress, files)


def shortened(path: Path) -> str:
    name = plain(path.name)
    return name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 9]}…{name[-8:]}"


class _Lines:
    @contextmanager
    def file(self, path: Path) -> Iterator[Told]:
        yield _Line(plain(path))


class _Line:
    def __init__(self, name: str) -> None:
        self._name = name
        self._stage = ""

    def sent(self, count: int, size: int | None) -> None:
        if count == size:
            say(f"{self._name}: sent {sized(count)}")

    def stage(self, name: str, fraction: float, message: str = "") -> None:
        if name != self._stage:
            self._stage = name
            say(f"{self._name}: {plain(name)}")

    def ended(self, summary: str, *, failed: bool) -> None:
        say(f"{self._name}: {plain(summary)}")


class _Bars:
    """A bar for each file under way, and one for all of them when there are several."""

    def __init__(self, progress: Progress, files: int) -> None:
        self._progress = progress
        self._files = files
        self._done = 0
        self._all = progress.add_task("all files", total=files, stage=self._count()) if files > 1 else None

    @contextmanager
    def file(self, path: Path) -> Iterator[Told]:
        name = shortened(path)
        task = self._progress.add_task(name, total=1.0, stage="")
        try:
            yield _Bar(self._progress, task, name)
        finally:
            self._progress.remove_task(task)
            self._done += 1
            if self._all is not None:
                self._progress.update(self._all, completed=self._done, stage=self._count())

    def _count(self) -> str:
        return f"{self._done} of {self._files}"


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, name: str) -> None:
        self._progress = progress
        self._task = task
        self._name = name

    def sent(self, count: int, size: int | None) -> None:
        told = sized(count) if size is None else f"{sized(count)} of {sized(size)}"
        self._progress.update(self._task, total=size or 1, completed=count, stage=f"sending {told}")

    def stage(self, name: str, fraction: float, message: str = "") -> None:
        self._progress.update(
            self._task, total=1.0, completed=fraction, stage=f"{plain(name)} {plain(message)}".rstrip()
        )

    def ended(self, summary: str, *, failed: bool) -> None:
        from rich.text import Text

        mark, style = ("✗", "red") if failed else ("✓", "green")
        self._progress.console.print(Text.assemble((mark, style), f" {self._name}: {plain(summary)}"))
