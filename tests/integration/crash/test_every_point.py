"""Kill the platform just before and just after everything that it makes durable: nobody outside can tell afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.crash.client import Client
from tests.integration.crash.crashing import scene
from tests.integration.crash.visit import Job

#: The machine may be busy with other tests.
pytestmark = pytest.mark.timeout(600)

#: Session, upload, five intents each taken up and ended, and what each of them keeps on the way.
DURABLE_IN_THE_MAIN_JOB = 30
LINES = ("word,light\n", "lantern,warm\n", "moon,cold\n", "lamp,warm\n")


@dataclass(frozen=True)
class RunErrands:
    """A saga of errands."""

    saga: str

    def submit(self, client: Client, session_id: str) -> str:
        body = {
            "intent_type": "run_errand",
            "session_id": session_id,
            "parameters": {"word": "lantern"},
            "metadata": {"saga": self.saga},
        }
        answer = client.call("POST", "/api/intent/submit", body, Idempotency_Key="the-errand")
        return str(answer["execution_id"])

    def look(self, client: Client, session_id: str) -> Any:
        return None


@dataclass(frozen=True)
class IngestToSearch:
    """The main job: a file goes in, and can be searched."""

    def submit(self, client: Client, session_id: str) -> str:
        content = "".join(LINES).encode()
        answer = client.upload(session_id, "lights.csv", content, saga="ingest_to_search", key="the-file")
        return str(answer["execution_id"])

    def look(self, client: Client, session_id: str) -> Any:
        body = {"intent_type": "query_data", "session_id": session_id, "parameters": {"query": "what is warm?"}}
        found = client.call("POST", "/api/intent/submit", body, Prefer="wait=20", Idempotency_Key="the-question")
        return {"status": found["status"], "result": found["result"]}


JOBS: dict[str, Callable[[], Job]] = {
    "errands": lambda: RunErrands("errands"),
    "errands_undone": lambda: RunErrands("errands_undone"),
    "ingest_to_search": IngestToSearch,
}


def test_a_crash_after_anything_that_becomes_durable_in_the_main_job_changes_nothing(tmp_path: Path) -> None:
    played = scene(tmp_path, IngestToSearch)
    # What lies on disk before something becomes durable is what lay there after the thing before it.
    after = [number for number, what in enumerate(played.points, 1) if what.startswith("after")]
    assert len(after) >= DURABLE_IN_THE_MAIN_JOB
    assert played.failures_of(after) == {}


def test_a_crash_in_a_saga_that_is_undone_changes_nothing(tmp_path: Path) -> None:
    played = scene(tmp_path, JOBS["errands_undone"])
    assert played.failures_of(range(1, len(played.points) + 1, 4)) == {}


@pytest.mark.deep
@pytest.mark.parametrize("name", JOBS)
def test_a_crash_at_any_point_changes_nothing_that_the_caller_can_see(tmp_path: Path, name: str) -> None:
    played = scene(tmp_path, JOBS[name])
    assert played.failures_of(range(1, len(played.points) + 1)) == {}
