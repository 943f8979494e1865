"""A platform starts whole or not at all, and whoever stops it is named."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import structlog
from pydantic import BaseModel

from symphainy.boot.config import Settings
from symphainy.boot.phases import STORE_FILE, Platform, platform
from symphainy.capability import Capability, ExecutionContext, IntentResult, StateSurface, intent
from symphainy.civic.city_manager import CityState
from symphainy.errors import Conflict, Limited, StartupFailed
from symphainy.model import Caller, Role
from symphainy.ports import PublicWorks
from symphainy.testing.platform import caller, in_memory_platform, sqlite_platform
from symphainy.testing.servers import free_port


class CountWords(BaseModel):
    text: str


class WordCount(BaseModel):
    words: int


class Words(Capability):
    name = "words"

    @intent("count_words", result=WordCount)
    async def count_words(self, ctx: ExecutionContext, params: CountWords) -> IntentResult:
        """Count the words of a text."""
        return IntentResult(result=WordCount(words=await ctx.step("count", lambda: len(params.text.split()))))


class WordsAgain(Capability):
    name = "words_again"

    @intent("count_words", result=WordCount)
    async def count_words(self, ctx: ExecutionContext, params: CountWords) -> IntentResult:
        """Count them another way."""
        return IntentResult(result=WordCount(words=0))


class Sleepy(Capability):
    name = "sleepy"

    async def start(self) -> None:
        raise OSError("the model file is gone")


async def test_a_capability_is_made_with_the_state_of_the_platform_to_read() -> None:
    made: list[Capability] = []

    class Curious(Words):
        name = "curious"

        def __init__(self, *, public_works: PublicWorks, state_surface: StateSurface) -> None:
            super().__init__(public_works=public_works, state_surface=state_surface)
            made.append(self)

    async with in_memory_platform(capabilities=[Curious]) as p:
        session = await p.sdk_for(caller()).create_session(context={"hall": 3})
        (curious,) = made
        assert curious.state_surface is not None
        found = await curious.state_surface.get_session_state(session.session_id, session.tenant_id)
        assert found == {"hall": 3}
        with pytest.raises(Conflict, match=r"ctx\.state_surface"):
            await curious.state_surface.set_session_state(session.session_id, session.tenant_id, {})


@pytest.fixture
def log() -> Iterator[list[dict[str, Any]]]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as entries:
        yield entries  # type: ignore[misc]
    structlog.reset_defaults()


async def count_words(p: Platform, text: str) -> Any:
    sdk = p.sdk_for(caller())
    session = await sdk.create_session()
    return (await sdk.run("count_words", {"text": text}, session_id=session.session_id)).result


async def test_a_platform_in_memory_runs_an_intent() -> None:
    async with in_memory_platform(capabilities=[Words]) as p:
        assert await count_words(p, "one two three") == {"words": 3}
        assert (await p.health()).status == "ok"


async def test_what_a_platform_on_disk_did_is_there_for_the_next(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Words]) as p:
        assert await count_words(p, "one two") == {"words": 2}
    async with sqlite_platform(tmp_path, capabilities=[Words]) as p:
        page = await p.sdk_for(caller()).list_executions()
        assert [run.result for run in page.items] == [{"words": 2}]


async def test_the_phases_come_in_order_with_their_times_and_the_sdk_answers_in_the_third(
    log: list[dict[str, Any]],
) -> None:
    async with in_memory_platform(capabilities=[Words]) as p:
        assert p.state is CityState.OPEN
    told = [(entry["event"], entry.get("phase")) for entry in log if entry["event"] != "store_ready"]
    assert told == [
        ("phase_ready", "Φ1"),
        ("phase_ready", "Φ2"),
        ("capability_ready", None),
        ("sdk_answers", None),
        ("phase_ready", "Φ3"),
        ("phase_ready", "Φ4"),
        ("phase_left", "Φ4"),
        ("draining", None),
        ("phase_left", "Φ3"),
        ("phase_left", "Φ2"),
        ("phase_left", "Φ1"),
    ]
    assert all(entry["seconds"] >= 0 for entry in log if "phase" in entry)
    assert [entry["store"] for entry in log if entry["event"] == "store_ready"] == ["store", "hot", "blobs", "search"]


async def test_everything_that_is_installed_starts() -> None:
    async with in_memory_platform() as p:
        realms = {realm.realm for realm in await p.sdk_for(caller()).list_realms()}
        assert {"content", "insights"} <= realms


async def failure(**settings: Any) -> StartupFailed:
    capabilities = settings.pop("capabilities", [Words])
    with pytest.raises(StartupFailed) as caught:
        async with platform(Settings(**settings), capabilities=capabilities):
            raise AssertionError("it started")
    return caught.value


async def test_a_redis_that_cannot_be_reached_stops_the_boot_and_is_named(tmp_path: Path) -> None:
    port = free_port()
    error = await failure(data_dir=tmp_path, redis_url=f"redis://:hunter2@127.0.0.1:{port}/0")
    assert error.service == "redis"
    assert f"127.0.0.1:{port}" in error.message
    assert "unset REDIS_URL" in error.remedy
    assert "hunter2" not in error.message


async def test_a_redis_that_says_nothing_stops_the_boot_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        error = await failure(data_dir=tmp_path, redis_url=url, startup_timeout_s=0.3)
    assert error.service == "hot"
    assert error.message.startswith("hot did not answer within 0.3 s")


async def test_a_data_folder_that_cannot_be_written_stops_the_boot_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    error = await failure(data_dir=tmp_path / "file" / "data")
    assert error.service == "data"
    assert str(tmp_path / "file" / "data") in error.message
    assert "SYMPHAINY_DATA" in error.remedy


async def test_a_store_of_a_newer_version_stops_the_boot_and_is_not_touched(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Words]):
        pass
    file = tmp_path / STORE_FILE
    connection = apsw.Connection(str(file))
    connection.pragma("user_version", 9999)
    connection.close()
    error = await failure(data_dir=tmp_path)
    assert "9999" in error.message
    assert "Upgrade" in error.remedy
    connection = apsw.Connection(str(file))
    assert connection.pragma("user_version") == 9999
    connection.close()


async def test_a_file_that_is_no_store_stops_the_boot(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_bytes(b"this is no database" * 100)
    assert str(tmp_path / STORE_FILE) in (await failure(data_dir=tmp_path)).message


async def test_one_process_owns_the_data(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Words]):
        error = await failure(data_dir=tmp_path)
    assert f"(pid {os.getpid()})" in error.message
    assert "Stop that process" in error.remedy


async def test_a_key_that_others_can_read_stops_the_boot(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Words]):
        pass
    (key,) = (tmp_path / "keys").iterdir()
    key.chmod(0o644)
    error = await failure(data_dir=tmp_path)
    assert (error.service, error.remedy) == ("identity", f"chmod 600 {key}")


@pytest.mark.parametrize(
    ("kinds", "service", "said"),
    [
        ([Words, WordsAgain], "WordsAgain", "'count_words' is registered already, by Words"),
        ([Words, Words], "Words", "a capability 'words' is registered already"),
        ([Sleepy], "sleepy", "the capability 'sleepy' did not start: OSError: the model file is gone"),
    ],
)
async def test_a_capability_that_fails_stops_the_boot_and_is_named(
    tmp_path: Path, kinds: list[type[Capability]], service: str, said: str
) -> None:
    error = await failure(data_dir=tmp_path, capabilities=kinds)
    assert error.service == service
    assert said in error.message


async def test_a_named_capability_that_is_not_there_stops_the_boot(tmp_path: Path) -> None:
    error = await failure(data_dir=tmp_path, capabilities=None, capability=["nothing_of_this_name:Words"])
    assert error.service == "nothing_of_this_name:Words"
    assert "No module named 'nothing_of_this_name'" in error.message


async def test_a_boot_that_failed_leaves_nothing_open(tmp_path: Path, log: list[dict[str, Any]]) -> None:
    await failure(data_dir=tmp_path, capabilities=[Sleepy])
    assert [(e["phase"], e["service"]) for e in log if e["event"] == "phase_failed"] == [("Φ3", "sleepy")]
    async with sqlite_platform(tmp_path, capabilities=[Words]) as p:
        assert await count_words(p, "one") == {"words": 1}


async def test_a_token_of_the_development_issuer_is_verified_by_the_verifier_of_production() -> None:
    async with in_memory_platform(capabilities=[Words]) as p:
        assert p.issuer is not None
        token = p.issuer.mint("acme", "ada", [Role.OPERATOR]).access_token
        assert p.verifier.verify(token) == caller("acme", "ada", Role.OPERATOR)


async def test_production_trusts_nobody_it_was_not_told_to_trust() -> None:
    async with in_memory_platform(capabilities=[Words], profile="production") as p:
        health = await p.health()
        assert p.issuer is None
        assert (health.status, health.checks["identity"].status) == ("degraded", "degraded")


async def test_the_limits_of_production_are_in_force() -> None:
    async with in_memory_platform(capabilities=[Words], profile="production", requests_per_minute=3) as p:
        door = p.door_for(caller())
        for _ in range(3):
            await door.list_intents()
        with pytest.raises(Limited, match="more than 3 requests a minute"):
            await door.list_intents()
        await p.door_for(caller("acme", "another")).list_intents()


async def test_nothing_of_the_first_caller_of_the_boot_is_in_any_log(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Words]) as p:
        assert await p.infrastructure.store.tenants() == ()


def stranger(p: Platform) -> Caller:
    assert p.issuer is not None
    return p.issuer.newcomer()


async def test_an_anonymous_newcomer_gets_a_session_of_its_own() -> None:
    async with in_memory_platform(capabilities=[Words]) as p:
        session = await p.door_for(stranger(p)).create_session()
        assert session.is_anonymous
        assert session.tenant_id.startswith("anon-")
