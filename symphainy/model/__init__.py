"""Frozen values and pure folds. Nothing here touches a clock, a disk or a network."""

from symphainy.model.artifact import Artifact, ArtifactStatus, LifecycleState, Materialization, ProducedBy
from symphainy.model.caller import Caller, Role
from symphainy.model.decision import Decision, allow, refuse
from symphainy.model.event import RESERVED_EVENTS, TERMINAL_EVENTS, Draft, Event
from symphainy.model.execution import ArtifactRef, EmittedEvent, Execution, Failure, Progress, Status
from symphainy.model.ids import derive_id, tenant_id_problem
from symphainy.model.intent import Intent, IntentInfo, Submitted
from symphainy.model.json import JsonObject
from symphainy.model.page import Page
from symphainy.model.pending import PendingIntent, PendingStatus
from symphainy.model.saga import Saga, SagaState, SagaStepRecord
from symphainy.model.session import Session, SessionState
from symphainy.model.step import StepRecord

__all__ = [
    "RESERVED_EVENTS",
    "TERMINAL_EVENTS",
    "Artifact",
    "ArtifactRef",
    "ArtifactStatus",
    "Caller",
    "Decision",
    "Draft",
    "EmittedEvent",
    "Event",
    "Execution",
    "Failure",
    "Intent",
    "IntentInfo",
    "JsonObject",
    "LifecycleState",
    "Materialization",
    "Page",
    "PendingIntent",
    "PendingStatus",
    "ProducedBy",
    "Progress",
    "Role",
    "Saga",
    "SagaState",
    "SagaStepRecord",
    "Session",
    "SessionState",
    "Status",
    "StepRecord",
    "Submitted",
    "allow",
    "derive_id",
    "refuse",
    "tenant_id_problem",
]
