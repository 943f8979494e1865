"""MemoryStore under the suite of its port."""

from collections.abc import AsyncIterator

import pytest_asyncio

from symphainy.public_works.memory import MemoryStore
from symphainy.testing.clock import VirtualClock
from symphainy.testing.conformance.store import StoreRules
from symphainy.testing.ids import SeededIds


class TestMemoryStore(StoreRules):
    @pytest_asyncio.fixture
    async def store(self, clock: VirtualClock) -> AsyncIterator[MemoryStore]:
        made = MemoryStore(clock=clock, ids=SeededIds())
        await made.open()
        yield made
        await made.close()
