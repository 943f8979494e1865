"""The search index holds nothing of its own: what it lost is put back from the artifacts, while the platform runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import structlog

from symphainy.model import Artifact, LifecycleState
from symphainy.ports import ArtifactFilter, Store
from symphainy.public_works.search import SqliteSearch
from symphainy.runtime.attempt import attempt

PAGE = 500

_logger = structlog.get_logger("symphainy.boot")


@runtime_checkable
class Reindexes(Protocol):
    """A capability whose artifacts stand in the index."""

    async def reindex(self, tenant_id: str, artifacts: Sequence[Artifact]) -> int:
        """Put back what the index lacks of these READY artifacts of one tenant. Returns how many."""


async def reindex(
    store: Store, search: SqliteSearch, capabilities: Iterable[object], *, tenant_ids: Iterable[str]
) -> None:
    """Tenant by tenant. What fails is logged, and health says that the index is not whole until it is."""
    able = [each for each in capabilities if isinstance(each, Reindexes)]
    for tenant_id in tenant_ids:
        outcome = await attempt(_reindex_tenant(store, tenant_id, able), what="reindexing")
        if outcome.error is not None:
            _logger.error("reindexing_failed", tenant_id=tenant_id, exc_info=outcome.error)
            continue
        search.reindexed(tenant_id)
        _logger.info("reindexed", tenant_id=tenant_id, artifacts=outcome.value)


async def _reindex_tenant(store: Store, tenant_id: str, able: Sequence[Reindexes]) -> int:
    # All at once: vectors belong to passages of another artifact, wherever that stands in the list.
    artifacts: list[Artifact] = []
    before: int | None = None
    where = ArtifactFilter(lifecycle_states=(LifecycleState.READY,))
    while True:
        page = await store.tenant(tenant_id).artifacts(where, limit=PAGE, before=before)
        artifacts += page.items
        if page.next_cursor is None:
            break
        before = int(page.next_cursor)
    return sum([await each.reindex(tenant_id, artifacts) for each in able])
