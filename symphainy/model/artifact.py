"""The canonical output of an intent."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject


class LifecycleState(StrEnum):
    """Where the stored thing stands. `LIFECYCLE_MOVES` says what may follow what."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"
    ARCHIVED = "ARCHIVED"
    DELETED = "DELETED"


LIFECYCLE_MOVES: dict[LifecycleState, frozenset[LifecycleState]] = {
    LifecycleState.PENDING: frozenset({LifecycleState.READY, LifecycleState.FAILED}),
    LifecycleState.READY: frozenset({LifecycleState.ARCHIVED}),
    LifecycleState.FAILED: frozenset(),
    LifecycleState.ARCHIVED: frozenset({LifecycleState.READY, LifecycleState.DELETED}),
    LifecycleState.DELETED: frozenset(),
}


class ArtifactStatus(StrEnum):
    """Where the business stands on it. An accepted version never changes."""

    DRAFT = "draft"
    ACCEPTED = "accepted"
    OBSOLETE = "obsolete"


STATUS_MOVES: dict[ArtifactStatus, frozenset[ArtifactStatus]] = {
    ArtifactStatus.DRAFT: frozenset({ArtifactStatus.ACCEPTED, ArtifactStatus.OBSOLETE}),
    ArtifactStatus.ACCEPTED: frozenset({ArtifactStatus.OBSOLETE}),
    ArtifactStatus.OBSOLETE: frozenset(),
}


class ProducedBy(msgspec.Struct, frozen=True, kw_only=True):
    intent: str
    execution_id: str


class Materialization(msgspec.Struct, frozen=True, kw_only=True):
    """One stored form of an artifact. `uri` is `blob:<sha256>` for content in the blob store."""

    materialization_id: str
    storage_type: str
    uri: str
    format: str
    size_bytes: int
    sha256: str
    created_at: Instant


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    artifact_id: str
    artifact_type: str
    tenant_id: str
    session_id: str | None
    produced_by: ProducedBy
    lifecycle_state: LifecycleState
    status: ArtifactStatus = ArtifactStatus.DRAFT
    version: int = 1
    semantic_descriptor: JsonObject = {}
    semantic_payload: Any = None
    parent_artifacts: tuple[str, ...] = ()
    materializations: tuple[Materialization, ...] = ()
    ordinal: int
    """Position of its `artifact_registered` in the tenant's log."""
    created_at: Instant
    updated_at: Instant
