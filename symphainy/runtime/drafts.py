"""Events before they are written: one function for each that has a shape worth naming."""

from __future__ import annotations

from typing import Any

import msgspec

from symphainy.model import (
    Artifact,
    ArtifactRef,
    Decision,
    Draft,
    Execution,
    Failure,
    JsonObject,
    PendingStatus,
)


def of_execution(execution: Execution, event_type: str, payload: JsonObject) -> Draft:
    return Draft(
        event_type=event_type,
        payload=payload,
        session_id=execution.session_id,
        execution_id=execution.execution_id,
    )


def transition(execution: Execution, artifact: Artifact, *, reason: str, **changes: str) -> Draft:
    """`changes`: `lifecycle_state` or `status`."""
    payload: JsonObject = {"artifact_id": artifact.artifact_id, "reason": reason, **changes}
    payload["from"] = {name: str(getattr(artifact, name)) for name in changes}
    return of_execution(execution, "artifact_transitioned", payload)


def refusal(execution: Execution, decision: Decision) -> Draft:
    """What a governor refused to a handler. For operators: it stands in the session's log, not in the stream of the
    execution, which the tenant shares.
    """
    payload = {
        "action": "handler",
        "allowed": False,
        "policy": decision.policy,
        "reason": decision.reason,
        "user_id": execution.user_id,
        "execution_id": execution.execution_id,
        "count": 1,
    }
    return Draft(event_type="policy_decided", payload=payload, session_id=execution.session_id)


def pending_again(execution: Execution, pending_id: str) -> Draft:
    """The execution had taken it up, and has not done it."""
    payload = {"pending_id": pending_id, "status": PendingStatus.PENDING.value, "execution_id": None}
    return of_execution(execution, "pending_intent_changed", payload)


def completed(
    execution: Execution, *, result: Any, artifacts: dict[str, ArtifactRef], unasked: tuple[str, ...]
) -> Draft:
    payload: JsonObject = {"result": result, "artifacts": msgspec.to_builtins(artifacts)}
    if unasked:
        payload["unasked_steps"] = list(unasked)
    return of_execution(execution, "execution_completed", payload)


def failed(execution: Execution, failure: Failure, *, artifacts: dict[str, ArtifactRef], tried: int) -> Draft:
    payload = {
        "error": msgspec.to_builtins(failure),
        "artifacts": msgspec.to_builtins(artifacts),
        "attempts": tried,
    }
    return of_execution(execution, "execution_failed", payload)


def cancelled(execution: Execution, *, by: str | None, reason: str | None) -> Draft:
    failure = Failure(
        code="cancelled",
        message=f"cancelled by {by or 'the platform'}" + (f": {reason}" if reason else ""),
        details={"by": by, "reason": reason},
    )
    return of_execution(execution, "execution_cancelled", {"error": msgspec.to_builtins(failure)})
