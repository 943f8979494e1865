"""What this machine allows at best: the bounds that the platform's figures are fractions of."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from bench.bare_server import PATH
from bench.load import Closed, Target, drive
from bench.machine import ROOT
from symphainy.door import IntentRequest
from symphainy.public_works.sqlite import migrations

#: The batch that the store's writer makes under load.
ROWS_PER_COMMIT = 128
WARM_UP_REQUESTS = 300
INSERT = (
    "INSERT INTO events (tenant_id, position, seq, event_type, session_id, execution_id, header, salt, payload, "
    "commitment, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of one row of the log, in bytes."""

    event_type: str
    header_bytes: int
    payload_bytes: int


def rows_of_an_execution(store: Path, intent_type: str) -> tuple[EventRow, ...]:
    """The rows that the newest execution of this type has left in the log of a stopped platform."""
    with contextlib.closing(apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        found = connection.execute(
            "SELECT event_type, length(header), length(payload) FROM events WHERE execution_id = "
            "(SELECT execution_id FROM executions WHERE intent_type = ? ORDER BY ordinal DESC LIMIT 1) ORDER BY seq",
            (intent_type,),
        ).fetchall()
    if not found:
        raise RuntimeError(f"{store} holds no execution of {intent_type}")
    return tuple(
        EventRow(event_type=str(kind), header_bytes=int(str(header)), payload_bytes=int(str(payload)))
        for kind, header, payload in found
    )


def sqlite_rows_per_s(directory: Path, rows: Sequence[EventRow], *, count: int) -> float:
    """Rows of these sizes into the table of the log with its indexes, `ROWS_PER_COMMIT` for each synchronous commit."""
    return count / _insert_all(directory, rows, count=count, rows_per_commit=ROWS_PER_COMMIT)


def sqlite_commit_ms(directory: Path, rows: Sequence[EventRow], *, count: int) -> float:
    """One row of these sizes, alone in its synchronous commit."""
    return _insert_all(directory, rows, count=count, rows_per_commit=1) / count * 1000


def _insert_all(directory: Path, rows: Sequence[EventRow], *, count: int, rows_per_commit: int) -> float:
    """Seconds. What is written was made before the clock starts."""
    path = directory / f"ceiling-{secrets.token_hex(4)}.db"
    made = list(itertools.islice(_events(rows), count))
    with contextlib.closing(_opened(path)) as connection:
        began_s = time.perf_counter()
        for start in range(0, count, rows_per_commit):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT, made[start : start + rows_per_commit])
            connection.execute("COMMIT")
        seconds = time.perf_counter() - began_s
    for each in directory.glob(f"{path.name}*"):
        each.unlink()
    return seconds


def _opened(path: Path) -> apsw.Connection:
    """As the store opens its file."""
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", 8192)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    connection.pragma("wal_autocheckpoint", 4000)
    connection.pragma("cache_size", -32_768)
    for _, sql in migrations():
        connection.execute(sql)
    return connection


def _events(rows: Sequence[EventRow]) -> Iterator[tuple[object, ...]]:
    position = 0
    session_id = "ses_" + secrets.token_hex(13)
    while True:
        execution_id = "exe_" + secrets.token_hex(13)
        for seq, row in enumerate(rows, 1):
            position += 1
            yield (
                *("bench", position, seq, row.event_type, session_id, execution_id),
                *(os.urandom(row.header_bytes), os.urandom(32), os.urandom(row.payload_bytes)),
                *(os.urandom(32), os.urandom(32)),
            )


@contextlib.contextmanager
def bare_server() -> Iterator[Target]:
    """A bare server that answers submissions, warm: the request to send it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.bare_server", str(listening.fileno())],
            pass_fds=(listening.fileno(),),
            cwd=ROOT,
        )
        request = IntentRequest(intent_type="bench_noop", session_id="ses_" + "a" * 26, parameters={"n": 1})
        target = Target(
            host="127.0.0.1",
            port=listening.getsockname()[1],
            path=PATH,
            headers={"Authorization": "Bearer " + "a" * 400},
            body=msgspec.json.encode(request).decode(),
        )
        try:
            drive(Closed(target=target, connections=4, count=WARM_UP_REQUESTS))
            yield target
        finally:
            server.kill()
            server.wait()


def bare_requests_per_s(target: Target, *, connections: int, count: int) -> float:
    answer = drive(Closed(target=target, connections=connections, count=count)).require(202)
    return count / answer.seconds
