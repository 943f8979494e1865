"""Health is asked of the things themselves, within a time, and never green by default."""

import asyncio
from collections.abc import Mapping

import pytest

from symphainy import __version__
from symphainy.boot.health import Ask, HealthDesk
from symphainy.door import Check, Health
from symphainy.errors import StoreFailed
from symphainy.ports import Probe
from symphainy.testing.clock import VirtualClock


def desk(
    probes: Mapping[str, Ask], *, vital: frozenset[str] = frozenset({"store"}), timeout_s: float = 5
) -> HealthDesk:
    return HealthDesk(profile="development", clock=VirtualClock(), timeout_s=timeout_s, probes=probes, vital=vital)


async def fine() -> Probe:
    return Probe(status="ok", detail="read and written")


async def test_what_is_well_is_ok_with_the_answer_of_each() -> None:
    assert await desk({"store": fine, "search": fine}).health() == Health(
        status="ok",
        version=__version__,
        profile="development",
        checks={
            "store": Check(status="ok", detail="read and written", latency_ms=0.0),
            "search": Check(status="ok", detail="read and written", latency_ms=0.0),
        },
    )


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (StoreFailed("the disk is full: free some space"), "the disk is full: free some space"),
        (OSError(5, "Input/output error", "/secret/path"), "OSError"),
    ],
)
async def test_a_vital_probe_that_fails_is_down_and_tells_no_inside(error: Exception, detail: str) -> None:
    async def broken() -> Probe:
        raise error

    health = await desk({"store": broken, "search": fine}).health()
    assert (health.status, health.checks["store"].status, health.checks["store"].detail) == ("down", "down", detail)
    assert health.checks["search"].status == "ok"


async def test_a_capability_that_is_down_degrades_the_whole_and_shows_red_itself() -> None:
    async def broken() -> Probe:
        return Probe(status="down", detail="no model")

    health = await desk({"store": fine, "capability:words": broken}).health()
    assert (health.status, health.checks["capability:words"].status) == ("degraded", "down")


async def test_a_probe_that_hangs_is_down_in_time() -> None:
    async def hanging() -> Probe:
        await asyncio.Event().wait()
        raise AssertionError

    health = await desk({"store": hanging}, timeout_s=0.01).health()
    assert health.checks["store"].detail == "the probe of store took longer than 0.01 s"
    assert health.status == "down"


async def test_questions_that_come_together_share_one_answer_and_later_ones_ask_again() -> None:
    asked = 0
    go = asyncio.Event()

    async def counted() -> Probe:
        nonlocal asked
        asked += 1
        await go.wait()
        return Probe(status="ok", detail=f"asked {asked} times")

    the_desk = desk({"store": counted})
    together = [asyncio.create_task(the_desk.health()) for _ in range(50)]
    await asyncio.sleep(0)
    together[0].cancel()
    go.set()
    answers = await asyncio.gather(*together[1:])
    assert {answer.checks["store"].detail for answer in answers} == {"asked 1 times"}
    assert (await the_desk.health()).checks["store"].detail == "asked 2 times"


async def test_probes_run_beside_each_other() -> None:
    both = asyncio.Barrier(2)

    async def meeting() -> Probe:
        await both.wait()
        return Probe(status="ok", detail="met")

    assert (await desk({"store": meeting, "search": meeting}).health()).status == "ok"
