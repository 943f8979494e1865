"""A platform in a process of its own, and commands against it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.source import ROOT

Run = Callable[..., "Told"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Started:
    """`urls` by service; `log` is what it writes to standard error, beside its data."""

    process: subprocess.Popen[str]
    urls: dict[str, str]
    log: Path

    @property
    def data(self) -> Path:
        return self.log.parent / "data"


@contextmanager
def started(*command: str, log: Path, cwd: Path = ROOT) -> Iterator[Started]:
    """A verb that serves, from `ready` until it has drained."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=cwd, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert line.startswith("ready "), log.read_text()
            yield Started(process=process, urls=dict(pair.split("=", 1) for pair in line.split()[1:]), log=log)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
    assert code == 0, log.read_text()


def asking(platform: Started, *arguments: str, cwd: Path = ROOT, data: Path) -> subprocess.CompletedProcess[str]:
    """A client command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "symphainy", *arguments],
        env={**os.environ, "SYMPHAINY_URL": platform.urls["experience"], "SYMPHAINY_DATA": str(data)},
        cwd=cwd,
        capture_output=True,
        text=True,
    )
