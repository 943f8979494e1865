"""The one way to read and write session and execution state, and the registry of artifacts.

`StateSurface` is bound to a tenant and reads; `HandlerSurface` is bound to a running execution and writes too: what it
writes is held and commits with the step or the outcome it belongs to, and its reads see what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from symphainy.civic import data_steward, librarian
from symphainy.errors import Conflict, FieldError, Invalid, NotFound, PolicyDenied
from symphainy.model import (
    Artifact,
    ArtifactStatus,
    Draft,
    Execution,
    Intent,
    JsonObject,
    LifecycleState,
    Materialization,
    PendingStatus,
    ProducedBy,
    Session,
)
from symphainy.model.artifact import LIFECYCLE_MOVES, STATUS_MOVES
from symphainy.model.json import canonical, merged, parse
from symphainy.ports import (
    ArtifactFilter,
    ArtifactIn,
    ExecutionFilter,
    Guard,
    PendingFilter,
    PendingIn,
    Store,
    TenantStore,
)
from symphainy.runtime import drafts
from symphainy.runtime.history import History

LINEAGE_MAX = 2000
SCAN_PAGE = 200


def recordable(value: Any, what: str) -> Any:
    """The JSON value that will stand in log or state: a copy, which nobody can change any more.

    Raises `PolicyDenied` when the Data Steward says that it may not, and `Invalid` for what JSON cannot say.
    """
    _require_recordable(value, what)
    recorded = parse(canonical(value))
    # Once more, for what only JSON shows: the fields of a dataclass.
    _require_recordable(recorded, what)
    return recorded


def recordable_object(value: Any, what: str) -> JsonObject:
    """The same for what must be a JSON object. Raises `Invalid` for anything else."""
    recorded = recordable(value, what)
    if not isinstance(recorded, dict):
        raise Invalid(f"{what} is {type(value).__name__}, not a JSON object; write it as {{name: value}}")
    return recorded


def _require_recordable(value: Any, what: str) -> None:
    decision = data_steward.may_record(value)
    if not decision.allowed:
        raise PolicyDenied(
            f"{what} may not be recorded: {decision.reason}. {decision.remedy}",
            policy=decision.policy,
            reason=decision.reason,
        )


class StateSurface:
    """Reads, bound to one tenant."""

    def __init__(self, tenant: TenantStore, accepted_types: Callable[[str], tuple[str, ...]]) -> None:
        self._tenant = tenant
        self._accepted_types = accepted_types

    def _own(self, tenant_id: str) -> None:
        if tenant_id != self._tenant.tenant_id:
            raise NotFound(f"nothing of tenant {tenant_id!r} can be seen from here", tenant_id=tenant_id)

    async def _session(self, session_id: str) -> Session:
        session = await self._tenant.session(session_id)
        if session is None:
            raise NotFound(f"no session {session_id}", session_id=session_id)
        return session

    async def _execution(self, execution_id: str) -> Execution:
        execution = await self._tenant.execution(execution_id)
        if execution is None:
            raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
        return execution

    async def get_session_state(self, session_id: str, tenant_id: str) -> JsonObject:
        self._own(tenant_id)
        return (await self._session(session_id)).context

    async def get_execution_state(self, execution_id: str, tenant_id: str) -> JsonObject:
        self._own(tenant_id)
        wanted = ("execution_id", "status", "intent_id", "artifacts", "events", "error", "state")
        whole = msgspec.to_builtins(await self._execution(execution_id))
        return {name: whole[name] for name in wanted}

    async def list_executions(
        self, tenant_id: str, *, session_id: str | None = None, status: str | None = None, limit: int = 50
    ) -> tuple[Execution, ...]:
        self._own(tenant_id)
        page = await self._tenant.executions(ExecutionFilter(session_id=session_id, status=status), limit=limit)
        return page.items

    async def find_artifact(self, artifact_id: str) -> Artifact | None:
        return await self._tenant.artifact(artifact_id)

    async def resolve_artifact(self, artifact_id: str, tenant_id: str) -> Artifact:
        self._own(tenant_id)
        found = await self.find_artifact(artifact_id)
        if found is None:
            raise NotFound(f"no artifact {artifact_id}", artifact_id=artifact_id)
        return found

    async def list_artifacts(
        self,
        tenant_id: str,
        *,
        artifact_type: str | None = None,
        lifecycle_state: str | None = None,
        session_id: str | None = None,
        parent_artifact_id: str | None = None,
        eligible_for: str | None = None,
        text: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Artifact, ...]:
        self._own(tenant_id)
        where, matches = self.artifact_query(
            artifact_type=artifact_type,
            lifecycle_state=lifecycle_state,
            session_id=session_id,
            parent_artifact_id=parent_artifact_id,
            eligible_for=eligible_for,
            text=text,
        )
        found: list[Artifact] = []
        before: int | None = None
        while len(found) < offset + limit:
            page = await self._tenant.artifacts(where, limit=SCAN_PAGE, before=before)
            found += [artifact for artifact in page.items if matches(artifact)]
            if page.next_cursor is None:
                break
            before = int(page.next_cursor)
        return tuple(found[offset : offset + limit])

    def artifact_query(
        self,
        *,
        artifact_type: str | None,
        lifecycle_state: str | None,
        session_id: str | None,
        parent_artifact_id: str | None,
        eligible_for: str | None,
        text: str | None = None,
    ) -> tuple[ArtifactFilter, Callable[[Artifact], bool]]:
        """What the store can filter, and what the Librarian has to look at. Raises `Invalid` for an unknown state."""
        if lifecycle_state is not None and lifecycle_state not in set(LifecycleState):
            states = ", ".join(LifecycleState)
            raise Invalid(
                f"{lifecycle_state!r} is no lifecycle state; there are {states}",
                errors=[FieldError("/lifecycle_state", f"one of {states}")],
            )
        accepts = None if eligible_for is None else self._accepted_types(eligible_for)
        types = (artifact_type,) if artifact_type is not None else (accepts or ())

        def matches(artifact: Artifact) -> bool:
            if accepts is not None and not librarian.eligible(artifact, accepts).allowed:
                return False
            return text is None or librarian.matches_text(artifact, text).allowed

        where = ArtifactFilter(
            artifact_types=types,
            lifecycle_states=() if lifecycle_state is None else (lifecycle_state,),
            session_id=session_id,
            parent_artifact_id=parent_artifact_id,
        )
        return where, matches

    async def lineage(self, artifact_id: str, tenant_id: str, *, direction: str = "both") -> JsonObject:
        """Raises `Invalid` for an unknown direction and `NotFound`."""
        if direction not in ("up", "down", "both"):
            raise Invalid(
                f"{direction!r} is no direction; use up, down or both",
                errors=[FieldError("/direction", "one of up, down, both")],
            )
        nodes = {artifact_id: await self.resolve_artifact(artifact_id, tenant_id)}
        edges: dict[tuple[str, str], None] = {}
        if direction in ("up", "both"):
            await self._climb(artifact_id, nodes, edges)
        if direction in ("down", "both"):
            await self._descend(artifact_id, nodes, edges)
        return {
            "nodes": list(nodes.values()),
            "edges": [{"parent": parent, "child": child} for parent, child in edges],
            "truncated": len(nodes) >= LINEAGE_MAX,
        }

    async def _climb(self, start: str, nodes: dict[str, Artifact], edges: dict[tuple[str, str], None]) -> None:
        ahead = [start]
        while ahead and len(nodes) < LINEAGE_MAX:
            child = nodes[ahead.pop()]
            for parent_id in child.parent_artifacts:
                edges[parent_id, child.artifact_id] = None
                if parent_id not in nodes:
                    parent = await self.find_artifact(parent_id)
                    if parent is not None:
                        nodes[parent_id] = parent
                        ahead.append(parent_id)

    async def _descend(self, start: str, nodes: dict[str, Artifact], edges: dict[tuple[str, str], None]) -> None:
        ahead = [start]
        while ahead and len(nodes) < LINEAGE_MAX:
            parent_id = ahead.pop()
            for child in await self._children(parent_id):
                edges[parent_id, child.artifact_id] = None
                if child.artifact_id not in nodes:
                    nodes[child.artifact_id] = child
                    ahead.append(child.artifact_id)

    async def _children(self, artifact_id: str) -> Sequence[Artifact]:
        return await self._tenant.children(artifact_id)

    async def pending_intent(self, *, intent_type: str, target_artifact_id: str) -> tuple[str, JsonObject] | None:
        where = PendingFilter(
            intent_type=intent_type, target_artifact_id=target_artifact_id, status=PendingStatus.PENDING
        )
        found = (await self._tenant.pending(where, limit=SCAN_PAGE)).items
        return (found[-1].pending_id, found[-1].parameters) if found else None


class PlatformSurface:
    """What a capability is constructed with: it reads the state of whatever tenant is named, and writes none.

    Every write belongs to an execution, under its lease: that is what `ctx.state_surface` is for.
    """

    def __init__(self, store: Store, accepted_types: Callable[[str], tuple[str, ...]]) -> None:
        self._store = store
        self._accepted_types = accepted_types

    def _of(self, tenant_id: str) -> StateSurface:
        return StateSurface(self._store.tenant(tenant_id), self._accepted_types)

    async def get_session_state(self, session_id: str, tenant_id: str) -> JsonObject:
        return await self._of(tenant_id).get_session_state(session_id, tenant_id)

    async def get_execution_state(self, execution_id: str, tenant_id: str) -> JsonObject:
        return await self._of(tenant_id).get_execution_state(execution_id, tenant_id)

    async def list_executions(self, tenant_id: str, **where: Any) -> tuple[Execution, ...]:
        return await self._of(tenant_id).list_executions(tenant_id, **where)

    async def resolve_artifact(self, artifact_id: str, tenant_id: str) -> Artifact:
        return await self._of(tenant_id).resolve_artifact(artifact_id, tenant_id)

    async def list_artifacts(self, tenant_id: str, **where: Any) -> tuple[Artifact, ...]:
        return await self._of(tenant_id).list_artifacts(tenant_id, **where)

    async def lineage(self, artifact_id: str, tenant_id: str, *, direction: str = "both") -> JsonObject:
        return await self._of(tenant_id).lineage(artifact_id, tenant_id, direction=direction)

    async def _refuse(self, *_: Any, **__: Any) -> Any:
        raise Conflict("state is written by a running execution alone: use ctx.state_surface in the handler")

    set_session_state = update_session_state = set_execution_state = delete_state = _refuse
    register_artifact = transition_artifact = set_artifact_status = _refuse
    create_pending_intent = pending_intent = complete_pending_intent = _refuse


class Run(Protocol):
    """The running execution, as far as its state surface has to do with it."""

    execution: Execution
    intent: Intent
    history: History

    @property
    def execution_id(self) -> str: ...
    @property
    def session_id(self) -> str: ...

    def call_key(self, call: str, prefix: str) -> tuple[str, str]:
        """The key of this call, and the id that derives from it."""

    def hold(self, draft: Draft, *guards: Guard) -> None:
        """Keep a write for the step that is running, or for the outcome."""

    def held(self, *event_types: str) -> Iterator[Draft]:
        """What is held, in the order it was written."""

    async def register(self, draft: Draft) -> Artifact:
        """Put an artifact on record, with the step that is running or at once."""

    def registered(self, draft: Draft) -> Artifact:
        """The artifact that such a draft will be."""


class HandlerSurface(StateSurface):
    """Reads and writes of one running execution."""

    def __init__(self, tenant: TenantStore, accepted_types: Callable[[str], tuple[str, ...]], run: Run) -> None:
        super().__init__(tenant, accepted_types)
        self._run = run

    # --- session and execution state ---

    async def get_session_state(self, session_id: str, tenant_id: str) -> JsonObject:
        state = await super().get_session_state(session_id, tenant_id)
        for draft in self._run.held("session_updated"):
            if draft.session_id == session_id:
                written = _copy(draft.payload["context"])
                state = written if draft.payload.get("replace") else merged(state, written)
        return state

    async def set_session_state(self, session_id: str, tenant_id: str, state: JsonObject) -> None:
        state = recordable_object(state, "session state")
        await self._write_session(session_id, tenant_id, {"context": state, "replace": True})

    async def update_session_state(self, session_id: str, tenant_id: str, changes: JsonObject) -> JsonObject:
        # The event says what changed, not what came out: the store merges it into whatever stands there at commit.
        changes = recordable_object(changes, "a change of session state")
        await self._write_session(session_id, tenant_id, {"context": changes})
        return await self.get_session_state(session_id, tenant_id)

    async def _write_session(self, session_id: str, tenant_id: str, payload: JsonObject) -> None:
        self._own(tenant_id)
        await self._session(session_id)
        draft = Draft(
            event_type="session_updated",
            payload=payload,
            session_id=session_id,
            execution_id=self._run.execution_id if session_id == self._run.session_id else None,
        )
        self._run.hold(draft)

    async def set_execution_state(self, execution_id: str, tenant_id: str, state: JsonObject) -> None:
        self._own(tenant_id)
        if execution_id != self._run.execution_id:
            raise Invalid(f"an execution sets its own state only; this is {self._run.execution_id}, not {execution_id}")
        state = recordable_object(state, "execution state")
        self._run.hold(drafts.of_execution(self._run.execution, "execution_state_set", {"state": state}))

    async def get_execution_state(self, execution_id: str, tenant_id: str) -> JsonObject:
        found = await super().get_execution_state(execution_id, tenant_id)
        if execution_id == self._run.execution_id:
            for draft in self._run.held("execution_state_set"):
                found["state"] = _copy(draft.payload["state"])
        return found

    async def delete_state(
        self, tenant_id: str, *, session_id: str | None = None, execution_id: str | None = None
    ) -> None:
        if session_id is not None:
            await self.set_session_state(session_id, tenant_id, {})
        if execution_id is not None:
            await self.set_execution_state(execution_id, tenant_id, {})

    # --- artifacts ---

    async def find_artifact(self, artifact_id: str) -> Artifact | None:
        artifact = await super().find_artifact(artifact_id)
        for draft in self._run.held(*_OF_ARTIFACTS):
            if _artifact_id(draft) == artifact_id:
                artifact = self._after(artifact, draft)
        return artifact

    def _after(self, artifact: Artifact | None, draft: Draft) -> Artifact:
        """The artifact as it will stand when the draft is written."""
        if draft.event_type == "artifact_registered":
            return self._run.registered(draft)
        assert artifact is not None, f"a transition of the unknown artifact {_artifact_id(draft)} is held"
        payload = draft.payload
        return replace(
            artifact,
            lifecycle_state=LifecycleState(payload.get("lifecycle_state", artifact.lifecycle_state)),
            status=ArtifactStatus(payload.get("status", artifact.status)),
        )

    async def _written(self) -> dict[str, Artifact]:
        """The artifacts that something held is about, by id, as they will stand."""
        ids = dict.fromkeys(_artifact_id(draft) for draft in self._run.held(*_OF_ARTIFACTS))
        found = [await self.find_artifact(artifact_id) for artifact_id in ids]
        return {artifact.artifact_id: artifact for artifact in found if artifact is not None}

    async def list_artifacts(
        self,
        tenant_id: str,
        *,
        artifact_type: str | None = None,
        lifecycle_state: str | None = None,
        session_id: str | None = None,
        parent_artifact_id: str | None = None,
        eligible_for: str | None = None,
        text: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Artifact, ...]:
        written = await self._written()
        asked: dict[str, Any] = {
            "artifact_type": artifact_type,
            "lifecycle_state": lifecycle_state,
            "session_id": session_id,
            "parent_artifact_id": parent_artifact_id,
            "eligible_for": eligible_for,
            "text": text,
        }
        stored = await super().list_artifacts(tenant_id, **asked, limit=offset + limit + len(written))
        where, matches = self.artifact_query(**asked)
        fresh = [each for each in written.values() if _selects(where, each) and matches(each)]
        found = [*fresh, *(each for each in stored if each.artifact_id not in written)]
        # One that is not on record yet has no ordinal, and is the newest.
        found.sort(key=lambda each: each.ordinal or _NEWEST, reverse=True)
        return tuple(found[offset : offset + limit])

    async def _children(self, artifact_id: str) -> Sequence[Artifact]:
        written = await self._written()
        stored = [written.pop(child.artifact_id, child) for child in await super()._children(artifact_id)]
        return [*stored, *(each for each in written.values() if artifact_id in each.parent_artifacts)]

    async def register_artifact(
        self,
        *,
        artifact_type: str,
        artifact_id: str | None = None,
        tenant_id: str | None = None,
        produced_by: Mapping[str, str] | None = None,
        semantic_descriptor: JsonObject | None = None,
        semantic_payload: Any = None,
        parent_artifacts: Sequence[str] = (),
        materializations: Sequence[Materialization] = (),
        lifecycle_state: str = "READY",
    ) -> Artifact:
        if tenant_id is not None:
            self._own(tenant_id)
        run = self._run
        producer = ProducedBy(intent=run.intent.intent_type, execution_id=run.execution_id)
        if produced_by is not None and dict(produced_by) != msgspec.to_builtins(producer):
            raise Invalid(f"produced_by is {dict(produced_by)}, but this is {msgspec.to_builtins(producer)}")
        if lifecycle_state not in (LifecycleState.READY, LifecycleState.PENDING):
            raise Invalid(f"an artifact is registered READY or PENDING, not {lifecycle_state!r}")
        call, own_id = run.call_key("register_artifact", "art")
        recalled = await self._recalled(call)
        if recalled is not None:
            return recalled
        for parent_id in parent_artifacts:
            if await self.find_artifact(parent_id) is None:
                raise NotFound(f"no artifact {parent_id} to be a parent", artifact_id=parent_id)
        document = {
            "artifact_id": artifact_id or own_id,
            "artifact_type": artifact_type,
            "produced_by": msgspec.to_builtins(producer),
            "lifecycle_state": LifecycleState.PENDING.value,
            "semantic_descriptor": recordable_object(semantic_descriptor or {}, "the semantic descriptor"),
            "semantic_payload": recordable(semantic_payload, "the semantic payload"),
            "parent_artifacts": list(parent_artifacts),
            "materializations": msgspec.to_builtins(tuple(materializations)),
        }
        if await self.find_artifact(document["artifact_id"]) is not None:
            raise Conflict(f"artifact {document['artifact_id']} exists already", artifact_id=document["artifact_id"])
        payload = {"artifact": document, "call": call, "becomes": lifecycle_state}
        return await run.register(drafts.of_execution(run.execution, "artifact_registered", payload))

    async def _recalled(self, call: str) -> Artifact | None:
        """What an earlier run of the handler registered by the same call."""
        artifact_id = self._run.history.registered.get(call)
        return None if artifact_id is None else await self.find_artifact(artifact_id)

    async def transition_artifact(self, artifact_id: str, lifecycle_state: str, reason: str) -> Artifact:
        artifact = await self.resolve_artifact(artifact_id, self._tenant.tenant_id)
        lawful = LIFECYCLE_MOVES[artifact.lifecycle_state]
        if lifecycle_state not in lawful:
            after = ", ".join(sorted(lawful)) or "nothing"
            raise Conflict(
                f"artifact {artifact_id} is {artifact.lifecycle_state}; it may become {after}, not {lifecycle_state}",
                artifact_id=artifact_id,
                lifecycle_state=artifact.lifecycle_state,
            )
        self._hold_transition(artifact, reason, lifecycle_state=lifecycle_state)
        return replace(artifact, lifecycle_state=LifecycleState(lifecycle_state))

    async def set_artifact_status(self, artifact_id: str, status: str, reason: str) -> Artifact:
        artifact = await self.resolve_artifact(artifact_id, self._tenant.tenant_id)
        lawful = STATUS_MOVES[artifact.status]
        if status not in lawful:
            after = ", ".join(sorted(lawful)) or "nothing"
            raise Conflict(
                f"artifact {artifact_id} is {artifact.status}; it may become {after}, not {status}",
                artifact_id=artifact_id,
                status=artifact.status,
            )
        self._hold_transition(artifact, reason, status=status)
        return replace(artifact, status=ArtifactStatus(status))

    def _hold_transition(self, artifact: Artifact, reason: str, **changes: str) -> None:
        guards: tuple[Guard, ...] = ()
        # Guards are checked before anything is written: only the first of several moves can be guarded.
        if all(_artifact_id(draft) != artifact.artifact_id for draft in self._run.held(*_OF_ARTIFACTS)):
            guards = (
                ArtifactIn(
                    artifact_id=artifact.artifact_id,
                    lifecycle_state=artifact.lifecycle_state,
                    status=artifact.status,
                ),
            )
        self._run.hold(drafts.transition(self._run.execution, artifact, reason=reason, **changes), *guards)

    # --- pending intents ---

    async def create_pending_intent(self, *, intent_type: str, target_artifact_id: str, parameters: JsonObject) -> str:
        parameters = recordable(parameters, "the parameters of the pending intent")
        self._accepted_types(intent_type)
        _, pending_id = self._run.call_key("create_pending_intent", "int")
        payload = {
            "pending_id": pending_id,
            "intent_type": intent_type,
            "target_artifact_id": target_artifact_id,
            "parameters": parameters,
        }
        self._run.hold(drafts.of_execution(self._run.execution, "pending_intent_created", payload))
        return pending_id

    async def complete_pending_intent(self, pending_id: str) -> None:
        payload = {
            "pending_id": pending_id,
            "status": PendingStatus.COMPLETED.value,
            "execution_id": self._run.execution_id,
        }
        guards: tuple[Guard, ...] = ()
        if all(draft.payload["pending_id"] != pending_id for draft in self._run.held(*_OF_PENDING_INTENTS)):
            guards = (PendingIn(pending_id=pending_id, status=PendingStatus.PENDING),)
        self._run.hold(drafts.of_execution(self._run.execution, "pending_intent_changed", payload), *guards)

    async def pending_intent(self, *, intent_type: str, target_artifact_id: str) -> tuple[str, JsonObject] | None:
        where = PendingFilter(
            intent_type=intent_type, target_artifact_id=target_artifact_id, status=PendingStatus.PENDING
        )
        stored = (await self._tenant.pending(where, limit=SCAN_PAGE)).items
        waiting = {each.pending_id: each.parameters for each in reversed(stored)}
        for draft in self._run.held(*_OF_PENDING_INTENTS):
            payload = draft.payload
            if draft.event_type == "pending_intent_changed":
                waiting.pop(payload["pending_id"], None)
            elif (payload["intent_type"], payload["target_artifact_id"]) == (intent_type, target_artifact_id):
                waiting[payload["pending_id"]] = _copy(payload["parameters"])
        return next(iter(waiting.items()), None)


_OF_ARTIFACTS = ("artifact_registered", "artifact_transitioned")
_OF_PENDING_INTENTS = ("pending_intent_created", "pending_intent_changed")
_NEWEST = 1 << 62


def _artifact_id(draft: Draft) -> str:
    registered = draft.event_type == "artifact_registered"
    found: str = draft.payload["artifact"]["artifact_id"] if registered else draft.payload["artifact_id"]
    return found


def _selects(where: ArtifactFilter, artifact: Artifact) -> bool:
    return (
        (not where.artifact_types or artifact.artifact_type in where.artifact_types)
        and (not where.lifecycle_states or artifact.lifecycle_state in where.lifecycle_states)
        and (where.session_id is None or artifact.session_id == where.session_id)
        and (where.parent_artifact_id is None or where.parent_artifact_id in artifact.parent_artifacts)
    )


def _copy(value: Any) -> Any:
    return parse(canonical(value))
