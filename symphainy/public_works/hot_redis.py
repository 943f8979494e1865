"""Hot state shared by processes, in Redis or Valkey.

All commands of a process go down one connection, in order and many at a time; a second connection listens. Once Redis
has failed, nothing waits for it: reads find nothing, and what could not be written or deleted there is remembered and
removed before anything is read from it again, so that an outage never brings back an older value.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from symphainy.errors import MissingExtra, StartupFailed
from symphainy.model import Event
from symphainy.model.hot_keys import events_key
from symphainy.ports import Clock, Probe
from symphainy.public_works.fanout import QUEUE_MAX, Fanout, FanoutSubscription

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

#: Seconds that a batch of commands, or a connection, may take.
TIMEOUT_S = 1.0
#: Commands sent in one go, and commands that may wait to be sent.
BATCH_MAX = 512
OUTBOX_MAX = 20_000
FIRST_DELAY_S = 0.05
DELAY_MAX_S = 2.0
#: Keys to remove after an outage that are remembered one by one; past this whole kinds of keys are removed.
STALE_KEYS_MAX = 10_000
NAMESPACE = re.compile(r"[a-zA-Z0-9_:.-]*")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Event]).decode

_Command: TypeAlias = tuple[str | bytes | int, ...]


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """A command on its way, with who waits for it. If it fails, `stale_key` must go and `channel` has lost events."""

    command: _Command
    answer: asyncio.Future[Any] | None = None
    stale_key: str | None = None
    channel: str | None = None


class RedisHot:
    """`HotState` over a Redis URL. `namespace` stands before every key and channel, as in `staging:`."""

    _errors: tuple[type[Exception], ...]
    _mouth: Redis
    _ear: Redis
    _sender: asyncio.Task[None]
    _listener: asyncio.Task[None]

    def __init__(self, url: str, *, clock: Clock, namespace: str = "", queue_max: int = QUEUE_MAX) -> None:
        assert NAMESPACE.fullmatch(namespace), f"{namespace!r} would not stand for itself in a pattern"
        self._url = url
        self._place = _place(url)
        self._clock = clock
        self._namespace = namespace
        self._fanout = Fanout(clock, queue_max=queue_max)
        #: What every process listens to: somewhere events were dropped, nobody knows whose.
        self._alarm = f"{namespace}events"
        self._outbox: deque[_Order] = deque()
        self._in_flight: Sequence[_Order] = ()
        self._to_send = asyncio.Event()
        self._stale_keys: set[str] = set()
        self._stale_kinds: set[str] = set()
        self._must_alarm = False
        self._is_up = False
        self._listening = asyncio.Event()
        self._channels_changed = asyncio.Event()
        self._listen_delay_s = FIRST_DELAY_S

    async def open(self) -> None:
        """Raises `MissingExtra`, or `StartupFailed` when Redis cannot be reached or refuses us."""
        self._errors = await asyncio.to_thread(_import_errors)
        try:
            self._mouth = _client(self._url, answers_within_s=TIMEOUT_S)
            # It waits without end for what comes; that the other side is gone, TCP tells.
            self._ear = _client(self._url, answers_within_s=None)
        except ValueError:
            raise self._unusable("this is no Redis URL") from None
        self._sender = asyncio.create_task(self._send())
        self._sender.add_done_callback(self._stopped)
        self._listener = asyncio.create_task(self._listen())
        try:
            await self._round_trip()
            async with asyncio.timeout(2 * TIMEOUT_S):
                await self._listening.wait()
        except self._errors as error:
            await self.close()
            raise self._unusable(str(error) or "it does not let us subscribe") from error
        self._is_up = True

    async def close(self) -> None:
        await _end(self._sender)  # first, because it may be about to start another listener
        await _end(self._listener)
        self._listening.clear()
        self._fanout.lag_all()
        await self._mouth.aclose()
        await self._ear.aclose()

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        command = ("SET", self._namespace + key, value, "PX", max(1, round(ttl_s * 1000)))
        await self._ask(command, stale_key=key)

    async def get(self, key: str) -> bytes | None:
        if key in self._stale_keys or _kind(key) in self._stale_kinds:
            return None
        found: bytes | None = await self._ask(("GET", self._namespace + key))
        return found

    async def delete(self, key: str) -> None:
        await self._ask(("UNLINK", self._namespace + key), stale_key=key)

    def publish(self, events: Sequence[Event]) -> None:
        by_channel: dict[str, list[Event]] = {}
        for event in events:
            if event.execution_id is not None:
                channel = self._channel(event.tenant_id, event.execution_id)
                by_channel.setdefault(channel, []).append(event)
        for channel, own in by_channel.items():
            self._post(_Order(command=("PUBLISH", channel, _encode(own)), channel=channel))

    def subscribe(self, tenant_id: str, execution_id: str) -> FanoutSubscription:
        """Until Redis has confirmed a new channel events may pass it by: then the subscription is once `lagging`."""
        subscription = self._fanout.subscribe(
            self._channel(tenant_id, execution_id), on_close=self._channels_changed.set
        )
        self._channels_changed.set()
        return subscription

    async def probe(self) -> Probe:
        """Writes and reads a key. `degraded`: it answers, but is not in use again after an outage."""
        started = time.perf_counter()
        try:
            await self._round_trip()
        except self._errors as error:
            return Probe(status="down", detail=f"Redis at {self._place}: {error}")
        latency_ms = (time.perf_counter() - started) * 1000
        if self._is_up and self._listening.is_set():
            return Probe(status="ok", detail=f"wrote and read at {self._place}", latency_ms=latency_ms)
        return Probe(status="degraded", detail=f"Redis at {self._place} is back, not yet in use", latency_ms=latency_ms)

    async def _round_trip(self) -> None:
        """Everything it is needed for, so that missing rights show at the start."""
        key = f"{self._namespace}probe"
        commands = (("SET", key, b"1", "PX", 10_000), ("GET", key), ("PUBLISH", f"{self._alarm}:probe", b""))
        for answer in await self._pipeline(commands):
            if isinstance(answer, Exception):
                raise answer

    # --- sending ---

    async def _ask(self, command: _Command, *, stale_key: str | None = None) -> Any:
        """The answer of Redis, or None."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._post(_Order(command=command, answer=answer, stale_key=stale_key))
        return await answer

    def _post(self, order: _Order) -> None:
        if self._is_up and len(self._outbox) < OUTBOX_MAX:
            self._outbox.append(order)
        else:
            self._give_up([order])
        self._to_send.set()

    def _stopped(self, _sender: asyncio.Task[None]) -> None:
        """Leave nobody waiting for a sender that is no more."""
        self._is_up = False
        self._give_up([*self._in_flight, *self._outbox])
        self._outbox.clear()

    def _give_up(self, orders: Iterable[_Order]) -> None:
        for order in orders:
            if order.answer and not order.answer.done():
                order.answer.set_result(None)
            if order.stale_key is not None:
                self._distrust(order.stale_key)
            if order.channel is not None:
                self._must_alarm = True
                self._fanout.lag(order.channel)

    def _distrust(self, key: str) -> None:
        if len(self._stale_keys) >= STALE_KEYS_MAX:
            self._stale_kinds |= set(map(_kind, self._stale_keys))
            self._stale_keys.clear()
        if _kind(key) not in self._stale_kinds:
            self._stale_keys.add(key)

    async def _send(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            while self._outbox:
                self._in_flight = [self._outbox.popleft() for _ in range(min(BATCH_MAX, len(self._outbox)))]
                if self._must_alarm:
                    self._must_alarm = False
                    self._in_flight.append(_Order(command=("PUBLISH", self._alarm, b""), channel=self._alarm))
                if not await self._deliver(self._in_flight):
                    await self._recover()
                self._in_flight = ()
            if self._stale_keys or self._stale_kinds:  # there was no room for what would have changed them
                await self._recover()

    async def _deliver(self, batch: Sequence[_Order]) -> bool:
        """Whether Redis did all of it."""
        try:
            answers = await self._pipeline([order.command for order in batch])
        except self._errors:
            self._give_up(batch)
            return False
        refused = []
        for order, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                refused.append(order)
            elif order.answer and not order.answer.done():
                order.answer.set_result(answer)
        self._give_up(refused)
        return not refused

    async def _pipeline(self, commands: Sequence[_Command]) -> list[Any]:
        """The answers. One that Redis refused is the error it gave."""
        pipeline = self._mouth.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))

    async def _recover(self) -> None:
        """Return when Redis answers again and holds nothing outdated of ours."""
        self._is_up = False
        self._give_up(self._outbox)
        self._outbox.clear()
        await self._listen_anew()
        delay_s = FIRST_DELAY_S
        while not self._is_up:
            await self._clock.sleep(delay_s)
            delay_s = min(2 * delay_s, DELAY_MAX_S)
            with suppress(*self._errors):
                await self._mend()

    async def _mend(self) -> None:
        while self._stale_keys or self._stale_kinds:
            for kind in tuple(self._stale_kinds):
                await self._remove_kind(kind)
                self._stale_kinds.discard(kind)
            some = tuple(islice(self._stale_keys, BATCH_MAX))
            await self._unlink([self._namespace + key for key in some])
            self._stale_keys.difference_update(some)
        self._must_alarm = False  # what is given up from here on is told with the next batch
        await self._mouth.publish(self._alarm, b"")
        self._is_up = not (self._stale_keys or self._stale_kinds)

    async def _remove_kind(self, kind: str) -> None:
        pattern = f"{self._namespace}{kind}:*"
        keys: list[bytes] = []
        async for key in self._mouth.scan_iter(match=pattern, count=1000):
            keys.append(key)
            if len(keys) >= BATCH_MAX:
                await self._unlink(keys)
                keys = []
        await self._unlink(keys)

    async def _unlink(self, keys: Sequence[str | bytes]) -> None:
        if keys:
            await self._mouth.unlink(*keys)

    # --- listening ---

    async def _listen_anew(self) -> None:
        """Its connection may be as dead as that of the sender, and only the sender has timeouts."""
        await _end(self._listener)
        self._listening.clear()
        self._fanout.lag_all()
        self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            with suppress(*self._errors):
                await self._hear()
            self._listening.clear()
            self._fanout.lag_all()
            await self._clock.sleep(self._listen_delay_s)
            self._listen_delay_s = min(2 * self._listen_delay_s, DELAY_MAX_S)

    async def _hear(self) -> None:
        async with self._ear.pubsub() as pubsub:
            async with asyncio.timeout(TIMEOUT_S):
                await pubsub.subscribe(self._alarm)
            # No TaskGroup: in Python 3.11 it loses a cancellation that meets an error.
            parts = [asyncio.create_task(self._follow_channels(pubsub)), asyncio.create_task(self._read(pubsub))]
            try:
                ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
                for part in ended:
                    part.result()
            finally:
                await _end(*parts)

    async def _read(self, pubsub: PubSub) -> None:
        async for message in pubsub.listen():
            self._receive(message)

    async def _follow_channels(self, pubsub: PubSub) -> None:
        """Keep Redis told of what somebody listens to."""
        told: frozenset[str] = frozenset()
        while True:
            self._channels_changed.clear()
            wanted = self._fanout.channels
            if new := wanted - told:
                await pubsub.subscribe(*new)
            if gone := told - wanted:
                await pubsub.unsubscribe(*gone)
            told = wanted
            await self._channels_changed.wait()

    def _receive(self, message: Mapping[str, Any]) -> None:
        channel = message["channel"].decode()
        match message["type"]:
            case "message" if channel == self._alarm:
                self._fanout.lag_all()
            case "message":
                self._hand_on(channel, message["data"])
            case "subscribe" if channel == self._alarm:
                self._listening.set()
                self._listen_delay_s = FIRST_DELAY_S
            case "subscribe":
                self._fanout.lag(channel)

    def _hand_on(self, channel: str, data: bytes) -> None:
        try:
            events = _decode(data)
        except msgspec.DecodeError:  # from a process of another version
            self._fanout.lag(channel)
            return
        for event in events:
            self._fanout.offer(channel, event)

    # --- names ---

    def _channel(self, tenant_id: str, execution_id: str) -> str:
        return self._namespace + events_key(tenant_id, execution_id)

    def _unusable(self, why: str) -> StartupFailed:
        return StartupFailed(
            f"Redis at {self._place} cannot be used: {why.rstrip('.')}",
            service="redis",
            remedy="Start it, or correct REDIS_URL, or unset REDIS_URL to keep hot state in this process",
        )


def _kind(key: str) -> str:
    """`execution` of `execution:acme:exe_1`."""
    return key.partition(":")[0]


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel again and again: in Python 3.11 `wait_for`, which redis-py uses, can lose a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    await asyncio.gather(*tasks, return_exceptions=True)


def _place(url: str) -> str:
    """Where a URL leads, without the credentials in it."""
    try:
        parts = urlsplit(url)
        where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        return "the URL given"
    return f"{parts.scheme}://{where}"


def _import_errors() -> tuple[type[Exception], ...]:
    """What a Redis that fails raises. The import takes 0.4 s, so it is made in a thread."""
    try:
        redis = importlib.import_module("redis.asyncio")
    except ImportError:
        raise MissingExtra("redis", needed_for="REDIS_URL") from None
    return (redis.RedisError, OSError)


def _client(url: str, *, answers_within_s: float | None) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        client_name="symphainy",
        retry=Retry(NoBackoff(), 0),
        socket_timeout=answers_within_s,
        socket_connect_timeout=TIMEOUT_S,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    )
