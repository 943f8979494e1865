"""The platform that is measured: a real `symphainy up`, in a process and a data directory of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.load import Target
from bench.machine import ROOT

CAPABILITY = "bench.capability:Bench"
TENANT = "bench"
HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
CALL_TIMEOUT_S = 60.0
#: What would change how the platform behaves, or tell it of other stores.
CLEARED = re.compile("SYMPHAINY_.*|REDIS_URL|HOST|PORT|PYTHONPYCACHEPREFIX|PYTHONDONTWRITEBYTECODE")


class Platform:
    """`start` it, `stop` or `kill` it, and start it again on the same data and ports."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.port, self.runtime_port = _free_ports(2)
        self._log = directory / "platform.log"
        self._process: subprocess.Popen[str] | None = None
        self._token: str | None = None

    # --- life ---

    def start(self, *, environment: Mapping[str, str] | None = None) -> float:
        """Return when it says that it is ready: the seconds it took."""
        assert self._process is None, "it runs already"
        began_s = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "symphainy", "up", "--data", str(self.data)),
                    *("--port", str(self.port), "--runtime-port", str(self.runtime_port)),
                    *("--capability", CAPABILITY),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**_clean_environment(), **(environment or {})},
            )
        self._await_ready(self._process)
        return time.perf_counter() - began_s

    def _await_ready(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        watchdog = threading.Timer(START_TIMEOUT_S, process.kill)
        watchdog.start()
        try:
            for line in process.stdout:
                if "ready" in line:
                    break
            else:
                self._process = None
                raise RuntimeError(f"symphainy up ended with {process.wait()} before it was ready:\n{self._said()}")
        finally:
            watchdog.cancel()
        # Nobody reads what it says from here on; a full pipe would stop it.
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def stop(self) -> None:
        """As an operator does: SIGTERM, and it must exit with 0."""
        code = self._end(signal.SIGTERM)
        if code:
            raise RuntimeError(f"symphainy up ended with {code} on SIGTERM:\n{self._said()}")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, with_signal: signal.Signals) -> int:
        assert self._process is not None, "it does not run"
        process, self._process = self._process, None
        process.send_signal(with_signal)
        return process.wait(STOP_TIMEOUT_S)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    def _said(self) -> str:
        return self._log.read_text("utf-8", "replace")[-3000:]

    # --- calls ---

    @property
    def token(self) -> str:
        """A token for Experience, minted by `symphainy token`."""
        if self._token is None:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "symphainy", "token", "--tenant", TENANT, "--user", "bench"),
                    *("--role", "operator", "--data", str(self.data), "--json"),
                ],
                stdout=subprocess.PIPE,
                cwd=ROOT,
                env=_clean_environment(),
                check=True,
            )
            self._token = str(msgspec.json.decode(done.stdout)["access_token"])
        return self._token

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Experience, and return the JSON it answers."""
        headers = {"Authorization": f"Bearer {self.token}"}
        data = None
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), "application/json"
        return msgspec.json.decode(self._exchange(self.port, method, path, data, headers))

    def send(self, path: str, data: bytes, media_type: str) -> Any:
        """Post bytes to Experience, and return the JSON it answers."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": media_type}
        return msgspec.json.decode(self._exchange(self.port, "POST", path, data, headers))

    def ended(self) -> float:
        """How many executions have completed since the start, by the Runtime's own count."""
        text = self._exchange(self.runtime_port, "GET", "/metrics", None, {}).decode()
        return counted(text, "executions_ended", status="completed")

    def _exchange(self, port: int, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=CALL_TIMEOUT_S)) as connection:
            connection.request(method, path, data, dict(headers))
            response = connection.getresponse()
            answer = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path} was answered with {response.status}: {answer.decode()[:500]}")
        return answer

    def new_session(self) -> str:
        return str(self.call("POST", "/api/session/create", {})["session_id"])

    def submission(self, intent_type: str, session_id: str, *, wait_s: int | None = None, **parameters: Any) -> Target:
        """The request that submits this intent to Experience."""
        body = {"intent_type": intent_type, "session_id": session_id, "parameters": parameters}
        headers = {"Authorization": f"Bearer {self.token}"}
        if wait_s is not None:
            headers["Prefer"] = f"wait={wait_s}"
        return Target(
            host=HOST,
            port=self.port,
            path="/api/intent/submit",
            headers=headers,
            body=msgspec.json.encode(body).decode(),
        )


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Platform]:
    """A platform on new data, stopped at the end."""
    directory.mkdir(parents=True)
    platform = Platform(directory)
    platform.start()
    try:
        yield platform
    except BaseException:
        if platform.is_running:
            platform.kill()
        raise
    if platform.is_running:
        platform.stop()


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not CLEARED.fullmatch(name)}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def counted(metrics: str, name: str, **labels: str) -> float:
    """The sum of a counter, over every series that has these labels, in Prometheus text."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        if line.startswith((f"symphainy_{name}_total ", f"symphainy_{name}_total{{")) and all(w in line for w in wanted)
    )
