"""Who may import whom inside symphainy. This table is the architecture; imports only go down."""

import ast
from collections.abc import Iterator

import pytest

from tests.source import ROOT, Module, calls, module, modules

ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "model": {"errors"},
    "ports": {"errors", "model"},
    "capability": {"errors", "model", "ports"},
    "door": {"errors", "model"},
    "civic": {"errors", "model"},
    "identity": {"door", "errors", "model", "ports"},
    "public_works": {"errors", "model", "ports"},
    "wire": {"door", "errors", "model"},
    "runtime": {"capability", "civic", "door", "errors", "model", "ports", "wire"},
    "capabilities": {"capability", "errors", "model", "ports"},
    "agents": {"capability", "errors", "model", "ports"},
    "sdk": {"door", "errors", "model"},
    "experience": {"door", "errors", "model", "sdk", "wire"},
    "testing": {"boot", "capability", "door", "errors", "model", "ports", "public_works", "runtime"},
}
ARROWS["boot"] = {*ARROWS} - {"testing"}
ARROWS["cli"] = {*ARROWS}
ARROWS["__main__"] = {"cli"}

PURE = {"capability", "civic", "door", "model", "ports"}
IMPURE_MODULES = {
    *("asyncio", "multiprocessing", "os", "random", "secrets", "shutil", "signal", "socket", "subprocess"),
    *("tempfile", "threading", "time"),
}
WALL_CLOCK = {"date.today", "datetime.now", "datetime.today", "datetime.utcnow"}
IMPURE_CALLS = {"open", "uuid.uuid1", "uuid.uuid4", "uuid.uuid7", "uuid1", "uuid4", "uuid7"}


def imports(source: Module) -> Iterator[str]:
    """Full names of what a module imports, wherever in it: in functions and under TYPE_CHECKING too."""
    package = source.name.split(".") if source.is_package else source.name.split(".")[:-1]
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                above = package[: len(package) - level + 1] if level else []
                base = ".".join([*above, *([origin] if origin else [])])
                yield from (f"{base}.{alias.name}" for alias in names)
    for call, called in calls(source.tree):
        if called.split(".")[-1] in {"import_module", "__import__"} and call.args:
            match call.args[0]:
                case ast.Constant(value=str(name)):
                    yield name


def unit_of(name: str) -> str | None:
    """The part of symphainy that a full name lies in; None outside it, and for `symphainy.__version__`."""
    match name.split("."):
        case ["symphainy", "__version__"]:
            return None
        case ["symphainy", unit, *_]:
            return unit
        case ["symphainy"]:
            return "symphainy"
    return None


def capability_of(name: str) -> str | None:
    match name.split("."):
        case ["symphainy", "capabilities", capability, *_]:
            return capability
    return None


def forbidden_arrows(source: Module) -> list[str]:
    unit = unit_of(source.name)
    assert unit is not None
    if unit == "symphainy":  # the root is imported before everything, so it imports nothing of ours
        allowed: set[str] = set()
    elif unit in ARROWS:
        allowed = ARROWS[unit] | {unit}
    else:
        return [f"{source.path}: symphainy.{unit} has no row in the table of tests/unit/test_layers.py"]
    wrong = []
    for name in imports(source):
        target = unit_of(name)
        if target is not None and target not in allowed:
            wrong.append(f"{source.path}: {unit} may not import {name}; it may import {sorted(allowed)}")
        own = capability_of(source.name)
        if target == "capabilities" and own and capability_of(name) != own:
            wrong.append(f"{source.path}: one capability never imports another ({name}); submit an intent")
    return wrong


def impurities(source: Module) -> list[str]:
    found = [name for name in imports(source) if name.split(".")[0] in IMPURE_MODULES]
    found += [
        f"{called}()"
        for _, called in calls(source.tree)
        if called in IMPURE_CALLS or ".".join(called.split(".")[-2:]) in WALL_CLOCK
    ]
    return [f"{source.path}: {name} is the outside world; take it from a port" for name in found]


def test_imports_only_go_down() -> None:
    assert [line for source in modules() for line in forbidden_arrows(source)] == []


def test_what_decides_touches_no_clock_disk_network_or_chance() -> None:
    pure = [source for source in modules() if unit_of(source.name) in PURE]
    assert [line for source in pure for line in impurities(source)] == []


def test_the_table_has_no_cycle() -> None:
    placed: set[str] = set()
    while ready := {unit for unit, below in ARROWS.items() if unit not in placed and below <= placed}:
        placed |= ready
    assert placed == set(ARROWS)


def test_the_package_was_read() -> None:
    assert (ROOT / "symphainy" / "__init__.py").exists()
    assert "symphainy" in {source.name for source in modules()}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("symphainy/model/event.py", "from symphainy.ports import Clock"),
        ("symphainy/model/event.py", "import symphainy.runtime.wal"),
        ("symphainy/civic/nurse.py", "from ..runtime import engine"),
        ("symphainy/civic/__init__.py", "from ..runtime import engine"),
        ("symphainy/sdk/client.py", "from symphainy import runtime"),
        ("symphainy/sdk/client.py", "def late():\n    from symphainy.runtime.api import Api"),
        ("symphainy/sdk/client.py", "import importlib\nimportlib.import_module('symphainy.runtime')"),
        ("symphainy/runtime/api.py", "from symphainy.identity import keys"),
        ("symphainy/runtime/api.py", "import symphainy"),
        ("symphainy/boot/phases.py", "from symphainy.cli import main"),
        ("symphainy/capabilities/content/__init__.py", "from symphainy.capabilities.insights import score"),
        ("symphainy/capabilities/content/parse.py", "from .. import insights"),
        ("symphainy/__init__.py", "from symphainy.errors import Refused"),
        ("symphainy/kitchen.py", ""),
    ],
)
def test_a_forbidden_arrow_is_found(path: str, source: str) -> None:
    assert forbidden_arrows(module(path, source)) != []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("symphainy/runtime/api.py", "from symphainy import __version__, errors"),
        ("symphainy/runtime/api.py", "from . import engine\nfrom .engine import Engine\nimport os"),
        ("symphainy/capabilities/__init__.py", "from symphainy.capabilities import content, insights"),
        (
            "symphainy/capabilities/content/__init__.py",
            "from .parse import Parse\nfrom symphainy import capability",
        ),
        ("symphainy/cli/main.py", "from symphainy.boot.phases import start"),
    ],
)
def test_an_allowed_arrow_is_let_through(path: str, source: str) -> None:
    assert forbidden_arrows(module(path, source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from os import path",
        "import asyncio.events",
        "def now():\n    import time",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.now(datetime.UTC)",
        "import uuid\nuuid.uuid4()",
        "open('x')",
    ],
)
def test_an_impurity_is_found(source: str) -> None:
    assert impurities(module("symphainy/civic/nurse.py", source)) != []


def test_times_as_values_are_pure() -> None:
    source = "from datetime import UTC, datetime\ndatetime.fromisoformat('2026-01-01').astimezone(UTC)"
    assert impurities(module("symphainy/civic/nurse.py", source)) == []
