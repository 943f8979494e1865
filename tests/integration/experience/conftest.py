from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from symphainy.wire.server import HttpServer
from tests.services import Platform, client_of, platform, served


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[Platform]:
    """A runtime in memory."""
    async with platform(tmp_path) as running:
        yield running


@pytest.fixture
async def experience(city: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """Experience over that runtime, as nobody in particular."""
    async with client_of(city.experience_service().create_app()) as client:
        yield client


@pytest.fixture
async def server(city: Platform) -> AsyncIterator[HttpServer]:
    """Experience behind a real socket."""
    async with served(city.experience_service().create_app()) as running:
        yield running
