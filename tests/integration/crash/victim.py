"""The process that is killed: the platform as boot assembles it, on real SQLite, with a fuse in whatever writes.

Forked from a server that has imported everything already, so that a start costs what the platform's own start costs.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from string import ascii_lowercase

from symphainy.boot.capabilities import BUILT_IN, discover
from symphainy.boot.config import load
from symphainy.boot.observability import configure_logging
from symphainy.boot.phases import configuration, experience, infrastructure, runtime_graph
from symphainy.boot.serve import run
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.ids import SystemIds
from symphainy.testing.crash import Fuse, crashing_blobs, crashing_search, crashing_store
from symphainy.wire.server import HttpServer
from tests.integration.crash.counting import counted
from tests.integration.crash.errand import Errands

START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 60.0

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        *("__main__", __name__, "uvloop", "uvicorn.protocols.websockets.websockets_sansio_impl"),
        *(spec.partition(":")[0] for spec in BUILT_IN),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Everything of one platform on disk. What lies beside `data` is what the outside world remembers."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def ledger(self) -> Path:
        """One line for each time a step was really run: execution id and name."""
        return self.folder / "ledger"

    @property
    def diary(self) -> Path:
        """One line for each point that was passed."""
        return self.folder / "diary"

    @property
    def log(self) -> Path:
        return self.folder / "log"


class Letters:
    """`SentenceModel`: how often each letter of a text comes. Takes no second to load, as a real one does."""

    name = "letters"
    dimensions = 26

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_unit([text.lower().count(letter) + 0.01 for letter in ascii_lowercase]) for text in texts]


def _unit(vector: list[float]) -> list[float]:
    length = math.hypot(*vector)
    return [each / length for each in vector]


class Victim:
    """A running platform. `at` is the point at which it kills itself."""

    def __init__(self, place: Place, *, at: int | None = None) -> None:
        self._place = place
        self._says, says = _context.Pipe(duplex=False)
        self._process: ForkServerProcess = _context.Process(target=_victim, args=(place, at, says), daemon=True)
        self._process.start()
        says.close()

    def port(self) -> int:
        """Where Experience listens, once it does."""
        try:
            if self._says.poll(START_TIMEOUT_S):
                return int(self._says.recv())
        except EOFError:
            pass
        self._process.kill()
        raise RuntimeError(f"it did not start; it said:\n{self._place.log.read_text('utf-8')[-3000:]}")

    def stop(self) -> int:
        """SIGTERM. The exit code."""
        self._process.terminate()
        return self.end()

    def kill(self) -> int:
        self._process.kill()
        return self.end()

    def end(self) -> int:
        """The exit code, when it has ended by itself."""
        self._process.join(END_TIMEOUT_S)
        if self._process.exitcode is None:
            self._process.kill()
            raise RuntimeError(f"it did not end within {END_TIMEOUT_S:g} s")
        return self._process.exitcode


def _victim(place: Place, at: int | None, says: Connection) -> None:
    log = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    Errands.folder = place.folder / "errands"
    Errands.folder.mkdir(exist_ok=True)
    run(_serve(place, Fuse(at=at, diary=place.diary), says))


async def _serve(place: Place, fuse: Fuse, says: Connection) -> None:
    clock, ids = SystemClock(), SystemIds()
    settings = load(overrides={"data_dir": place.data, "port": 0}, environ={}, directory=place.folder)
    configure_logging(level="info", form="console", clock=clock)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with infrastructure(settings, clock=clock, ids=ids) as opened:
        works = replace(
            opened,
            store=crashing_store(opened.store, fuse),
            blobs=crashing_blobs(opened.blobs, fuse),
            search=crashing_search(opened.search, fuse),
            sentences=Letters(),
        )
        kinds = [counted(kind, place.ledger) for kind in (*await discover(named=(), offload=works.offload), Errands)]
        async with (
            configuration(settings, works) as configured,
            runtime_graph(configured, works, kinds=kinds, named=()) as graph,
            experience(configured, works, graph) as (_, app),
        ):
            server = HttpServer(app, host=settings.host, port=0, now_ms=clock.now_ms, settings=configured.server)
            await server.start()
            says.send(server.port)
            await stop.wait()
            await server.stop()
