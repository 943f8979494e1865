"""Protocols for everything outside. A docstring here is a promise, and every adapter passes the suite that checks it
(`symphainy.testing.conformance`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, Self, TypeVar

import msgspec

from symphainy.model import (
    Artifact,
    Draft,
    Event,
    Execution,
    JsonObject,
    Page,
    PendingIntent,
    Saga,
    Session,
)

T = TypeVar("T")


class Clock(Protocol):
    """Time. In tests it is virtual."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def now_ms(self) -> int:
        """The same as Unix milliseconds."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class Ids(Protocol):
    """Randomness."""

    def new(self, prefix: str) -> str:
        """`prefix_` and 26 lower-case letters and digits, opaque; never the same twice, and not to be guessed: at least
        80 of the 130 bits are random. Later ones may sort after earlier ones.
        """

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes nobody can guess."""

    def fraction(self) -> float:
        """Uniform in [0, 1): for jitter, not for secrets."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a health probe found. `status` is `ok`, `degraded` or `down`; `detail` says what was tried."""

    status: str
    detail: str
    latency_ms: float = 0.0


# --- the store ---------------------------------------------------------------------------------------------------


class SessionOpen(msgspec.Struct, frozen=True, kw_only=True):
    """The session exists and is active. Otherwise `SessionRequired` or `SessionExpired`."""

    session_id: str


class Idempotent(msgspec.Struct, frozen=True, kw_only=True):
    """The key is new, or expired. With the same fingerprint the write does nothing and `Committed.replayed` is the
    execution
    of the first; with another one `IdempotencyMismatch`. Keys belong to tenant and user.
    """

    user_id: str
    key: str
    fingerprint: str


class Holds(msgspec.Struct, frozen=True, kw_only=True):
    """The execution is claimed under this fencing token. Otherwise `LeaseLost`."""

    execution_id: str
    fence: int


class NotEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The execution exists and is not terminal. Otherwise `NotFound` or `Conflict`."""

    execution_id: str


class ArtifactIn(msgspec.Struct, frozen=True, kw_only=True):
    """The artifact exists in exactly these two states. Otherwise `NotFound` or `Conflict`."""

    artifact_id: str
    lifecycle_state: str
    status: str


class ArtifactAbsent(msgspec.Struct, frozen=True, kw_only=True):
    """No artifact of this id exists. Otherwise `Conflict`."""

    artifact_id: str


class PendingIn(msgspec.Struct, frozen=True, kw_only=True):
    """The pending intent exists and has this status. Otherwise `NotFound` or `Conflict`."""

    pending_id: str
    status: str


Guard = SessionOpen | Idempotent | Holds | NotEnded | ArtifactIn | ArtifactAbsent | PendingIn


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The events as they stand in the log, on disk. `replayed` names the earlier execution when nothing was written."""

    events: tuple[Event, ...]
    replayed: str | None = None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that this owner may run until the lease ends. `events` are those the claim wrote."""

    execution: Execution
    fence: int
    events: tuple[Event, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the log as stored: what `verify` checks. `columns` are the values kept beside the bytes."""

    position: int
    header: bytes
    salt: bytes | None
    payload: bytes | None
    commitment: bytes
    chain: bytes
    columns: JsonObject


class ExecutionFilter(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str | None = None
    intent_type: str | None = None
    status: str | None = None


class ArtifactFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Every field that is set must match; `artifact_types` and `lifecycle_states` match any of theirs."""

    artifact_types: tuple[str, ...] = ()
    lifecycle_states: tuple[str, ...] = ()
    session_id: str | None = None
    parent_artifact_id: str | None = None


class PendingFilter(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str | None = None
    intent_type: str | None = None
    target_artifact_id: str | None = None
    status: str | None = None


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str | None = None
    execution_id: str | None = None
    event_type: str | None = None


class TenantStore(Protocol):
    """The store as one tenant sees it. Nothing of another tenant can be named through it.

    Reads see every write that was acknowledged before they began. Lists are newest first; a cursor is an ordinal.
    """

    @property
    def tenant_id(self) -> str: ...

    async def write(self, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        """Append `drafts` in order and fold them into the projections, in one transaction that also checks every guard.

        Returns when it is on disk. When a guard fails, its error is raised and nothing has changed.
        """

    async def session(self, session_id: str) -> Session | None: ...
    async def execution(self, execution_id: str) -> Execution | None: ...
    async def execution_at(self, execution_id: str) -> tuple[Execution, int] | None:
        """The execution, and the `seq` of the last event that is folded into it: one consistent read."""

    async def executions(self, where: ExecutionFilter, *, limit: int, before: int | None = None) -> Page[Execution]: ...
    async def artifact(self, artifact_id: str) -> Artifact | None: ...
    async def artifacts(self, where: ArtifactFilter, *, limit: int, before: int | None = None) -> Page[Artifact]: ...
    async def children(self, artifact_id: str) -> tuple[Artifact, ...]:
        """The artifacts that name this one as a parent, oldest first."""

    async def pending(self, where: PendingFilter, *, limit: int, before: int | None = None) -> Page[PendingIntent]: ...
    async def saga(self, saga_id: str) -> Saga | None: ...
    async def events(self, where: EventFilter, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        """Chronological, positions greater than `after`. An erased payload reads as `{"erased": true}`."""

    async def execution_events(self, execution_id: str, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        """Chronological, `seq` greater than `after`."""

    async def head(self) -> tuple[int, bytes]:
        """The last position and the chain value there; `(0, 32 zero bytes)` for an empty log."""

    async def records(self, *, after: int = 0, limit: int) -> tuple[Record, ...]:
        """Rows as stored, by position."""

    async def projection(self, kind: str, *, after: str = "", limit: int) -> tuple[tuple[str, Any], ...]:
        """`(id, value)` by id, ids greater than `after`; `kind` is `session execution artifact pending` or `saga`."""

    async def erase(self, positions: Sequence[int]) -> None:
        """Destroy payload and salt of these events. Header, commitment and chain stay, and the log still verifies."""


class Store(Protocol):
    """The durable truth: WAL, projections and claims in one transaction. Acknowledged means on disk."""

    async def open(self) -> None:
        """Raises `StartupFailed` naming the reason and the remedy."""

    async def close(self) -> None: ...

    def tenant(self, tenant_id: str) -> TenantStore: ...

    async def tenants(self) -> tuple[str, ...]: ...

    async def claim(self, owner: str, *, limit: int, lease_s: float, running_max: int) -> tuple[Claim, ...]:
        """Take up to `limit` executions that are due, oldest first within a priority, and mark them running under a
        new,
        higher fencing token. No tenant gets more than `running_max` running at once: its others wait.
        """

    async def renew(self, owner: str, execution_ids: Collection[str], *, lease_s: float) -> frozenset[str]:
        """Extend the leases that `owner` has on these executions. Returns the ids it still holds."""

    async def release(self, owner: str) -> int:
        """Hand back every lease of `owner` at once. Returns how many."""

    async def next_due_ms(self, *, after_ms: int | None = None) -> int | None:
        """Unix milliseconds when the next unclaimed execution is due or the next lease ends; None when there is
        none. `after_ms`: only moments later than that.
        """

    async def probe(self) -> Probe:
        """Really reads and writes."""


# --- the rest ----------------------------------------------------------------------------------------------------


class HotState(Protocol):
    """Cache, fan-out and wake-ups. Everything in it may be lost at any moment without losing anything."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None: ...
    async def get(self, key: str) -> bytes | None: ...
    async def delete(self, key: str) -> None: ...

    def publish(self, events: Sequence[Event]) -> None:
        """Hand events to whoever subscribes to their execution. Never waits, may drop."""

    def subscribe(self, tenant_id: str, execution_id: str) -> Subscription:
        """Start to listen. What is published after this returns is delivered, or the subscription is `lagging`."""

    async def probe(self) -> Probe: ...


class Subscription(Protocol):
    """Live events of one execution, in order. Use as an async context manager or `close` it."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *_: object) -> None: ...

    async def next(self, timeout_s: float | None = None) -> Event | None:
        """The next event. None when `timeout_s` passed, or when events were dropped: `lagging` tells which."""

    @property
    def lagging(self) -> bool:
        """Events were dropped since the last call: read the log. Reading this resets it."""

    def close(self) -> None: ...


class StoredBlob(msgspec.Struct, frozen=True, kw_only=True):
    sha256: str
    size_bytes: int


class Blobs(Protocol):
    """Content by tenant and SHA-256. What `put` returned is on disk; what is half written can never be seen."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def put(self, tenant_id: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> StoredBlob:
        """Store a stream without holding it in memory. Over `size_max` bytes: `TooLarge`, and nothing stays."""

    def read(self, tenant_id: str, sha256: str, *, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `[start, stop)`, in chunks. `NotFound` when this tenant has no such blob."""

    async def size(self, tenant_id: str, sha256: str) -> int | None:
        """Bytes, or None when this tenant has no such blob."""

    async def delete(self, tenant_id: str, sha256: str) -> None: ...

    async def probe(self) -> Probe: ...


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """An exact span of a source, to be indexed. `position` says where it stands (file, page or row, character span)."""

    passage_id: str
    text: str
    position: JsonObject


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """`score`: higher is better, comparable within one answer only."""

    artifact_id: str
    passage_id: str
    text: str
    position: JsonObject
    score: float


class Search(Protocol):
    """A full-text and vector index over passages. It can be rebuilt from artifacts at any time."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def index(self, tenant_id: str, artifact_id: str, passages: Sequence[Passage]) -> None:
        """Replace everything indexed for the artifact. Doing it twice changes nothing."""

    async def index_vectors(
        self, tenant_id: str, artifact_id: str, model: str, vectors: Mapping[str, Sequence[float]]
    ) -> None:
        """Unit-length vectors by passage id, for passages that are indexed. Replaces those of the same model."""

    async def remove(self, tenant_id: str, artifact_id: str) -> None: ...

    async def indexed(self, tenant_id: str) -> frozenset[str]:
        """Artifact ids that have passages here."""

    async def match(
        self, tenant_id: str, query: str, *, artifact_ids: Sequence[str] | None = None, limit: int
    ) -> tuple[Hit, ...]:
        """BM25, best first. Any text is a valid query; `artifact_ids` narrows to these."""

    async def nearest(
        self,
        tenant_id: str,
        model: str,
        vector: Sequence[float],
        *,
        artifact_ids: Sequence[str] | None = None,
        limit: int,
    ) -> tuple[Hit, ...]:
        """Cosine, best first, over all vectors of the model: exact, not approximate."""

    async def probe(self) -> Probe: ...


class Offload(Protocol):
    """Threads and processes: whatever would block the event loop, or must be killable."""

    async def thread(self, fn: Callable[..., T], *args: Any) -> T: ...

    async def process(
        self,
        target: str,
        arguments: JsonObject,
        stdin: AsyncIterator[bytes],
        *,
        timeout_s: float,
        memory_bytes_max: int,
    ) -> AsyncIterator[bytes]:
        """Run `target` (`module:function`) in a child process of its own, and stream what it writes.

        The function is called as `fn(arguments, stdin_binary_file, stdout_binary_file)`. The child is killed when time
        or
        memory run out or when the caller stops iterating. Raises `ChildFailed` with the reason.
        """

    async def close(self) -> None: ...


class SentenceModel(Protocol):
    """Text to unit-length vectors."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, in order. Raises `MissingExtra` where the model is not installed."""


class Telemetry(Protocol):
    """Metrics and traces. Names and labels are low in number; no label is ever an id."""

    def count(self, name: str, value: float = 1, **labels: str) -> None: ...
    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """One duration."""

    def gauge(self, name: str, value: float, **labels: str) -> None: ...
    def span(self, name: str, *, parent: str | None = None, **attributes: str) -> AbstractContextManager[None]:
        """A trace span around what runs inside; ids belong here.

        `parent`: a `trace()` of elsewhere that it goes on from.
        """

    def trace(self) -> str | None:
        """The span that is running, as a W3C `traceparent`, to be kept with work that goes on elsewhere.

        None without.
        """


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is open, to be read once from `chunks`."""

    name: str
    size_bytes: int
    chunks: AsyncIterator[bytes]


class LocalFiles(Protocol):
    """Files of this machine, under the folders that the settings allow: in production there are none."""

    async def open(self, path: str) -> LocalFile:
        """`Denied` outside of those folders, also by way of links and `..`; `NotFound` where no ordinary file is."""


class PublicWorks(Protocol):
    """What a capability may use of the outside world. All of it is bound to nothing: pass the tenant."""

    @property
    def clock(self) -> Clock: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def search(self) -> Search: ...
    @property
    def offload(self) -> Offload: ...
    @property
    def sentences(self) -> SentenceModel: ...
    @property
    def files(self) -> LocalFiles: ...
