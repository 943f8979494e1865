"""Every example of the documents runs, as a reader would type it, against a platform that `symphainy up` started."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from symphainy.cli.reference.vocabulary import EVENTS
from tests.documents import Block, blocks
from tests.integration.cli.starting import Started, started
from tests.source import ROOT

README = ROOT / "README.md"
GUIDES = ROOT / "docs" / "guide"
PATH = ROOT / "docs" / "testing" / "PATH_TO_WORKING_PLATFORM.md"
#: What a page tells the reader to do in another shell, or what runs these tests.
ELSEWHERE = re.compile(r"^(\./dev (up|test)|symphainy up)\b")
FILE_NAME = re.compile(r"\A# (\w+\.py)\n")
TIMEOUT_S = 110


def named_files(page: Path) -> dict[str, str]:
    """Python blocks that begin with the name of a file."""
    found = {}
    for block in blocks(page, "python"):
        if name := FILE_NAME.match(block.body):
            found[name[1]] = block.body
    return found


def script(page: Path) -> str:
    """The blocks of a page in their order, as one shell session."""
    return "\n".join(["set -euo pipefail", *(part for block in blocks(page) if (part := typed(block)))])


def typed(block: Block) -> str:
    match block.language:
        case "bash":
            return "\n".join(line for line in block.body.splitlines() if not ELSEWHERE.match(line))
        case "python" if not FILE_NAME.match(block.body):
            return f"python - <<'END_OF_PYTHON'\n{block.body}END_OF_PYTHON"
    return ""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder: what a clone has at its root, and the files that the pages say to write."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("README.md", "docs", "examples"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shutil.copy(ROOT / "examples" / "words_capability" / "words.py", folder)
    for page in (README, *GUIDES.glob("*.md")):
        for name, text in named_files(page).items():
            (folder / name).write_text(text, "utf-8")
    return folder


@pytest.fixture(scope="module")
def platform(desk: Path) -> Iterator[Started]:
    options = ["--port", "0", "--runtime-port", "0", "--data", str(desk.parent / "data")]
    own = ["--capability", "words:Words", "--capability", "tally:Letters"]
    with started("-m", "symphainy", "up", *options, *own, log=desk.parent / "log", cwd=desk) as running:
        yield running


def run(page: Path, desk: Path, platform: Started) -> str:
    """What the page's blocks print. Addresses and the sample's file are those of this test."""
    text = script(page).replace("./dev run ", "")
    text = text.replace("http://127.0.0.1:8001", platform.urls["experience"])
    text = text.replace("http://127.0.0.1:8000", platform.urls["runtime"])
    text = text.replace("/tmp/test.txt", str(desk / "test.txt"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYMPHAINY_")} | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "SYMPHAINY_DATA": str(desk.parent / "data"),
        "SYMPHAINY_URL": platform.urls["experience"],
        "XDG_CONFIG_HOME": str(desk.parent / "config"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        ["bash", "-c", text], cwd=desk, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{platform.log.read_text()[-2000:]}"
    return done.stdout


def test_the_blocks_of_the_front_page_run(desk: Path, platform: Started) -> None:
    printed = run(README, desk, platform)
    assert "parsed_content" in printed
    assert re.search(r"^1\. \d\.\d+ +\S+\.md, ", printed, re.MULTILINE), printed
    assert '"words": 6' in printed or "words  6" in printed


def test_the_guide_to_running_it_runs(desk: Path, platform: Started) -> None:
    printed = run(GUIDES / "run_it.md", desk, platform)
    assert '"status":"ok"' in printed.replace(" ", "")
    assert "requests_per_minute" in printed


def test_the_guide_to_capabilities_runs(desk: Path, platform: Started) -> None:
    printed = run(GUIDES / "write_a_capability.md", desk, platform)
    assert "letter_tally" in printed


def test_the_guide_to_experiences_runs(desk: Path, platform: Started) -> None:
    printed = run(GUIDES / "write_an_experience.md", desk, platform)
    assert "execution_completed" in printed
    assert "not_found" in printed


def test_the_path_to_a_working_platform_runs(desk: Path, platform: Started) -> None:
    printed = run(PATH, desk, platform).splitlines()
    told = ["ok", "active", "True", "completed", "READY", "ingest_file"]
    assert [line for line in printed if line in told] == [
        *("ok", "ok", "active", "True", "completed", "completed", "READY", "completed", "ingest_file")
    ]


def test_every_event_that_was_written_has_the_documented_payload(desk: Path, platform: Started) -> None:
    options = ["--url", platform.urls["experience"], "--data", str(desk.parent / "data")]
    symphainy("process", str(README), *options)
    printed = symphainy("wal", "events", "--tenant", "local", "--limit", "5000", "--json", *options)
    events = [json.loads(line) for line in printed.splitlines()]
    assert {"saga_completed", "step_completed", "artifact_transitioned"} <= {event["event_type"] for event in events}
    unknown = {
        f"{event['event_type']}: {field}"
        for event in events
        if event["event_type"] in EVENTS
        for field in event["payload"]
        if field not in EVENTS[event["event_type"]][1]
    }
    assert sorted(unknown) == []


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The example capability, built and installed from a separate distribution, without a network."""
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "examples" / "words_capability", source, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run(
        [*command, "--python", sys.executable, "--target", str(target), str(source)],
        env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "cache")},
        check=True,
        capture_output=True,
    )
    return target


def test_an_installed_capability_is_offered_documented_and_runs(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed))
    options = ["--port", "0", "--runtime-port", "0", "--data", str(tmp_path / "data")]
    with started("-m", "symphainy", "up", *options, log=tmp_path / "log", cwd=tmp_path) as running:
        own = ["--url", running.urls["experience"], "--data", str(tmp_path / "data"), "--json"]
        shown = symphainy("intents", "show", "count_words", *own)
        ran = symphainy("run", "count_words", "-p", "text=to be or not to be", "--follow", *own)
    symphainy("docs", "--root", str(tmp_path))
    assert json.loads(shown)["handler_name"] == "Words"
    assert json.loads(ran)["result"] == {"words": 6}
    assert "Count the words of a text." in (tmp_path / "docs/intent_contracts/count_words.md").read_text("utf-8")
    assert "[`count_words`](count_words.md)" in (tmp_path / "docs/intent_contracts/README.md").read_text("utf-8")


def symphainy(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "symphainy", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_main_py_starts_the_platform(tmp_path: Path) -> None:
    if not (ROOT / ".venv" / "symphainy.stamp").exists():
        pytest.skip("main.py sets up a .venv of its own; run these tests by ./dev test")
    options = ["--port", "0", "--runtime-port", "0", "--data", str(tmp_path / "data")]
    with started("main.py", *options, log=tmp_path / "log") as running:
        assert set(running.urls) == {"runtime", "experience"}
