"""A whole platform for a test: the same phases, engine and governors as in production, on stores of its own.

async with in_memory_platform(capabilities=[Words]) as p:
    sdk = p.sdk_for(caller("acme", "ada"))
    session = await sdk.create_session()
    run = await sdk.run("count_words", {"text": "a b"}, session_id=session.session_id)
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from symphainy.boot.config import Settings, StoreKind
from symphainy.boot.phases import Platform, platform
from symphainy.capability import Capability
from symphainy.model import Caller, Role
from symphainy.ports import Clock, Ids


def caller(tenant_id: str = "acme", user_id: str = "ada", *roles: Role) -> Caller:
    """A verified caller, as if its token had just been checked. Without roles: a member."""
    return Caller(tenant_id=tenant_id, user_id=user_id, roles=frozenset(roles or (Role.MEMBER,)))


@asynccontextmanager
async def in_memory_platform(
    *,
    capabilities: Sequence[type[Capability]] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    **settings: Any,
) -> AsyncIterator[Platform]:
    """Keeps nothing. `capabilities` are all it has; None finds them as `symphainy up` does.

    `settings` are fields of `Settings`. Blobs and the search index lie in a temporary folder until the end.
    """
    with tempfile.TemporaryDirectory(prefix="symphainy-") as folder:
        found = Settings(**{"store": StoreKind.MEMORY, "data_dir": Path(folder), **_in_tests, **settings})
        async with platform(found, capabilities=capabilities, clock=clock, ids=ids) as running:
            yield running


@asynccontextmanager
async def sqlite_platform(
    data_dir: Path,
    *,
    capabilities: Sequence[type[Capability]] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    **settings: Any,
) -> AsyncIterator[Platform]:
    """Keeps everything in `data_dir`, as in production: the next platform there finds it."""
    found = Settings(**{"data_dir": data_dir, **_in_tests, **settings})
    async with platform(found, capabilities=capabilities, clock=clock, ids=ids) as running:
        yield running


#: Free ports, should the services be served; and nobody waits for handlers that a test left hanging.
_in_tests: dict[str, Any] = {"port": 0, "runtime_port": 0, "drain_timeout_s": 0.1}
