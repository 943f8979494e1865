"""The promises of the SDK, on every transport it has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio

from symphainy.boot.config import load
from symphainy.boot.phases import Platform, platform
from symphainy.errors import NotFound, Unauthenticated
from symphainy.experience import ExperienceService
from symphainy.model import Caller, Role, Session
from symphainy.public_works.clock import SystemClock
from symphainy.sdk import ExperienceSDK, SyncExperienceSDK
from symphainy.wire.app import ServiceApp
from symphainy.wire.server import HttpServer
from tests.integration.sdk.rules import SdkOf, SdkRules

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("data")
    settings = load(
        overrides={
            "data_dir": folder,
            "drain_timeout_s": 0.1,
            "capability": ["tests.integration.sdk.probing:Probing"],
        },
        environ={},
        directory=folder,
    )
    async with platform(settings) as p:
        yield p


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def experience_url(running: Platform) -> AsyncIterator[str]:
    async with served(running.experience_app) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runtime_url(running: Platform) -> AsyncIterator[str]:
    async with served(running.runtime_app) as url:
        yield url


@asynccontextmanager
async def served(app: ServiceApp) -> AsyncIterator[str]:
    server = HttpServer(app, host="127.0.0.1", port=0, now_ms=SystemClock().now_ms)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def session(sdk_of: SdkOf) -> Session:
    return await sdk_of("acme").create_session()


def token_of(p: Platform, tenant_id: str) -> str:
    assert p.issuer is not None
    return p.issuer.mint(tenant_id, "ann", [Role.OPERATOR]).access_token


class TestInProcess(SdkRules):
    @pytest.fixture
    def sdk_of(self, running: Platform) -> SdkOf:
        def sdk_of(tenant_id: str) -> ExperienceSDK:
            caller = Caller(tenant_id=tenant_id, user_id="ann", roles=frozenset({Role.OPERATOR}))
            return ExperienceSDK(running.door_for(caller))

        return sdk_of


class TestOverHttp(SdkRules):
    @pytest_asyncio.fixture(loop_scope="module")
    async def sdk_of(self, running: Platform, experience_url: str) -> AsyncIterator[SdkOf]:
        async with ExperienceSDK.connect(experience_url) as anybody:
            yield lambda tenant_id: anybody.with_token(token_of(running, tenant_id))


class TestThroughASeparateExperience(SdkRules):
    """Experience that reaches the Runtime over HTTP, as `symphainy experience --runtime-url` does."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def sdk_of(self, running: Platform, runtime_url: str) -> AsyncIterator[SdkOf]:
        async with served(ExperienceService(runtime_url).create_app()) as url, ExperienceSDK.connect(url) as anybody:
            yield lambda tenant_id: anybody.with_token(token_of(running, tenant_id))


class TestRuntimeWithoutAToken(SdkRules):
    """The Runtime of the development profile, which serves this machine without a token."""

    @pytest_asyncio.fixture(loop_scope="module")
    async def sdk_of(self, runtime_url: str) -> AsyncIterator[SdkOf]:
        async with AsyncExitStack() as stack:
            found: dict[str, ExperienceSDK] = {}

            def sdk_of(tenant_id: str) -> ExperienceSDK:
                if tenant_id not in found:
                    found[tenant_id] = ExperienceSDK.connect(runtime_url, tenant_id=tenant_id)
                    stack.push_async_callback(found[tenant_id].aclose)
                return found[tenant_id]

            yield sdk_of


async def test_an_anonymous_session_opens_itself_and_nothing_else(running: Platform, experience_url: str) -> None:
    async with ExperienceSDK.connect(experience_url) as nobody:
        opened = await nobody.create_anonymous_session(context={"from": "a visitor"})
        visitor = nobody.with_token(opened.access_token)
        session_id = opened.session.session_id
        assert await visitor.get_session(session_id) == opened.session
        done = await visitor.run("double", {"number": 2}, session_id=session_id)
        assert done.result == {"doubled": 4}
        with pytest.raises(NotFound):
            await nobody.with_token(token_of(running, "acme")).get_session(session_id)
        with pytest.raises(Unauthenticated):
            await nobody.get_session(session_id)


async def test_the_plain_sdk_works_beside_a_running_loop(running: Platform, experience_url: str) -> None:
    token = token_of(running, "acme")

    def use() -> tuple[object, list[str]]:
        with SyncExperienceSDK.connect(experience_url, token=token) as sdk:
            session = sdk.create_session()
            done = sdk.run("double", {"number": 5}, session_id=session.session_id)
            return done.result, [event.event_type for event in sdk.subscribe(done.execution_id)]

    result, seen = await asyncio.to_thread(use)
    assert (result, seen) == ({"doubled": 10}, ["snapshot", "execution_completed"])
