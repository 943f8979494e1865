"""The process as an operator sees it: it says when it is ready, answers, and ends cleanly when it is told to."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

PROGRAM = """
import asyncio, json, sys
from pydantic import BaseModel
from symphainy.boot.config import load
from symphainy.boot.serve import Service, run, serve, serve_experience
from symphainy.capability import Capability, IntentResult, ExecutionContext, intent

class Nothing(BaseModel):
    pass

class Slow(Capability):
    name = "slow"

    @intent("never_end")
    async def never_end(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        await asyncio.Event().wait()
        return IntentResult()

def on_ready(addresses):
    print(json.dumps({"runtime": addresses.runtime, "experience": addresses.experience}), flush=True)

settings = load(overrides={"port": 0, "runtime_port": 0, "log_format": "json"})
match sys.argv[1:]:
    case ["experience", url]:
        run(serve_experience(settings, runtime_url=url, on_ready=on_ready))
    case services:
        run(serve(settings, services=frozenset(map(Service, services)), on_ready=on_ready, capabilities=[Slow]))
"""


class Process:
    """A serving process. `log` is what it wrote to standard error, once it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.addresses: dict[str, str] = json.loads(process.stdout.readline() or "{}")
        self.log: list[dict[str, object]] = []

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        _, errors = self._process.communicate(timeout=30)
        self.log = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
        return self._process.returncode

    def events(self) -> list[object]:
        return [entry["event"] for entry in self.log]


@contextmanager
def serving(data: Path, *args: str, **environment: str) -> Iterator[Process]:
    program = data / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, str(program), *args],
        env={**kept, "SYMPHAINY_DATA": str(data / "kept"), **environment},
        cwd=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Process(process)
    finally:
        process.kill()
        process.communicate()


def test_both_services_answer_and_sigterm_ends_them_cleanly(tmp_path: Path) -> None:
    with serving(tmp_path, "runtime", "experience") as served:
        for url in served.addresses.values():
            health = httpx2.get(f"{url}/health").json()
            assert (health["status"], health["profile"]) == ("ok", "development")
        assert b"symphainy_http_request_seconds" in httpx2.get(f"{served.addresses['runtime']}/metrics").content
        served.signal(signal.SIGTERM)
        assert served.end() == 0
    assert [event for event in served.events() if event in ("ready", "signal", "draining", "stopping", "stopped")] == [
        "ready",
        "signal",
        "draining",
        "stopping",
        "stopped",
    ]
    assert [entry["phase"] for entry in served.log if entry["event"] == "phase_ready"] == ["Φ1", "Φ2", "Φ3", "Φ4"]


def test_a_second_signal_does_not_wait_for_what_runs(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "runtime", SYMPHAINY_DRAIN_TIMEOUT_S="600") as served,
        httpx2.Client(base_url=served.addresses["runtime"]) as client,
    ):
        session = client.post("/api/session/create", json={"tenant_id": "acme"}).json()
        asked = {"tenant_id": "acme", "session_id": session["session_id"], "intent_type": "never_end"}
        execution = client.post("/api/intent/submit", json=asked).json()["execution_id"]
        status = f"/api/execution/{execution}/status"
        with client.stream("GET", f"/api/execution/{execution}/stream", params={"tenant_id": "acme"}) as stream:
            next(line for line in stream.iter_lines() if "execution_started" in line or '"running"' in line)
        served.signal(signal.SIGINT)
        while client.get("/health").status_code == 200:
            pass
        refused = client.post("/api/intent/submit", json=asked)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert client.get(status, params={"tenant_id": "acme"}).json()["status"] == "running"
        served.signal(signal.SIGINT)
        assert served.end() != 0
    assert [entry["again"] for entry in served.log if entry["event"] == "signal"] == [False, True]


def test_experience_apart_reaches_the_runtime_over_http(tmp_path: Path) -> None:
    with serving(tmp_path, "runtime") as runtime:
        assert runtime.addresses["experience"] is None
        with serving(tmp_path, "experience", runtime.addresses["runtime"]) as experience:
            url = experience.addresses["experience"]
            assert httpx2.get(f"{url}/health").json()["status"] == "ok"
            assert httpx2.get(f"{url}/api/intents").json()["code"] == "unauthenticated"
            opened = httpx2.post(f"{url}/api/session/create-anonymous", json={})
            assert opened.status_code == 201
            experience.signal(signal.SIGTERM)
            assert experience.end() == 0


@pytest.mark.parametrize(
    ("args", "environment", "said"),
    [
        (["runtime"], {"SYMPHAINY_PROT": "1"}, "no such setting: SYMPHAINY_PROT"),
        (["runtime"], {"HOST": "0.0.0.0"}, "which is beyond loopback"),
        (["runtime"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, "Redis at redis://127.0.0.1:1 cannot be used"),
        (["runtime"], {"SYMPHAINY_CAPABILITY": "a b"}, "is not of the form module:Class"),
        (
            ["experience", "http://127.0.0.1:1"],
            {"SYMPHAINY_STARTUP_TIMEOUT_S": "0.5"},
            "the Runtime at http://127.0.0.1:1 did not answer",
        ),
    ],
)
def test_what_cannot_start_never_says_that_it_is_ready(
    tmp_path: Path, args: list[str], environment: dict[str, str], said: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    ended = subprocess.run(
        [sys.executable, str(program), *args],
        env={**kept, "SYMPHAINY_DATA": str(tmp_path / "kept"), **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in ended.stderr


def test_a_port_that_is_taken_is_named_and_the_data_is_free_again(tmp_path: Path) -> None:
    with serving(tmp_path, "runtime") as first:
        port = first.addresses["runtime"].rpartition(":")[2]
        other = tmp_path / "other"
        other.mkdir()
        program = (tmp_path / "program.py").read_text().replace('"runtime_port": 0', f'"runtime_port": {port}')
        (other / "program.py").write_text(program)
        ended = subprocess.run(
            [sys.executable, str(other / "program.py"), "runtime"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            cwd=other,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr


def test_a_platform_that_was_killed_starts_again_on_what_it_kept(tmp_path: Path) -> None:
    with serving(tmp_path, "runtime") as served:
        url = f"{served.addresses['runtime']}/api/session/create"
        session = httpx2.post(url, json={"tenant_id": "acme"}).json()
        served.signal(signal.SIGKILL)
        assert served.end() == -signal.SIGKILL
    with serving(tmp_path, "runtime") as served:
        found = httpx2.get(
            f"{served.addresses['runtime']}/api/session/{session['session_id']}", params={"tenant_id": "acme"}
        )
        assert found.json() == session
