from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from symphainy.boot.phases import Platform
from symphainy.testing.platform import in_memory_platform
from tests.integration.capabilities.desk import CAPABILITIES, Desk, desk


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform in memory that reads local files below `tmp_path/open`."""
    (tmp_path / "open").mkdir()
    async with in_memory_platform(capabilities=CAPABILITIES, allowed_file_roots=(str(tmp_path / "open"),)) as platform:
        yield platform


@pytest.fixture
async def ada(city: Platform) -> Desk:
    return await desk(city)
