"""The load: a client that costs little, in a process of its own.

    answer = drive(Closed(target=target, connections=32, count=5000))

It speaks just enough HTTP/1.1 over kept-alive connections: answers with a length, or without a body. What it cannot
read stops the run. Latencies are counted from the moment a request was due, not from when it was sent: a server that
stalls is charged for everybody it keeps waiting (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

import msgspec
import uvloop

from bench.machine import ROOT

ANSWER_TIMEOUT_S = 120.0
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "
#: How much of a stream is kept, to find a mark that was cut in two.
TAIL_BYTES = 64


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One request, sent again and again. `body` is JSON text."""

    host: str
    port: int
    path: str
    body: str = ""
    method: str = "POST"
    headers: dict[str, str] = {}

    def encoded(self) -> bytes:
        body = self.body.encode()
        headers = {"Host": f"{self.host}:{self.port}", **self.headers}
        if body:
            headers |= {"Content-Type": "application/json"}
        headers["Content-Length"] = str(len(body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + HEAD_END + body


class Closed(msgspec.Struct, frozen=True, kw_only=True, tag="closed"):
    """`count` requests; each connection sends its next when the answer is there."""

    target: Target
    connections: int
    count: int


class Open(msgspec.Struct, frozen=True, kw_only=True, tag="open"):
    """`rate` requests a second for `seconds`, whatever the answers do."""

    target: Target
    connections: int
    rate: int
    seconds: float


class Listen(msgspec.Struct, frozen=True, kw_only=True, tag="listen"):
    """Submit `target`, and follow its execution with `streams` subscriptions until each has ended."""

    target: Target
    streams: int
    mark: str
    """What stands once in every event that is counted."""
    query: str = ""
    """Of the subscriptions: empty, or with its question mark."""


Order = Closed | Open | Listen


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` from the first request to the last answer. `statuses` counts answers by HTTP status."""

    seconds: float
    statuses: dict[int, int]
    latencies_ms: dict[str, float] = {}
    """`p50`, `p90`, `p99`, `p99.9` and `max`."""
    deliveries: int = 0
    began_at_ms: int = 0
    """Unix milliseconds of the first request."""

    def require(self, status: int) -> Answer:
        """The answer, if every single one had this status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"expected only {status}, the platform answered {self.statuses}")
        return self


def drive(order: Order) -> Answer:
    """Carry out the order in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        check=False,
        cwd=ROOT,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator ended with {done.returncode}; what it said stands above")
    return msgspec.json.decode(done.stdout, type=Answer)


class _Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request on its way."""

    transport: asyncio.Transport

    def __init__(self, answered: Callable[[_Connection, int, bytes], None], lost: Callable[[], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._unread = b""
        self.due_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._unread:
            data = self._unread + data
        head_end = data.find(HEAD_END)
        if head_end < 0:
            self._unread = data
            return
        body = head_end + len(HEAD_END)
        at = data.find(LENGTH, 0, head_end)
        length = int(data[at + len(LENGTH) : data.index(b"\r", at)]) if at >= 0 else 0
        if len(data) < body + length:
            self._unread = data
            return
        if len(data) > body + length:
            raise RuntimeError("more came than one answer: the client cannot read this")
        self._unread = b""
        self._answered(self, int(data[9:12]), data[body:])

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()


class _Run:
    """Connections, and what came back over them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.request = target.encoded()
        self.statuses: Counter[int] = Counter()
        self.latencies_s = array("d")
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over = False

    async def connect(self, answered: Callable[[_Connection, int, bytes], None]) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(answered, self._lost), self.target.host, self.target.port
        )
        return connection

    def finish(self) -> None:
        self.is_over = True
        if not self.ended.done():
            self.ended.set_result(None)

    def _lost(self) -> None:
        if not self.is_over and not self.ended.done():
            self.ended.set_exception(RuntimeError("the platform closed a connection"))

    def record(self, connection: _Connection, status: int) -> None:
        self.latencies_s.append(time.perf_counter() - connection.due_s)
        self.statuses[status] += 1

    def answer(self, seconds: float, began_at_ms: int) -> Answer:
        return Answer(
            seconds=seconds,
            statuses=dict(self.statuses),
            latencies_ms=_quantiles_ms(self.latencies_s),
            began_at_ms=began_at_ms,
        )


def _quantiles_ms(latencies_s: array[float]) -> dict[str, float]:
    ordered = sorted(latencies_s)
    if not ordered:
        return {}
    places = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(len(ordered) * place))] * 1000 for name, place in places.items()}


async def _closed(order: Closed) -> Answer:
    run = _Run(order.target)
    left = order.count

    def send(connection: _Connection) -> None:
        nonlocal left
        left -= 1
        connection.due_s = time.perf_counter()
        connection.transport.write(run.request)

    def answered(connection: _Connection, status: int, _body: bytes) -> None:
        run.record(connection, status)
        if left > 0:
            send(connection)
        elif len(run.latencies_s) == order.count:
            run.finish()

    connections = [await run.connect(answered) for _ in range(min(order.connections, order.count))]
    began_at_ms, began_s = round(time.time() * 1000), time.perf_counter()
    for connection in connections:
        send(connection)
    await asyncio.wait_for(run.ended, ANSWER_TIMEOUT_S)
    seconds = time.perf_counter() - began_s
    for connection in connections:
        connection.transport.close()
    return run.answer(seconds, began_at_ms)


async def _open(order: Open) -> Answer:
    run = _Run(order.target)
    loop = asyncio.get_running_loop()
    count = round(order.rate * order.seconds)
    idle: deque[_Connection] = deque()
    waiting: deque[float] = deque()

    def answered(connection: _Connection, status: int, _body: bytes) -> None:
        run.record(connection, status)
        if len(run.latencies_s) == count:
            run.finish()
        elif waiting:
            send(connection, waiting.popleft())
        else:
            idle.append(connection)

    def send(connection: _Connection, due_s: float) -> None:
        connection.due_s = due_s
        connection.transport.write(run.request)

    idle.extend([await run.connect(answered) for _ in range(order.connections)])
    began_at_ms, began_s, began_loop_s = round(time.time() * 1000), time.perf_counter(), loop.time()

    def fire(number: int) -> None:
        """Everything that is due by now, and then the next at its time."""
        now_s = time.perf_counter()
        while number < count and (due_s := began_s + number / order.rate) <= now_s:
            if idle:
                send(idle.popleft(), due_s)
            else:
                waiting.append(due_s)
            number += 1
        if number < count:
            loop.call_at(began_loop_s + number / order.rate, fire, number)

    fire(0)
    await asyncio.wait_for(run.ended, ANSWER_TIMEOUT_S)
    return run.answer(time.perf_counter() - began_s, began_at_ms)


class _Stream(asyncio.Protocol):
    """A subscription: counts the mark in what comes, and is done when the server closes."""

    def __init__(self, request: bytes, mark: bytes, ended: asyncio.Future[None]) -> None:
        self._request = request
        self._mark = mark
        self._ended = ended
        self._tail = b""
        self._status = b""
        self.count = 0
        self.first_s = 0.0
        self.last_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._status = data[9:12]
        data = self._tail + data
        found = data.count(self._mark)
        if found:
            self.last_s = time.perf_counter()
            self.first_s = self.first_s or self.last_s
            self.count += found
            data = data[data.rindex(self._mark) + len(self._mark) :]
        self._tail = data[-TAIL_BYTES:]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended.done():
            return
        if self._status == b"200":
            self._ended.set_result(None)
        else:
            self._ended.set_exception(RuntimeError(f"a stream was answered with {self._status.decode() or 'nothing'}"))


async def _listen(order: Listen) -> Answer:
    run = _Run(order.target)
    loop = asyncio.get_running_loop()
    submitted: asyncio.Future[bytes] = loop.create_future()
    connection = await run.connect(lambda _connection, _status, body: submitted.set_result(body))
    began_at_ms = round(time.time() * 1000)
    connection.transport.write(run.request)
    execution_id = msgspec.json.decode(await submitted)["execution_id"]
    follow = msgspec.structs.replace(
        order.target,
        method="GET",
        path=f"/api/execution/{execution_id}/stream{order.query}",
        body="",
        headers={**order.target.headers, "Connection": "close"},
    ).encoded()
    streams: list[_Stream] = []
    ends: list[asyncio.Future[None]] = []
    for _ in range(order.streams):
        ended: asyncio.Future[None] = loop.create_future()
        _, stream = await loop.create_connection(
            lambda ended=ended: _Stream(follow, order.mark.encode(), ended),  # type: ignore[misc]
            order.target.host,
            order.target.port,
        )
        streams.append(stream)
        ends.append(ended)
    await asyncio.wait_for(asyncio.gather(*ends), ANSWER_TIMEOUT_S)
    run.finish()
    return Answer(
        seconds=max(stream.last_s for stream in streams) - min(stream.first_s for stream in streams),
        statuses={200: len(streams)},
        deliveries=sum(stream.count for stream in streams),
        began_at_ms=began_at_ms,
    )


async def _carry_out(order: Order) -> Answer:
    match order:
        case Closed():
            return await _closed(order)
        case Open():
            return await _open(order)
        case Listen():
            return await _listen(order)


def main() -> None:
    order: Order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    gc.disable()  # a pause of the client would be charged to the platform
    answer = uvloop.run(_carry_out(order))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
