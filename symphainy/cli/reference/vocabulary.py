"""docs/reference/errors.md and events.md: the words that answers and the log are written in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from symphainy import errors
from symphainy.cli.reference.contracts import GENERATED, Contract
from symphainy.cli.reference.markdown import code, codes, paragraphs, table
from symphainy.model import RESERVED_EVENTS, TERMINAL_EVENTS

_TREE_LINE = re.compile(r"^(?P<indent> *)(?P<name>[A-Z]\w+) {2,}(?P<code>\(.*?\)|\S+) +(?P<meaning>.+)$")

#: What each type of the runtime's own says, and the fields of its payload.
EVENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "session_created": (
        "a session was opened",
        ("user_id", "solution_id", "is_anonymous", "context", "metadata", "expires_at"),
    ),
    "session_updated": (
        "context or metadata changed: merged, or with `replace` the context set whole",
        ("context", "metadata", "replace"),
    ),
    "session_closed": ("a session was closed", ()),
    "intent_received": (
        "an intent was accepted: all that is needed to run it, and the policies that allowed it",
        (
            *("intent_id", "intent_type", "parameters", "version", "policy", "priority", "session_id"),
            *("solution_id", "user_id", "roles", "request_id", "metadata", "not_before", "timeout_s"),
            *("concurrency_key", "idempotency", "saga"),
        ),
    ),
    "intent_refused": (
        "an intent was not accepted, by which policy and why",
        ("action", "allowed", "policy", "reason", "user_id", "count", "intent_type"),
    ),
    "execution_started": ("a worker has claimed it and runs the handler", ("attempt", "owner", "fence")),
    "execution_waiting": ("a running execution waits, for what and until when", ("waiting_on",)),
    "execution_progress": ("how far the handler is", ("fraction", "message")),
    "execution_state_set": ("what the handler keeps with its execution", ("state",)),
    "execution_completed": ("the handler returned", ("result", "artifacts", "unasked_steps")),
    "execution_failed": (
        "the handler refused or raised, and is not tried again",
        ("error", "artifacts", "attempts"),
    ),
    "execution_cancelled": ("somebody cancelled it", ("error",)),
    "step_completed": (
        "a step has its result, for ever: here, or in a blob when it is large or bytes",
        ("name", "attempt", "emitted", "result", "result_blob", "is_bytes"),
    ),
    "step_failed": (
        "a step raised; `final` when it is not tried again",
        ("name", "attempt", "error", "final", "reason"),
    ),
    "artifact_registered": (
        "an artifact exists; what it becomes when the execution completes",
        ("artifact", "call", "becomes"),
    ),
    "artifact_transitioned": (
        "an artifact moved to another state",
        ("artifact_id", "reason", "lifecycle_state", "status", "from"),
    ),
    "pending_intent_created": (
        "a person queued work",
        ("pending_id", "intent_type", "target_artifact_id", "parameters"),
    ),
    "pending_intent_changed": ("queued work was taken up", ("pending_id", "status", "execution_id")),
    "saga_created": ("a saga exists", ("saga_id", "saga_name", "steps", "context")),
    "saga_step_added": ("a saga has one more step", ("saga_id", "saga_name", "step")),
    "saga_started": ("its first step was submitted", ("saga_id", "saga_name")),
    "saga_step_completed": (
        "a step ended well; `next` names the execution that follows, or is null",
        ("saga_id", "saga_name", "step", "result", "next"),
    ),
    "saga_step_failed": ("a step did not end well", ("saga_id", "saga_name", "step", "error")),
    "saga_compensating": (
        "what was done is being undone; `next` names the execution that begins it",
        ("saga_id", "saga_name", "step", "next", "reason"),
    ),
    "saga_step_compensated": (
        "a step was undone; `next` names the execution that undoes the one before it, or is null",
        ("saga_id", "saga_name", "step", "next"),
    ),
    "saga_compensated": ("everything was undone", ("saga_id", "saga_name", "step", "next")),
    "saga_completed": ("its last step ended", ("saga_id", "saga_name", "step", "next")),
    "saga_failed": (
        "it ended without its goal, and with nothing to undo or no way to",
        ("saga_id", "saga_name", "state", "step", "next", "reason"),
    ),
    "policy_decided": (
        "a governor refused a verified caller; `count` of them within a second",
        ("action", "allowed", "policy", "reason", "user_id", "count"),
    ),
    "snapshot": ("of streams only: the execution as it stands", ("the execution",)),
}


Statuses = Mapping[type[errors.SymphainyError], int]


def errors_page(registered: Sequence[Contract], statuses: Statuses) -> str:
    """`statuses`: the HTTP status of each error; of those that are not listed, that of the nearest above."""
    return paragraphs(
        GENERATED,
        "# Errors",
        "One tree, the same in a handler, in an answer and in the SDK. `code` is stable; the message is"
        " for people."
        " Over HTTP an error is `application/problem+json`: `type`, `title`, `status`, `detail`, `instance`,"
        " `code`, `request_id`, `retryable`, and for a request that does not fit `errors: [{pointer,"
        " detail}]`.",
        table(["error", "code", "status", "try again", "when"], _tree_rows(statuses)),
        "Of the HTTP edge alone:",
        table(
            ["error", "code", "status", "try again", "when"],
            [
                (code(kind.__name__), code(kind.code), str(status), "yes" if kind.retryable else "", _first_line(kind))
                for kind, status in statuses.items()
                if kind.__module__ != errors.__name__
            ],
        ),
        "## Refusals of intents",
        "A handler says no with `IntentRefused(code, message, details)`. The execution fails with that code.",
        table(
            ["intent", "code", "when"],
            [
                (
                    f"[{code(contract.intent_type)}](../intent_contracts/{contract.intent_type}.md)",
                    code(name),
                    when,
                )
                for contract in registered
                for name, when in contract.bound.declaration.errors.items()
            ],
        ),
    )


def _tree_rows(statuses: Statuses) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for line in (errors.__doc__ or "").splitlines():
        found = _TREE_LINE.match(line)
        if found:
            kind: type[errors.SymphainyError] = getattr(errors, found["name"])
            is_own = found["code"].startswith("(")
            rows.append(
                (
                    "› " * (len(found["indent"]) // 2) + code(found["name"]),
                    found["code"].strip("()") if is_own else code(kind.code),
                    str(next(statuses[each] for each in kind.__mro__ if each in statuses)),
                    "yes" if kind.retryable else "",
                    found["meaning"],
                )
            )
    return rows


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def events_page(registered: Sequence[Contract]) -> str:
    return paragraphs(
        GENERATED,
        "# Events",
        "What the log is written in. Every event has `position` (without gaps within a tenant), `seq`"
        " (within an"
        " execution, else null), `event_id`, `event_type`, `tenant_id`, `session_id`, `execution_id`,"
        " `timestamp`"
        " and `payload`. A stream ends with "
        + codes(sorted(TERMINAL_EVENTS)).replace(", `execution_failed`", " or `execution_failed`")
        + ".",
        "## Of the runtime",
        "The runtime alone writes these; a handler's events must be called something else.",
        table(
            ["event", "says", "payload"],
            [(code(name), *_described(name)) for name in sorted(RESERVED_EVENTS & EVENTS.keys())],
        ),
        "Reserved and not written yet: " + codes(sorted(RESERVED_EVENTS - EVENTS.keys())) + ".",
        "## Of handlers",
        table(
            ["event", "emitted by"],
            [
                (
                    code(event),
                    f"[{code(contract.intent_type)}](../intent_contracts/{contract.intent_type}.md)",
                )
                for contract in registered
                for event in contract.bound.declaration.events
            ],
        ),
    )


def _described(name: str) -> tuple[str, str]:
    says, payload = EVENTS[name]
    return says, codes(payload)
