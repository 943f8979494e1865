"""`symphainy wal` on the files of a platform, running or not."""

import asyncio
import json
from pathlib import Path

import apsw
import pytest

from symphainy.cli.main import program
from symphainy.model import Draft
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.ids import SystemIds
from symphainy.public_works.sqlite import SqliteStore


def store_in(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "symphainy.db", clock=SystemClock(), ids=SystemIds())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store with a log of six events of one tenant, and one of another's."""

    async def fill() -> None:
        store = store_in(tmp_path)
        await store.open()
        for number in range(6):
            noted = Draft(event_type="noted" if number % 2 else "remarked", payload={"number": number})
            await store.tenant("acme").write([noted])
        await store.tenant("globex").write([Draft(event_type="noted", payload={})])
        await store.close()

    asyncio.run(fill())
    return tmp_path


def altered(data: Path, sql: str) -> None:
    connection = apsw.Connection(str(data / "symphainy.db"))
    connection.execute(sql)
    connection.close()


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_log_that_is_whole_is_said_to_be(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(["wal", "verify", "--data", str(data)]) == 0
    acme, globex = told(capsys)
    assert acme.startswith("acme: 6 events, whole, head ")
    assert globex.startswith("globex: 1 events, whole, head ")


@pytest.mark.parametrize(
    ("sql", "position", "problem"),
    [
        ("UPDATE events SET payload = '{\"number\":9}' WHERE tenant_id = 'acme' AND position = 3", 3, "altered"),
        ("DELETE FROM events WHERE tenant_id = 'acme' AND position = 4", 4, "missing"),
        ("DELETE FROM events WHERE tenant_id = 'acme' AND position = 6", 6, "missing"),
        ("UPDATE events SET event_type = 'other' WHERE tenant_id = 'acme' AND position = 2", 2, "altered"),
        (
            "UPDATE events SET position = -position WHERE tenant_id = 'acme' AND position IN (2, 3);"
            "UPDATE events SET position = 5 + position WHERE tenant_id = 'acme' AND position < 0",
            2,
            "reordered",
        ),
    ],
)
def test_the_first_event_that_is_wrong_is_named(
    data: Path, capsys: pytest.CaptureFixture[str], sql: str, position: int, problem: str
) -> None:
    altered(data, sql)
    assert program(["wal", "verify", "--data", str(data), "--json"]) == 1
    verdict, untouched = json.loads(capsys.readouterr().out)
    assert (verdict["tenant_id"], verdict["position"]) == ("acme", position)
    assert problem in verdict["problem"]
    assert untouched["problem"] is None


def test_the_log_of_a_running_platform_is_read_beside_it(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def beside() -> int:
        store = store_in(data)
        await store.open()
        await store.tenant("acme").write([Draft(event_type="noted", payload={"late": True})])
        code = await asyncio.to_thread(program, ["wal", "verify", "--data", str(data), "--tenant", "acme"])
        await store.close()
        return code

    assert asyncio.run(beside()) == 0
    assert told(capsys)[0].startswith("acme: 7 events, whole")


def test_events_are_filtered_and_limited(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["wal", "events", "--data", str(data), "--tenant", "acme", "--json"]
    assert program([*arguments, "--type", "noted", "--limit", "2"]) == 0
    assert [json.loads(line)["payload"] for line in told(capsys)] == [{"number": 1}, {"number": 3}]
    assert program([*arguments, "--after", "4"]) == 0
    assert [json.loads(line)["position"] for line in told(capsys)] == [5, 6]


def test_of_several_logs_one_has_to_be_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(["wal", "events", "--data", str(data)]) == 2
    assert "acme, globex" in capsys.readouterr().err


def test_a_row_that_the_log_does_not_explain_is_found(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = {
        "user_id": "ann",
        "solution_id": "default",
        "is_anonymous": False,
        "context": {},
        "metadata": {},
        "expires_at": "2026-11-21T16:00:00.000Z",
    }

    async def open_session() -> None:
        store = store_in(data)
        await store.open()
        await store.tenant("acme").write([Draft(event_type="session_created", payload=opened, session_id="ses_1")])
        await store.close()

    asyncio.run(open_session())
    assert program(["wal", "replay", "--data", str(data)]) == 0
    altered(data, "UPDATE sessions SET doc = replace(doc, '\"ann\"', '\"eve\"')")
    capsys.readouterr()
    assert program(["wal", "replay", "--data", str(data), "--json"]) == 1
    acme, _ = json.loads(capsys.readouterr().out)
    (difference,) = acme["differences"]
    assert (difference["kind"], difference["id"]) == ("session", "ses_1")
    assert (difference["stored"]["user_id"], difference["replayed"]["user_id"]) == ("eve", "ann")
    assert program(["wal", "replay", "--data", str(data), "--session", "ses_1"]) == 0
    assert "session  ses_1" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["verify", "replay"])
def test_a_folder_without_a_store_is_named(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program(["wal", verb, "--data", str(tmp_path)]) == 1
    assert f"there is no store at {tmp_path / 'symphainy.db'}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered(tmp_path, "CREATE TABLE x (y)")
    assert program(["wal", "verify", "--data", str(tmp_path)]) == 1
    assert "is no Symphainy store" in capsys.readouterr().err


def test_a_store_of_a_newer_version_is_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    altered(data, "PRAGMA user_version = 999")
    assert program(["wal", "verify", "--data", str(data)]) == 1
    assert "has schema 999" in capsys.readouterr().err
