"""The command line against a platform that `symphainy up` started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.starting import Run, Started, asking, started
from tests.source import ROOT

# --- what clients do ----------------------------------------------------------------------------------------


def test_the_catalogue_is_listed_and_shown(run: Run) -> None:
    listed = run("intents", "list")
    assert listed.code == 0
    assert "double" in [line.split()[0] for line in listed.out.splitlines()]
    shown = run("intents", "show", "double", "--json")
    assert shown.json["intent_type"] == "double"


def test_an_intent_is_submitted_and_left_to_run(run: Run) -> None:
    told = run("run", "double", "-p", "number=4", "--json")
    assert (told.code, told.json["status"]) == (0, "accepted")
    assert run("executions", "show", told.json["execution_id"], "--json").json["intent_type"] == "double"


def test_an_intent_is_followed_to_its_result(run: Run) -> None:
    told = run("run", "double", "-p", "number=21", "--follow", "--json")
    assert (told.code, told.json["result"]) == (0, {"doubled": 42})
    assert [line.split()[2] for line in told.err.splitlines() if line[2:3] == ":"][-1] == "execution_completed"


def test_text_stays_text_and_everything_else_is_json(run: Run) -> None:
    told = run("run", "write", "-p", "text=123", "-p", "times=2", "--follow", "--json")
    artifact_id = told.json["artifacts"]["writing"]["artifact_id"]
    assert run("artifacts", "open", artifact_id).out == "123123"


def test_a_refusal_ends_with_its_code_and_what_to_try(run: Run) -> None:
    told = run("run", "refuse", "--follow", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "too_early")
    assert told.err.splitlines()[-2:] == [
        "error: not before noon",
        f"try: symphainy executions show {told.json['execution_id']} --steps",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "error", "remedy"),
    [
        (["run", "doubel"], 1, "no intent named 'doubel'", "symphainy intents list"),
        (["run", "double", "-p", "number=x"], 1, "/parameters/number", "symphainy run --help"),
        (["run", "double", "-p", "number"], 2, "not of the form KEY=VALUE", "symphainy run --help"),
        (["run", "double", "--file", __file__], 2, "takes no file", "symphainy run --help"),
        (["run", "double", "--session", "ses_no"], 1, "ses_no", "symphainy sessions create"),
        (["executions", "show", "exe_no"], 1, "no execution exe_no", "symphainy executions list"),
        (["executions", "list", "--limit", "0"], 2, "--limit", "symphainy executions list --help"),
        (["artifacts", "open", "art_no"], 1, "art_no", "symphainy artifacts list"),
        (["artifacts", "list", "--token", "nonsense"], 1, "token", "symphainy token"),
        (["artifacts", "list", "--url", "nonsense"], 2, "no address", "symphainy artifacts list --help"),
        (["intents", "list", "--url", "http://127.0.0.1:1"], 1, "cannot be reached", "symphainy up"),
        (["intents", "list", "--url", "https://far.example"], 1, "there is no token", "symphainy token"),
        (["artifacts", "frobnicate"], 2, "frobnicate", "symphainy artifacts --help"),
        (["process", "/nowhere/at/all"], 2, "/nowhere/at/all", "symphainy process --help"),
        (["token", "--tenant", "A B", "--user", "u"], 2, "no tenant id", "symphainy token --help"),
        (["token", "--tenant", "a", "--user", "u", "--role", "boss"], 2, "viewer, member", "symphainy token --help"),
        (["token", "--tenant", "a", "--user", "u", "--role", "anonymous"], 2, "--role", "symphainy token --help"),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_try(
    run: Run, arguments: list[str], code: int, error: str, remedy: str
) -> None:
    told = run(*arguments)
    assert (told.code, told.out) == (code, "")
    assert error in told.err
    assert told.err.splitlines()[-1].startswith(f"try: {remedy}")
    assert "Traceback" not in told.err


def test_a_session_is_opened_shown_and_closed(run: Run) -> None:
    earlier = run("sessions", "create", "--json").json["session_id"]
    session_id = run("sessions", "create", "--json").json["session_id"]
    newest = run("sessions", "list", "--limit", "2", "--json").json["sessions"]
    assert [each["session_id"] for each in newest] == [session_id, earlier]
    assert session_id in run("sessions", "list").out
    assert run("sessions", "show", session_id, "--json").json["lifecycle_state"] == "active"
    assert run("sessions", "close", session_id, "--json").json["lifecycle_state"] == "closed"
    assert run("run", "double", "-p", "number=1", "--session", session_id).code == 1


def test_an_execution_is_cancelled(run: Run) -> None:
    execution_id = run("run", "linger", "--json").json["execution_id"]
    told = run("executions", "cancel", execution_id, "--reason", "enough", "--json")
    assert (told.code, told.json["status"]) == (0, "cancelled")
    again = run("executions", "cancel", execution_id)
    assert again.code == 1


def test_artifacts_are_listed_shown_and_written_out(run: Run, tmp_path: Path) -> None:
    made = run("run", "write", "-p", "text=hello", "--follow", "--json").json
    artifact_id = made["artifacts"]["writing"]["artifact_id"]
    listed = run("artifacts", "list", "--session", made["session_id"], "--json").json
    assert [each["artifact_id"] for each in listed["artifacts"]] == [artifact_id]
    assert "naïve name.txt" in run("artifacts", "show", artifact_id).out
    assert run("artifacts", "open", artifact_id, "--output", str(tmp_path / "out.txt")).code == 0
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir() if path.is_file()] == [("out.txt", "hello")]
    assert run("artifacts", "lineage", artifact_id).out == f"writing  {artifact_id}  READY  <--\n"


def test_a_download_that_cannot_be_written_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    made = run("run", "write", "-p", "text=hello", "--follow", "--json").json
    artifact_id = made["artifacts"]["writing"]["artifact_id"]
    told = run("artifacts", "open", artifact_id, "--output", str(tmp_path / "no" / "folder.txt"))
    assert told.code == 1
    assert "No such file or directory" in told.err


def test_the_log_is_told_by_the_platform_and_by_its_files(run: Run) -> None:
    execution_id = run("run", "double", "-p", "number=1", "--follow", "--json").json["execution_id"]
    asked = run("wal", "events", "--execution", execution_id, "--json").out.splitlines()
    data = os.environ["SYMPHAINY_DATA"]
    read = run("wal", "events", "--execution", execution_id, "--json", "--data", data, "--tenant", "local")
    assert read.out.splitlines() == asked
    assert [json.loads(line)["event_type"] for line in asked][-1] == "execution_completed"
    assert run("wal", "verify").code == 0
    assert run("wal", "replay").code == 0


def test_a_token_is_minted_for_whoever_is_named_and_can_be_kept(run: Run) -> None:
    printed = run("token", "--tenant", "globex", "--user", "gus")
    assert (printed.code, len(printed.out.split(".")), printed.err) == (0, 3, "")
    assert run("intents", "list", "--token", printed.out.strip()).code == 0
    assert run("wal", "events", "--token", printed.out.strip()).code == 1, "a member may not read the log"
    kept = run("token", "--tenant", "globex", "--user", "gus", "--role", "operator", "--save")
    assert (kept.code, kept.out) == (0, "")
    path = Path(os.environ["XDG_CONFIG_HOME"], "symphainy", "tokens.json")
    assert path.stat().st_mode & 0o777 == 0o600
    session_id = run("sessions", "create", "--json").json["session_id"]
    assert run("sessions", "show", session_id, "--json").json["tenant_id"] == "globex"
    assert run("wal", "events").code == 0


def test_a_tenant_that_is_not_the_tokens_is_refused(run: Run) -> None:
    token = run("token", "--tenant", "globex", "--user", "gus", "--role", "operator").out.strip()
    told = run("wal", "events", "--token", token, "--tenant", "acme")
    assert told.code == 1
    assert "acme" in told.err


def test_the_doctor_finds_a_running_platform_in_order(run: Run) -> None:
    told = run("doctor", "--json")
    found = {finding["name"]: finding["status"] for finding in told.json}
    assert (told.code, found["platform"], found["log"], found["keys"]) == (0, "ok", "ok", "ok")


def test_the_doctor_finds_a_key_that_others_can_read(run: Run, tmp_path: Path) -> None:
    keys = tmp_path / "data" / "keys"
    keys.mkdir(parents=True)
    (keys / "development.jwk").write_text("{}")
    (keys / "development.jwk").chmod(0o644)
    told = run("doctor", "--data", str(tmp_path / "data"))
    assert told.code == 1
    assert f"try: chmod 600 {keys / 'development.jwk'}" in told.out


def test_settings_are_shown_with_their_origin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMPHAINY_PORT", "9001")
    rows = {row["name"]: row for row in run("config", "--json").json}
    assert (rows["port"]["value"], rows["port"]["origin"]) == ("9001", "environment SYMPHAINY_PORT")


def test_a_setting_that_does_not_exist_stops_the_start(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMPHAINY_PROT", "9001")
    told = run("up")
    assert told.code == 1
    assert "SYMPHAINY_PROT" in told.err
    assert "SYMPHAINY_PORT" in told.err


# --- what serves --------------------------------------------------------------------------------------------


def test_the_services_run_apart(tmp_path: Path) -> None:
    data = tmp_path / "data"
    run_apart = ["-m", "symphainy", "runtime", "--port", "0", "--data", str(data)]
    with started(*run_apart, log=tmp_path / "runtime.log") as runtime:
        joined = ["-m", "symphainy", "experience", "--runtime-url", runtime.urls["runtime"], "--port", "0"]
        with started(*joined, log=tmp_path / "experience.log") as experience:
            asked = asking(experience, "sessions", "create", "--json", data=data)
            assert (asked.returncode, json.loads(asked.stdout)["tenant_id"]) == (0, "local"), asked.stderr
            assert (set(runtime.urls), set(experience.urls)) == ({"runtime"}, {"experience"})


def test_a_port_that_is_taken_is_named(up: Started, run: Run, tmp_path: Path) -> None:
    port = up.urls["experience"].rpartition(":")[2]
    told = subprocess.run(
        [sys.executable, "-m", "symphainy", "up", "--port", port, "--runtime-port", "0", "--data", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert f"127.0.0.1:{port}" in told.stderr
    assert told.stderr.splitlines()[-1] == "try: symphainy doctor"


def test_data_that_another_platform_owns_is_left_alone(up: Started) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "symphainy", "up", "--port", "0", "--runtime-port", "0", "--data", str(up.data)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert f"pid {up.process.pid}" in told.stderr


def test_a_host_beyond_this_machine_is_refused_in_development(up: Started) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "symphainy", "up", "--host", "0.0.0.0"], cwd=ROOT, capture_output=True, text=True
    )
    assert (told.returncode, told.stdout) == (1, "")
    assert "SYMPHAINY_PROFILE=production" in told.stderr


def test_a_capability_of_ones_own_is_found_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text((ROOT / "examples" / "words_capability" / "words.py").read_text())
    options = ["--port", "0", "--runtime-port", "0", "--data", "data", "--capability", "words:Words"]
    # Without -P, Python itself would look in the working folder.
    with started("-P", "-m", "symphainy", "up", *options, log=tmp_path / "log", cwd=tmp_path) as platform:
        asked = asking(platform, "intents", "show", "count_words", "--json", data=tmp_path / "data")
        assert json.loads(asked.stdout)["capability"] == "words", asked.stderr


def test_following_the_log_ends_with_ctrl_c(up: Started) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "symphainy", "wal", "tail", "-n", "1", "--json"],
        env={**os.environ, "SYMPHAINY_URL": up.urls["experience"], "SYMPHAINY_DATA": str(up.data)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["position"] > 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "")


def test_a_reader_that_hangs_up_is_no_fault(up: Started) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "symphainy", "wal", "tail", "-n", "1000"],
        env={**os.environ, "SYMPHAINY_URL": up.urls["experience"], "SYMPHAINY_DATA": str(up.data)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert asking(up, "sessions", "create", data=up.data).returncode == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(20) == 1


def test_help_is_one_sentence_and_one_example_for_every_verb(run: Run) -> None:
    from typer.main import get_command

    from symphainy.cli.main import app

    def walk(command: Any, path: list[str]) -> Iterator[list[str]]:
        commands = getattr(command, "commands", None)
        if commands is None:
            yield path
        else:
            for name, child in commands.items():
                yield from walk(child, [*path, name])

    for path in walk(get_command(app), []):
        told = run(*path, "--help")
        assert told.code == 0
        assert "Example: " in told.out, path
        assert f"symphainy {' '.join(path)}" in told.out.split("Example: ")[1], path
