"""The ground a runtime stands on: a store in memory and virtual time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.runtimes import Ground, ground


@pytest_asyncio.fixture
async def base(tmp_path: Path) -> AsyncIterator[Ground]:
    """Time passes by itself whenever everybody waits for it."""
    async with ground(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def still(tmp_path: Path) -> AsyncIterator[Ground]:
    """Time passes when the test says so."""
    async with ground(tmp_path, auto=False) as made:
        yield made
