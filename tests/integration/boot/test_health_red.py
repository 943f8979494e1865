"""Stop any one part, and health turns red and names it."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from symphainy.boot.phases import BLOB_FOLDER, Platform
from symphainy.capability import Capability
from symphainy.civic.city_manager import CityState
from symphainy.door import Health
from symphainy.errors import StoreFailed
from symphainy.ports import Probe
from symphainy.testing.platform import in_memory_platform, sqlite_platform
from symphainy.testing.servers import valkey


class Ailing(Capability):
    """Well until somebody says otherwise."""

    name = "ailing"
    ails: str | None = None

    async def probe(self) -> Probe:
        if self.ails is not None:
            raise StoreFailed(self.ails)
        return Probe(status="ok", detail="it is well")


@pytest.fixture
async def p(tmp_path: Path) -> AsyncIterator[Platform]:
    async with sqlite_platform(tmp_path, capabilities=[Ailing]) as running:
        yield running


def red(health: Health) -> dict[str, str]:
    return {name: check.status for name, check in health.checks.items() if check.status != "ok"}


async def test_all_is_green_when_all_is_well_and_every_part_was_asked(p: Platform) -> None:
    health = await p.health()
    assert (health.status, red(health)) == ("ok", {})
    assert set(health.checks) == {
        *("store", "hot", "blobs", "search", "identity", "worker", "city"),
        "capability:ailing",
    }


async def test_a_store_that_stopped_is_down(p: Platform) -> None:
    await p.infrastructure.store.close()
    health = await p.health()
    assert health.status == "down"
    assert red(health)["store"] == "down"


async def test_blobs_whose_folder_is_gone_are_down(p: Platform) -> None:
    shutil.rmtree(p.settings.data_dir / BLOB_FOLDER)
    health = await p.health()
    assert (health.status, red(health)) == ("down", {"blobs": "down"})


async def test_a_search_index_that_stopped_degrades_the_whole(p: Platform) -> None:
    await p.infrastructure.search.close()
    health = await p.health()
    assert (health.status, red(health)) == ("degraded", {"search": "down"})


async def test_a_redis_that_died_degrades_the_whole_and_comes_back() -> None:
    with valkey() as server:
        async with in_memory_platform(capabilities=[Ailing], redis_url=server.url) as p:
            assert (await p.health()).checks["hot"].status == "ok"
            server.kill()
            health = await p.health()
            assert (health.status, red(health)) == ("degraded", {"hot": "down"})


async def test_a_capability_that_cannot_work_degrades_the_whole_and_says_why(
    p: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ailing, "ails", "the model file is gone")
    health = await p.health()
    assert (health.status, red(health)) == ("degraded", {"capability:ailing": "down"})
    assert health.checks["capability:ailing"].detail == "the model file is gone"


async def test_a_worker_that_stopped_because_its_store_failed_is_down(p: Platform) -> None:
    p.graph.worker.failure = "StoreFailed: the disk failed"
    health = await p.health()
    assert (health.status, red(health)) == ("down", {"worker": "down"})
    assert health.checks["worker"].detail == "it stopped: StoreFailed: the disk failed"
    p.graph.worker.failure = None


async def test_a_platform_that_drains_is_down_for_those_who_want_to_come_in(p: Platform) -> None:
    await p.drain()
    health = await p.health()
    assert p.state is CityState.DRAINING
    assert red(health) == {"city": "down"}
    assert health.checks["city"].detail.startswith("draining: the platform is draining")


async def test_the_public_address_of_production_shows_no_folders(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Ailing], profile="production") as p:
        inside = await p.runtime_app.service.health()
        outside = await p.experience_app.service.health()
    assert str(tmp_path) in str(inside)
    assert str(tmp_path) not in str(outside)
    assert {name: check.status for name, check in outside.checks.items()} == {
        name: check.status for name, check in inside.checks.items()
    }
