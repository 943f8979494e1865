"""The town, as it stands and as it stands again after a restart."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
import pytest_asyncio

from symphainy.boot.phases import Platform
from symphainy.capabilities.content import ContentCapability
from symphainy.capabilities.insights import InsightsCapability
from symphainy.experience import ExperienceService
from symphainy.model import Role
from symphainy.testing.platform import in_memory_platform, sqlite_platform
from tests.integration.tenancy.prying import Prying
from tests.integration.tenancy.town import (
    STRANGER,
    TENANT,
    Canaries,
    Town,
    Visitor,
    bearer,
    identifiers,
    kind_of,
    move_in,
    settle,
    whole,
)
from tests.services import client_of, served

CAPABILITIES = (ContentCapability, InsightsCapability, Prying)
CANARIES = Canaries()


@dataclass(frozen=True, kw_only=True)
class _Addresses:
    """Clients of the services; `apart` is an Experience that reaches the Runtime over HTTP."""

    experience: httpx2.AsyncClient
    runtime: httpx2.AsyncClient
    apart: httpx2.AsyncClient
    sockets: tuple[str, ...]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["as it stands", "after a restart"])
async def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    if request.param == "as it stands":
        async with in_memory_platform(capabilities=CAPABILITIES) as platform, _addresses(platform) as at:
            held, things = await _settled(platform, at)
            yield await _town(platform, at, held, things)
        return
    folder = tmp_path_factory.mktemp("town")
    async with sqlite_platform(folder, capabilities=CAPABILITIES) as platform, _addresses(platform) as at:
        held, things = await _settled(platform, at)
    async with sqlite_platform(folder, capabilities=CAPABILITIES) as platform, _addresses(platform) as at:
        yield await _town(platform, at, held, things)


@asynccontextmanager
async def _addresses(platform: Platform) -> AsyncIterator[_Addresses]:
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(served(platform.runtime_app))
        experience = await stack.enter_async_context(served(platform.experience_app))
        apart = await stack.enter_async_context(served(ExperienceService(runtime.url).create_app()))
        yield _Addresses(
            experience=await stack.enter_async_context(client_of(platform.experience_app)),
            runtime=await stack.enter_async_context(client_of(platform.runtime_app)),
            apart=await stack.enter_async_context(httpx2.AsyncClient(base_url=apart.url, timeout=60)),
            sockets=tuple(f"ws://127.0.0.1:{server.port}" for server in (experience, apart)),
        )


def _insider(platform: Platform, at: _Addresses, name: str, user_id: str, *roles: Role) -> Visitor:
    return Visitor(name=name, client=at.experience, headers=bearer(platform, TENANT, user_id, *roles))


def _ada(platform: Platform, at: _Addresses) -> Visitor:
    return _insider(platform, at, "ada", CANARIES.at("user"))


def _chief(platform: Platform, at: _Addresses) -> Visitor:
    return _insider(platform, at, "chief", CANARIES.at("operator"), Role.OPERATOR)


async def _settled(platform: Platform, at: _Addresses) -> tuple[Mapping[str, str], Mapping[str, list[str]]]:
    ada, chief = _ada(platform, at), _chief(platform, at)
    held = await settle(ada, chief, CANARIES)
    things: dict[str, list[str]] = {}
    for thing in sorted({*identifiers(await whole(chief))}):
        things.setdefault(kind_of(thing), []).append(thing)
    # Nothing takes the id of an event: a few stand for all. The worker is the platform's own.
    things["evt"] = things["evt"][:2]
    things.pop("wrk")
    return held, things


async def _town(platform: Platform, at: _Addresses, held: Mapping[str, str], things: Mapping[str, list[str]]) -> Town:
    strangers = [
        Visitor(name=name, client=client, headers=bearer(platform, STRANGER, user, role), canaries=CANARIES)
        for name, client, user, role in (
            ("eve", at.experience, "eve", Role.ADMIN),
            ("eve at the Runtime", at.runtime, "eve", Role.ADMIN),
            ("eve at an Experience apart", at.apart, "eve", Role.ADMIN),
            ("mallory", at.experience, "mallory", Role.MEMBER),
        )
    ]
    strangers.append(Visitor(name="a developer", client=at.runtime, headers={}, tenant_id=STRANGER, canaries=CANARIES))
    opened = (await at.experience.post("/api/session/create-anonymous")).json()
    strangers.append(
        Visitor(
            name="somebody anonymous",
            client=at.experience,
            headers={"Authorization": f"Bearer {opened['access_token']}"},
            session=opened["session_id"],
            canaries=CANARIES,
        )
    )
    bea = _insider(platform, at, "bea", "bea")
    for newcomer in (*strangers, bea):
        await move_in(newcomer)
    nobody = Visitor(name="nobody", client=at.experience, headers={}, canaries=CANARIES, own=dict(strangers[0].own))
    return Town(
        platform=platform,
        canaries=CANARIES,
        ada=_ada(platform, at),
        bea=bea,
        chief=_chief(platform, at),
        strangers={each.name: each for each in (*strangers, nobody)},
        sockets=at.sockets,
        things=things,
        held=held,
    )
