"""The capabilities that come with the platform, at the public address."""

from __future__ import annotations

from pathlib import Path

from symphainy.boot.config import load
from symphainy.boot.phases import platform
from symphainy.wire.development import MARK
from tests.services import client_of, opened


async def test_no_intent_reads_a_path_on_this_machine_for_a_client_of_experience(tmp_path: Path) -> None:
    settings = load(overrides={"store": "memory", "data_dir": tmp_path}, environ={}, directory=tmp_path)
    (tmp_path / "secret.txt").write_text("hunter2")
    async with platform(settings) as city:
        assert city.configured.issuer is not None
        token = city.configured.issuer.mint("acme", "ada").access_token
        async with client_of(city.experience_app, headers={"Authorization": f"Bearer {token}"}) as client:
            catalogue = (await client.get("/api/intents")).json()
            taking_paths = [each for each in catalogue if "file_path" in each["parameters_schema"]["properties"]]
            assert [each["intent_type"] for each in taking_paths] == ["ingest_file"]
            for each in taking_paths:
                assert each["parameters_schema"]["properties"]["file_path"][MARK] is True
                for name in (each["intent_type"], *each["aliases"]):
                    body = {
                        "intent_type": name,
                        "session_id": await opened(client, {}),
                        "parameters": {"file_path": str(tmp_path / "secret.txt")},
                    }
                    answer = await client.post("/api/intent/submit", json=body, headers={"Prefer": "wait=5"})
                    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/parameters/file_path")
