"""The main job: files go in by `symphainy process`, and `symphainy search` finds what they say."""

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.starting import Run, Started, asking, started
from tests.source import ROOT

LETTER = "Dear Ann,\n\nThe turbine is delivered on the first of March.\n\nPayment follows within thirty days.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good files, one that breaks off, and one of a format that nobody knows."""
    found = tmp_path / "in"
    (found / "deeper").mkdir(parents=True)
    (found / "letter.txt").write_text(LETTER)
    (found / "people.csv").write_text("id,name\n1,ann\n2,bob\n3,eve,surplus\n")
    (found / "deeper" / "notes.md").write_text("# Turbines\n\nThe bearings of turbine seven are worn.\n")
    (found / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    (found / "program.exe").write_bytes(b"MZ")
    return found


def test_a_folder_goes_in_and_every_file_is_accounted_for(run: Run, folder: Path) -> None:
    told = run("process", str(folder), "--json")
    assert told.code == 1, "one file failed"
    files = {Path(each["path"]).name: each for each in told.json["files"]}
    assert {name: each["status"] for name, each in files.items()} == {
        "letter.txt": "completed",
        "people.csv": "completed",
        "notes.md": "completed",
        "broken.pdf": "failed",
    }
    letter = files["letter.txt"]
    made = {each["artifact_type"]: each for each in letter["artifacts"]}
    assert set(made) >= {"file", "parsed_content", "deterministic_embeddings"}
    assert {each["lifecycle_state"] for each in made.values()} == {"READY"}
    assert {each["artifact_id"] for each in letter["lineage"]["nodes"]} == {
        each["artifact_id"] for each in letter["artifacts"]
    }
    assert [each["intent_type"] for each in letter["executions"]] == [
        "ingest_file",
        "save_materialization",
        "parse_content",
        "create_deterministic_embeddings",
        "extract_embeddings",
    ]
    rows = files["people.csv"]["balance"]["rows"]
    assert (rows["total"], rows["delivered"], sum(rows["quarantined"].values())) == (4, 2, 1)
    broken = files["broken.pdf"]["error"]
    assert broken["code"].startswith("pdf_")
    assert broken["remedy"] == f"symphainy executions show {broken['details']['execution_id']} --steps"
    assert [(Path(each["path"]).name, each["reason"]) for each in told.json["skipped"]] == [
        ("program.exe", "no known format (.exe)")
    ]
    assert {each["executions"][0]["session_id"] for each in told.json["files"]} == {told.json["session_id"]}


def test_people_are_told_the_same_in_words(run: Run, folder: Path) -> None:
    told = run("process", str(folder / "people.csv"), str(folder / "broken.pdf"))
    assert told.code == 1
    lines = told.out.splitlines()
    assert lines[0].split() == ["FILE", "ARTIFACT", "TYPE", "STATE"]
    assert any("4 rows: 2 delivered, 1 ignored (header 1), 1 quarantined (" in line for line in lines)
    assert any(line.startswith("└─ parsed_content  art_") for line in lines)
    talk = told.err.splitlines()
    assert any(line.startswith(f"{folder / 'broken.pdf'}: pdf_") for line in talk)
    assert any(line.startswith("  try: symphainy executions show exe_") for line in talk)
    assert talk[-1] == 'search it: symphainy search "your question"'


def test_a_passage_that_is_found_is_an_exact_span_of_its_source(run: Run, folder: Path) -> None:
    assert run("process", str(folder / "letter.txt")).code == 0
    found = run("search", "when is the turbine delivered?", "--json").json["passages"]
    best = next(passage for passage in found if passage["filename"] == "letter.txt")
    place = best["position"]
    assert LETTER[place["char_start"] : place["char_end"]] == best["text"]
    told = run("search", "when is the turbine delivered?")
    assert told.code == 0
    assert any(
        "letter.txt, line" in line and f"characters {place['char_start']} to {place['char_end']}" in line
        for line in told.out.splitlines()
    )


def test_a_search_can_be_kept_within_one_file(run: Run, folder: Path) -> None:
    made = run("process", str(folder / "letter.txt"), str(folder / "deeper" / "notes.md"), "--json").json
    notes = next(each for each in made["files"] if each["path"].endswith("notes.md"))
    parsed = next(each["artifact_id"] for each in notes["artifacts"] if each["artifact_type"] == "parsed_content")
    found = run("search", "turbine", "--in", parsed, "--json").json["passages"]
    assert {passage["filename"] for passage in found} == {"notes.md"}


def test_what_is_found_nowhere_is_said(run: Run) -> None:
    told = run("search", "xylophonic quizzicality")
    assert (told.code, told.out) == (0, "")
    assert told.err.splitlines()[-1].startswith("try: symphainy process")


def test_nothing_of_a_document_reaches_the_terminal_as_a_command(run: Run, tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07 the zebra \x1b[2J\x9b31m [bold]crossing[/bold] \u202e"
    path = tmp_path / "\x1b[31mzebra\u202e.txt"
    path.write_text(hostile)
    for told in (run("process", str(path)), run("search", "zebra crossing"), run("search", "zebra", "--json")):
        assert told.code == 0, told.err
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(told.out + told.err)


def test_a_terminal_gets_bars_and_a_pipe_gets_data(up: Started, folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = ["process", str(folder / "letter.txt"), str(folder / "people.csv"), "--json"]
    with (folder.parent / "out").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "symphainy", *command],
            env={**os.environ, "SYMPHAINY_URL": up.urls["experience"], "SYMPHAINY_DATA": str(up.data), "TERM": "xterm"},
            cwd=ROOT,
            stdout=out,
            stderr=theirs,
        )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # the end of a terminal is an error
        while data := terminal.read(4096):
            shown += data
    assert process.wait(60) == 0, shown.decode()
    made = json.loads((folder.parent / "out").read_text())
    assert {each["status"] for each in made["files"]} == {"completed"}
    assert "all files" in shown.decode()
    assert "✓ letter.txt: " in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_one_session_can_be_worked_in_again(run: Run, folder: Path) -> None:
    session_id = run("sessions", "create", "--json").json["session_id"]
    made = run("process", str(folder / "letter.txt"), "--session", session_id, "--json").json
    assert made["session_id"] == session_id


def test_a_file_can_be_run_through_one_intent_only(run: Run, folder: Path) -> None:
    told = run(
        "run", "ingest_file", "--file", str(folder / "letter.txt"), "-p", "ui_name=A letter", "--follow", "--json"
    )
    assert (told.code, told.json["result"]["ui_name"]) == (0, "A letter")


def test_a_folder_with_nothing_to_take_is_a_misuse(run: Run, tmp_path: Path) -> None:
    (tmp_path / "program.exe").write_bytes(b"MZ")
    told = run("process", str(tmp_path))
    assert (told.code, told.out) == (2, "")
    assert "no known format" in told.err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_platform_that_is_killed_under_way_is_waited_for(tmp_path: Path) -> None:
    files = tmp_path / "in"
    files.mkdir()
    for number in range(12):
        (files / f"{number:02}.txt").write_text(f"The number of this letter is {number}.\n" * 50)
    port, data = free_port(), tmp_path / "data"
    options = ["--port", str(port), "--runtime-port", "0", "--data", str(data)]
    first = subprocess.Popen(
        [sys.executable, "-m", "symphainy", "up", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert first.stdout is not None
    assert first.stdout.readline().startswith("ready ")
    processing = subprocess.Popen(
        [sys.executable, "-m", "symphainy", "process", str(files), "--json"],
        env={**os.environ, "SYMPHAINY_URL": f"http://127.0.0.1:{port}", "SYMPHAINY_DATA": str(data)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert processing.stderr is not None
    told = iter(processing.stderr.readline, "")
    assert any("parse_content" in line for line in told)
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    with started("-m", "symphainy", "up", *options, log=tmp_path / "log"):
        out, err = processing.communicate(timeout=90)
    assert processing.returncode == 0, err
    assert {each["status"] for each in json.loads(out)["files"]} == {"completed"}


def test_the_samples_are_there_to_be_searched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    samples = [path for path in (ROOT / "symphainy" / "samples").iterdir() if path.is_file()]
    options = ["--port", "0", "--runtime-port", "0", "--data", str(data), "--sample"]
    with started("-m", "symphainy", "up", *options, log=tmp_path / "log") as platform:
        tail = subprocess.Popen(
            [sys.executable, "-m", "symphainy", "wal", "tail", "--type", "saga_completed", "-n", "100", "--json"],
            env={**os.environ, "SYMPHAINY_URL": platform.urls["experience"], "SYMPHAINY_DATA": str(data)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert tail.stdout is not None
        completed = {json.loads(tail.stdout.readline())["payload"]["saga_id"] for _ in samples}
        tail.kill()
        tail.communicate()
        found = asking(platform, "search", "pump bearings", "--json", data=data)
    assert len(completed) == len(samples) > 0
    assert json.loads(found.stdout)["passages"] != []


# --- the examples -------------------------------------------------------------------------------------------


def test_the_ten_lines_do_what_they_say(up: Started, run: Run, folder: Path) -> None:
    token = run("token", "--tenant", "ten-lines", "--user", "ada").out.strip()
    example = [str(ROOT / "examples" / "sdk_ten_lines.py"), up.urls["experience"], token, str(folder / "letter.txt")]
    told = subprocess.run([sys.executable, *example, "when is it delivered?"], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "The turbine is delivered on the first of March." in told.stdout


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs curl and bash")
def test_the_curl_samples_do_what_they_say(up: Started, run: Run, folder: Path) -> None:
    told = subprocess.run(
        [str(ROOT / "examples" / "curl.sh"), str(folder / "letter.txt"), "when is it delivered?"],
        env={
            **os.environ,
            "API": up.urls["experience"],
            "RUNTIME": up.urls["runtime"],
            "TOKEN": run("token", "--tenant", "curl", "--user", "ada").out.strip(),
        },
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    assert "The turbine is delivered on the first of March." in told.stdout
    assert "event: execution_completed" in told.stdout
