import asyncio

import pytest
from starlette.types import Message, Receive


@pytest.fixture
def never() -> Receive:
    """A client that says nothing and stays."""

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return receive
