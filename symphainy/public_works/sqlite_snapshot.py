"""A store file as it stood at one moment: to look at it beside the process that owns it, or when nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import apsw

from symphainy.errors import StartupFailed, StoreFailed
from symphainy.ports import Clock, Ids
from symphainy.public_works.sqlite import APPLICATION_ID, SqliteStore, migrations

T = TypeVar("T")


class SqliteSnapshot(SqliteStore):
    """Reads only. Everything it tells is of the moment at which it was opened, whatever is written meanwhile."""

    def __init__(self, path: Path, *, clock: Clock, ids: Ids) -> None:
        super().__init__(path, clock=clock, ids=ids)
        self._connection: apsw.Connection | None = None

    async def __aenter__(self) -> SqliteSnapshot:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        # A connection belongs to one thread at a time; so does its transaction.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-snapshot")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._begin)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    async def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await asyncio.get_running_loop().run_in_executor(self._thread, connection.close)
            self._thread.shutdown(wait=True)

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise StoreFailed(f"the snapshot of {self._path.name} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, connection, query)

    def _ask(self, connection: apsw.Connection, query: Callable[[apsw.Connection], T]) -> T:
        try:
            return query(connection)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise StoreFailed(f"the store could not be read: {error}") from error

    def _begin(self) -> None:
        if not self._path.exists():
            raise StartupFailed(
                f"there is no store at {self._path}",
                service="sqlite",
                remedy="Name the platform's folder with --data or SYMPHAINY_DATA",
            )
        try:
            connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(2000)
            found = int(connection.pragma("application_id")), int(connection.pragma("user_version"))
            connection.execute("BEGIN")
            # The moment is that of the first read.
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
        except apsw.Error as error:
            raise StartupFailed(
                f"the store at {self._path} cannot be read: {error}",
                service="sqlite",
                remedy="Check that it is a Symphainy store and that this user may read its folder",
            ) from error
        known = APPLICATION_ID, migrations()[-1][0]
        if found != known:
            connection.close()
            raise _other(self._path, found, known)
        self._connection = connection


def _other(path: Path, found: tuple[int, int], known: tuple[int, int]) -> StartupFailed:
    if found[0] != known[0]:
        return StartupFailed(
            f"{path} is no Symphainy store", service="sqlite", remedy="Name the platform's folder with --data"
        )
    told = f"the store at {path} has schema {found[1]}; this version reads {known[1]}"
    if found[1] > known[1]:
        return StartupFailed(told, service="sqlite", remedy="Upgrade Symphainy: pip install -U symphainy")
    return StartupFailed(told, service="sqlite", remedy="Start the platform once, which brings it up to date")
