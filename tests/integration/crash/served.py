"""`symphainy up`, as an operator starts it, to be killed and started again at the same address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from symphainy.testing.servers import free_port
from tests.source import ROOT

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 60.0


class Served:
    """`capability` is `module:Class`, with the module in `folder` or under the root of the repository."""

    def __init__(self, folder: Path, *, capability: str) -> None:
        self._folder = folder
        self._capability = capability
        self._process: subprocess.Popen[str] | None = None
        self.data = folder / "data"
        self.port, self.runtime_port = free_port(), free_port()

    def start(self) -> None:
        """Returns when it says that it is ready."""
        assert self._process is None, "it runs already"
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "symphainy", "up", "--data", str(self.data)),
                    *("--port", str(self.port), "--runtime-port", str(self.runtime_port)),
                    *("--capability", self._capability),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
                env={**kept, "PYTHONPATH": str(ROOT)},
            )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_TIMEOUT_S, self._process.kill)
        watchdog.start()
        said = self._process.stdout.readline()
        watchdog.cancel()
        if not said.startswith("ready"):
            raise RuntimeError(f"it did not start; it said:\n{(self._folder / 'log').read_text('utf-8')[-3000:]}")

    def kill(self) -> None:
        assert self._end(signal.SIGKILL) == -signal.SIGKILL

    def stop(self) -> None:
        assert self._end(signal.SIGTERM) == 0

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "it does not run"
        process, self._process = self._process, None
        process.send_signal(number)
        process.communicate(timeout=END_TIMEOUT_S)
        return process.returncode

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
