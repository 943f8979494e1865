"""The oldest published calls, as they stand against the Runtime of `symphainy up`; and the oldest ways to start."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from symphainy.cli.main import FAILED
from symphainy.testing.servers import free_port, start_valkey
from tests.integration.cli.starting import Run, Started, started
from tests.source import ROOT

TENANT = "tenant_1"


@pytest.fixture
def folder() -> Iterator[Path]:
    """In the temporary folder of the machine, which is allowed as it stands."""
    with tempfile.TemporaryDirectory(prefix="older-samples-") as made:
        yield Path(made)


def curl(url: str, body: Any = None, *options: str) -> tuple[int, Any]:
    """Status and JSON. Without a body it gets, with one it posts it, as the samples do."""
    posting = () if body is None else ("-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(body))
    command = ["curl", "-sS", *posting, *options, "-w", "\n%{http_code}", url]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answer, _, status = told.rpartition("\n")
    return int(status), json.loads(answer)


def opened(up: Started) -> str:
    status, session = curl(
        f"{up.urls['runtime']}/session/create", {"tenant_id": TENANT, "user_id": "user_1", "context": {}}
    )
    assert (status, session["user_id"], session["tenant_id"]) == (201, "user_1", TENANT)
    return str(session["session_id"])


def uploaded(up: Started, session_id: str, path: str, **more: Any) -> tuple[int, Any]:
    """The sample of `content.upload`."""
    sample = {
        "intent_type": "content.upload",
        "realm": "content",
        "session_id": session_id,
        "tenant_id": TENANT,
        "payload": {"file_path": path},
    }
    return curl(f"{up.urls['runtime']}/intent/submit", {**sample, **more})


def ended(up: Started, execution_id: str) -> Any:
    """The execution, once its stream has ended by itself."""
    url = f"{up.urls['runtime']}/api/execution/{execution_id}/stream?tenant_id={TENANT}"
    subprocess.run(["curl", "-sSN", url], capture_output=True, check=True)
    status, execution = curl(f"{up.urls['runtime']}/execution/{execution_id}/status?tenant_id={TENANT}")
    assert status == 200, execution
    return execution


def test_a_file_of_the_machine_goes_in_by_the_first_sample(up: Started, folder: Path) -> None:
    (folder / "test.txt").write_text("The first sample.\n")
    session_id = opened(up)
    status, session = curl(f"{up.urls['runtime']}/session/{session_id}?tenant_id={TENANT}")
    assert (status, session["lifecycle_state"]) == (200, "active")
    status, accepted = uploaded(up, session_id, str(folder / "test.txt"))
    assert (status, accepted["status"]) == (202, "accepted")
    execution = ended(up, accepted["execution_id"])
    assert (execution["status"], execution["intent_type"]) == ("completed", "ingest_file")
    result = execution["result"]
    assert (result["filename"], result["size_bytes"], result["lifecycle_state"]) == ("test.txt", 18, "PENDING")
    content = f"{up.urls['runtime']}/api/artifacts/{result['file_id']}/content?tenant_id={TENANT}"
    read = subprocess.run(["curl", "-sS", content], capture_output=True, check=True)
    assert read.stdout == b"The first sample.\n"


def test_without_a_realm_and_by_its_newer_name_it_goes_in_as_well(up: Started) -> None:
    """From the working folder of the platform, by a relative path."""
    for name, more in (("README.md", {"realm": None}), ("CHANGELOG.md", {"intent_type": "ingest_file"})):
        status, accepted = uploaded(up, opened(up), name, **more)
        assert status == 202, accepted
        execution = ended(up, accepted["execution_id"])
        assert (execution["status"], execution["result"]["filename"]) == ("completed", name)
        assert execution["result"]["size_bytes"] == (ROOT / name).stat().st_size


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{folder}/nowhere.txt", "file_not_found"),
        ("{folder}", "file_not_found"),
        ("{folder}/link.txt", "file_path_refused"),
        ("{folder}/../../etc/passwd", "file_path_refused"),
        ("/etc/passwd", "file_path_refused"),
        ("/etc/no-such-file", "file_path_refused"),
        ("{data}/symphainy.db", "file_path_refused"),
        ("{data}/keys/development.jwk", "file_path_refused"),
    ],
)
def test_what_is_not_there_fails_and_what_is_elsewhere_is_refused(
    up: Started, folder: Path, path: str, code: str
) -> None:
    (folder / "link.txt").symlink_to("/etc/passwd")
    status, accepted = uploaded(up, opened(up), path.format(folder=folder, data=up.data))
    assert status == 202
    execution = ended(up, accepted["execution_id"])
    assert (execution["status"], execution["error"]["code"], execution["result"]) == ("failed", code, None)
    assert "root:" not in json.dumps(execution)


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"realm": "insights"}, 422, "validation_failed"),
        ({"tenant_id": None}, 422, "validation_failed"),
        ({"tenant_id": "tenant_2"}, 404, "session_required"),
        ({"parameters": {}}, 422, "validation_failed"),
        ({"intent_type": "content.uplaod"}, 404, "unknown_intent"),
    ],
)
def test_a_sample_with_a_mistake_is_told_so(
    up: Started, folder: Path, more: dict[str, Any], status: int, code: str
) -> None:
    (folder / "test.txt").write_text("x")
    told, problem = uploaded(up, opened(up), str(folder / "test.txt"), **more)
    assert (told, problem["code"]) == (status, code)


def test_the_status_is_that_of_the_tenant_that_is_named(up: Started) -> None:
    _, accepted = uploaded(up, opened(up), "README.md")
    path = f"{up.urls['runtime']}/execution/{accepted['execution_id']}/status"
    answers = [curl(f"{path}{query}") for query in ("", "?tenant_id=tenant_2")]
    assert [(status, problem["code"]) for status, problem in answers] == [
        (422, "validation_failed"),
        (404, "not_found"),
    ]


def test_at_the_public_address_no_file_of_the_machine_is_read(up: Started, folder: Path, run: Run) -> None:
    """By none of the ways by which parameters can come in, under none of its names."""
    (folder / "test.txt").write_text("x")
    token = run("token", "--tenant", TENANT, "--user", "user_1", "--json").json["access_token"]
    bearer = ("-H", f"Authorization: Bearer {token}")
    url = up.urls["experience"]
    _, session = curl(f"{url}/api/session/create", {}, *bearer)
    session_id = session["session_id"]
    parameters = {"file_path": str(folder / "test.txt")}
    answers = []
    for name in ("content.upload", "ingest_file", "register_file"):
        item = {"intent_type": name, "session_id": session_id, "parameters": parameters}
        pending = {**item, "target_artifact_id": "art_none"}
        answers += [
            curl(f"{url}/api/intent/submit", item, *bearer),
            curl(f"{url}/api/intent/submit-batch", {"intents": [item]}, *bearer),
            curl(f"{url}/api/intent/pending/create", pending, *bearer),
        ]
    form = ("-F", f"session_id={session_id}", "-F", f"parameters={json.dumps(parameters)}", "-F", "file=@README.md")
    answers.append(curl(f"{url}/v1/content/upload", None, *bearer, *form))
    for status, problem in answers:
        assert (status, problem["code"]) == (422, "validation_failed")
        assert [each["pointer"].endswith("/parameters/file_path") for each in problem["errors"]] == [True]
    assert curl(f"{url}/intent/submit", {"intent_type": "content.upload"}, *bearer)[0] == 404


# --- the oldest ways to start ---


def bare(monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """No home, no locale, no settings: only what finds the programs, and `environment`."""
    for name in [*os.environ]:
        if name not in ("PATH", "PYTHONPATH"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def test_main_py_listens_where_host_and_port_say_and_uses_the_redis_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (ROOT / ".venv" / "symphainy.stamp").exists():
        pytest.skip("main.py sets up a .venv of its own; run these tests by ./dev test")
    port = free_port()
    with start_valkey() as redis_url, redis.Redis.from_url(redis_url) as there:
        bare(monkeypatch, HOST="127.0.0.1", PORT=str(port), REDIS_URL=redis_url)
        with started("main.py", "--port", "0", "--data", str(tmp_path / "data"), log=tmp_path / "log") as up:
            assert up.urls["runtime"] == f"http://127.0.0.1:{port}"
            status, health = curl(f"{up.urls['runtime']}/health")
            assert (status, health["status"], health["checks"]["hot"]["status"]) == (200, "ok", "ok")
            assert health["checks"]["hot"]["detail"] == f"wrote and read at {redis_url.removesuffix('/0')}"
            session_id = opened(up)
            status, accepted = uploaded(up, session_id, "README.md")
            assert ended(up, accepted["execution_id"])["status"] == "completed"
            kept = {key.decode() for key in there.scan_iter("*")}
    assert {f"session:{TENANT}:{session_id}", f"execution:{TENANT}:{accepted['execution_id']}"} <= kept


@pytest.mark.parametrize(
    ("environment", "said", "remedy"),
    [
        ({"HOST": "0.0.0.0"}, "environment HOST), which is beyond loopback", "Listen on 127.0.0.1"),
        ({"SYMPHAINY_HOST": "0.0.0.0"}, "SYMPHAINY_HOST), which is beyond loopback", "SYMPHAINY_PROFILE=production"),
        ({"REDIS_URL": "redis://:s3cret@127.0.0.1:1/0"}, "127.0.0.1:1 cannot be used", "unset REDIS_URL"),
        ({"REDIS_URL": "http://127.0.0.1"}, "environment REDIS_URL", "symphainy config"),
        ({"PORT": "eighty"}, "environment PORT", "symphainy config"),
    ],
)
def test_what_cannot_be_done_stops_the_start_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str, remedy: str
) -> None:
    bare(monkeypatch, **environment)
    options = ["--data", str(tmp_path / "data"), "--port", "0"]
    if "PORT" not in environment:
        options += ["--runtime-port", "0"]
    ended = subprocess.run(
        [sys.executable, "-m", "symphainy", "up", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (FAILED, ""), ended.stderr
    told = " ".join(ended.stderr.split())
    assert said in told
    assert remedy in told
    assert "s3cret" not in told
    assert "Traceback" not in told
