"""From a request to the one record that stands for it."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from symphainy.errors import FieldError, Invalid
from symphainy.model import Draft, JsonObject, derive_id
from symphainy.model.instant import moment
from symphainy.model.json import canonical
from symphainy.runtime.registry import IntentSpec

PRIORITY_MAX = 100
KEY_CHARS_MAX = 255


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the metadata of a submission asks of the engine."""

    priority: int = 0
    not_before: str | None = None
    timeout_s: float | None = None
    concurrency_key: str | None = None
    correlation_id: str | None = None
    saga: str | None = None


def options_of(metadata: JsonObject) -> Options:
    """Raises `Invalid`, with a pointer into the metadata."""
    try:
        options = msgspec.convert(metadata, Options)
    except msgspec.ValidationError as error:
        raise _wrong("", str(error)) from None
    if abs(options.priority) > PRIORITY_MAX:
        raise _wrong("/priority", f"{options.priority} is not from -{PRIORITY_MAX} to {PRIORITY_MAX}")
    if options.timeout_s is not None and not 0 < options.timeout_s < float("inf"):
        raise _wrong("/timeout_s", f"{options.timeout_s} is no positive number of seconds")
    for name in ("concurrency_key", "correlation_id"):
        if len(getattr(options, name) or "") > KEY_CHARS_MAX:
            raise _wrong(f"/{name}", f"longer than {KEY_CHARS_MAX} characters")
    if options.not_before is not None:
        try:
            moment(options.not_before)
        except ValueError as error:
            raise _wrong("/not_before", f"no instant: {error}") from None
    return options


def _wrong(pointer: str, detail: str) -> Invalid:
    return Invalid(f"the metadata is not valid: {detail}", errors=[FieldError(f"/metadata{pointer}", detail)])


class Ticket(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On whose behalf an intent runs, and where. `trace`: the `traceparent` of the request, where there are traces."""

    session_id: str
    solution_id: str
    user_id: str | None
    roles: tuple[str, ...]
    request_id: str | None
    metadata: JsonObject
    trace: str | None = None


def ticket_of(intent_payload: JsonObject) -> Ticket:
    """The ticket that an `intent_received` was admitted on: what a saga's next step runs on."""
    return msgspec.convert(intent_payload, Ticket, strict=False)


class SagaRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which step of which saga an execution is; `compensates`: it undoes that step."""

    saga_id: str
    step: str
    compensates: bool = False


def fingerprint(intent_type: str, session_id: str, solution_id: str, parameters: JsonObject) -> str:
    """Equal for equal requests, whatever their metadata."""
    return sha256(canonical([intent_type, session_id, solution_id, parameters])).hexdigest()


def received(
    spec: IntentSpec,
    parameters: JsonObject,
    ticket: Ticket,
    *,
    execution_id: str,
    intent_id: str,
    policy: JsonObject,
    options: Options | None = None,
    idempotency: JsonObject | None = None,
    saga: SagaRef | None = None,
) -> Draft:
    """`intent_received`: everything that is needed to run it, now or after a crash."""
    options = options or Options()
    payload: JsonObject = {
        "intent_id": intent_id,
        "intent_type": spec.intent_type,
        "parameters": parameters,
        "version": spec.declaration.version,
        "policy": policy,
        "priority": options.priority,
        **msgspec.to_builtins(ticket),
    }
    extra: JsonObject = {
        "not_before": options.not_before,
        "timeout_s": options.timeout_s,
        "concurrency_key": options.concurrency_key,
        "idempotency": idempotency,
        "saga": None if saga is None else msgspec.to_builtins(saga),
    }
    payload |= {name: value for name, value in extra.items() if value is not None}
    return Draft(event_type="intent_received", payload=payload, session_id=ticket.session_id, execution_id=execution_id)


def saga_ids(ref: SagaRef) -> tuple[str, str]:
    """Execution and intent id of a saga's step: derived, so that nothing is submitted twice."""
    kind = "undo" if ref.compensates else "do"
    return derive_id("exe", ref.saga_id, ref.step, kind), derive_id("int", ref.saga_id, ref.step, kind)
