"""symphainy doctor: what is wrong with this installation."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import typer

from symphainy.cli.options import URL, AsJson, Data, Url
from symphainy.cli.terminal import show, show_json, sized

if TYPE_CHECKING:
    from symphainy.boot.config import Settings

FREE_BYTES_MIN = 1_000_000_000
PYTHON_MIN = (3, 11)
#: A module of each extra, and what is missing without it.
EXTRAS = {
    "content": ("pypdfium2", "PDF files cannot be parsed"),
    "embeddings": ("onnxruntime", "search is by words only"),
    "otel": ("opentelemetry.sdk", "traces and metrics cannot be exported"),
    "redis": ("redis", "REDIS_URL cannot be used"),
}


class Finding(NamedTuple):
    """`status`: `ok`, `note` for what is missing and may be, `bad` for what stops the platform."""

    name: str
    status: Literal["ok", "note", "bad"]
    detail: str
    remedy: str = ""


def doctor(url: Url = URL, data: Data = None, as_json: AsJson = False) -> None:
    """Find what is wrong with this installation.

    \b
    Example: symphainy doctor
    """
    findings = list(_findings(url, data))
    if as_json:
        show_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            show(f"{finding.status:<4}  {finding.name}: {finding.detail}")
            if finding.remedy:
                show(f"      try: {finding.remedy}")
    if any(finding.status == "bad" for finding in findings):
        raise typer.Exit(1)


def _findings(url: str, data: Path | None) -> Iterator[Finding]:
    from symphainy.boot.config import load
    from symphainy.errors import StartupFailed

    yield _python()
    yield _sqlite()
    yield from _extras()
    try:
        settings = load(overrides={"data_dir": data})
    except StartupFailed as error:
        yield Finding("settings", "bad", str(error), "symphainy config")
        return
    yield Finding("settings", "ok", f"profile {settings.profile}")
    yield from _folder(settings)
    yield from asyncio.run(_platform(url, settings))


def _python() -> Finding:
    told = f"{sys.version.split()[0]} in {sys.prefix}"
    if sys.version_info < PYTHON_MIN:
        return Finding("python", "bad", f"{told} is too old", f"use Python {'.'.join(map(str, PYTHON_MIN))} or newer")
    return Finding("python", "ok", told)


def _sqlite() -> Finding:
    import apsw

    from symphainy.public_works.sqlite import SQLITE_MIN

    found = apsw.sqlite_lib_version()
    if tuple(map(int, found.split("."))) < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        return Finding("sqlite", "bad", f"{found} can corrupt its file; {needed} cannot", "pip install -U apsw")
    return Finding("sqlite", "ok", found)


def _extras() -> Iterator[Finding]:
    for extra, (module, without) in EXTRAS.items():
        if _is_installed(module):
            yield Finding(f"extra [{extra}]", "ok", "installed")
        else:
            yield Finding(f"extra [{extra}]", "note", without, f"pip install 'symphainy[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.exists():
        yield Finding("data", "note", f"{folder} does not exist; `symphainy up` makes it")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("data", "bad", f"{folder} cannot be written by this user", "choose another folder with --data")
        return
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_MIN:
        yield Finding("data", "bad", f"{folder} has {sized(free)} left", "free some space, or move it with --data")
    else:
        yield Finding("data", "ok", f"{folder}, {sized(free)} free")
    yield from _keys(folder / "keys")
    yield from asyncio.run(_store(folder))


def _keys(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.glob("*.jwk")) if folder.is_dir() else []:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield Finding("keys", "bad", f"{path} can be read by others (mode {mode:o})", f"chmod 600 {path}")
        else:
            yield Finding("keys", "ok", f"{path.name} is readable by its owner alone")


async def _store(folder: Path) -> list[Finding]:
    """Whether the log of each tenant is whole."""
    from symphainy.errors import StartupFailed, StoreFailed
    from symphainy.public_works.clock import SystemClock
    from symphainy.public_works.ids import SystemIds
    from symphainy.public_works.sqlite_snapshot import SqliteSnapshot
    from symphainy.runtime.wal import verify

    path = folder / "symphainy.db"
    if not path.exists():
        return []
    try:
        async with SqliteSnapshot(path, clock=SystemClock(), ids=SystemIds()) as store:
            verdicts = [await verify(store.tenant(name)) for name in await store.tenants()]
    except (StartupFailed, StoreFailed) as error:
        return [Finding("store", "bad", str(error))]
    wrong = [verdict for verdict in verdicts if not verdict.ok]
    if wrong:
        told = "; ".join(f"{verdict.tenant_id}: {verdict.problem}" for verdict in wrong)
        return [Finding("log", "bad", told, f"symphainy wal verify --data {folder}")]
    events = sum(verdict.events for verdict in verdicts)
    return [Finding("log", "ok", f"{events} events of {len(verdicts)} tenants, whole")]


async def _platform(url: str, settings: Settings) -> list[Finding]:
    """What the running platform says of itself; without one, whether its ports are free."""
    from symphainy.errors import SymphainyError, Unreachable
    from symphainy.sdk import ExperienceSDK, Retry

    async with ExperienceSDK.connect(url, retry=Retry(attempts_max=1)) as sdk:
        try:
            health = await sdk.health()
        except Unreachable:
            return [Finding("platform", "note", f"nothing answers at {url}", "symphainy up"), *_ports(settings)]
        except SymphainyError as error:
            return [Finding("platform", "bad", str(error), "symphainy up --port 0 takes a free port")]
    found = [
        Finding("platform", "ok" if health.status == "ok" else "bad", f"{url} is {health.status}, {health.version}")
    ]
    for name, check in health.checks.items():
        found.append(Finding(f"platform {name}", "ok" if check.status == "ok" else "bad", check.detail))
    return found


def _ports(settings: Settings) -> Iterator[Finding]:
    for name, host, port in (
        ("port", settings.host, settings.port),
        ("runtime_port", settings.runtime_host, settings.runtime_port),
    ):
        if _is_taken(host, port):
            remedy = f"symphainy up --{name.replace('_', '-')} 0 takes a free one"
            yield Finding(name, "bad", f"{host}:{port} is taken by another program", remedy)
        else:
            yield Finding(name, "ok", f"{host}:{port} is free")


def _is_taken(host: str, port: int) -> bool:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False
