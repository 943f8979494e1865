"""The rules of style that a machine can check. Each message says what to write instead."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source import ROOT, Module, calls, dotted, module, modules

# Where a failure that nobody foresaw is recorded: the worker loop, the HTTP edge and the command line.
MAY_CATCH_EVERYTHING = (
    "symphainy/cli/main.py",
    # A write that breaks an invariant must not stop the thread that writes for everybody.
    "symphainy/public_works/sqlite.py",
    # The one place where handlers and steps are caught, and the loop that claims.
    "symphainy/runtime/attempt.py",
    "symphainy/runtime/worker.py",
    "symphainy/wire/",
)
MAY_READ_THE_CLOCK = ("symphainy/cli/", "symphainy/public_works/clock.py")
CLOCK_READINGS = {
    *("date.today", "datetime.now", "datetime.today", "datetime.utcnow", "time.time", "time.time_ns"),
}
UNSAFE_MODULES = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
SUBJECTLESS = {"base", "common", "helper", "helpers", "manager", "managers", "util", "utils"}
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
WRITTEN_BY_HAND = {".css", ".html", ".js", ".md", ".py", ".sql", ".toml"}


def broad_handlers(source: Module) -> Iterator[str]:
    if source.path.startswith(MAY_CATCH_EVERYTHING):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and catches_everything(node):
            yield f"{source.path}:{node.lineno}: catch the named error that you can do something about"
    for call, called in calls(source.tree):
        if called.split(".")[-1] == "suppress" and {"Exception", "BaseException"} & set(map(dotted, call.args)):
            yield f"{source.path}:{call.lineno}: suppress the named error that may be ignored, and say why"


def catches_everything(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {dotted(each) if each else "BaseException" for each in caught}
    if "Exception" in names:
        return True
    # `except BaseException: roll back; raise` undoes and swallows nothing, cancellation included.
    match handler.body[-1]:
        case ast.Raise(exc=None):
            return False
    return "BaseException" in names


def clock_readings(source: Module) -> Iterator[str]:
    if source.path.startswith(MAY_READ_THE_CLOCK):
        return
    for call, called in calls(source.tree):
        if ".".join(called.split(".")[-2:]) in CLOCK_READINGS:
            yield f"{source.path}:{call.lineno}: {called}() reads the wall clock; ask the Clock port"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            for name in CLOCK_READINGS & {f"time.{alias.name}" for alias in node.names}:
                yield f"{source.path}:{node.lineno}: {name} reads the wall clock; ask the Clock port"


def unsafe_code(source: Module) -> Iterator[str]:
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                imported = {alias.name.split(".")[0] for alias in names}
            case ast.ImportFrom(module=str(origin)):
                imported = {origin.split(".")[0]}
            case _:
                continue
        for name in sorted(imported & UNSAFE_MODULES):
            yield f"{source.path}:{node.lineno}: {name} runs what it reads; write JSON or msgspec"
    for call, called in calls(source.tree):
        if called in {"eval", "exec", "builtins.eval", "builtins.exec"}:
            yield f"{source.path}:{call.lineno}: {called}() runs data as code; parse it"


def subjectless_name(path: Path) -> bool:
    return bool(SUBJECTLESS & {*path.parent.parts, path.stem})


def intent_names(source: Module) -> Iterator[str]:
    """The names that `@intent("name")` and `@intent(intent_type="name")` register."""
    for call, called in calls(source.tree):
        if called.split(".")[-1] == "intent":
            named = [keyword.value for keyword in call.keywords if keyword.arg == "intent_type"]
            for value in [*call.args[:1], *named]:
                match value:
                    case ast.Constant(value=str(name)):
                        yield name


def mentions(source: Module, names: set[str]) -> Iterator[str]:
    prose = {
        id(node.body[0].value)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(source.tree):
        match node:
            case ast.Constant(value=str(text)) if text in names and id(node) not in prose:
                yield f"{source.path}:{node.lineno}: the runtime knows no intent by name: {text}"


def found(rule: Iterator[str]) -> list[str]:
    return sorted(rule)


def test_only_the_edges_catch_everything() -> None:
    assert found(line for source in modules() for line in broad_handlers(source)) == []


def test_time_comes_from_the_clock() -> None:
    assert found(line for source in modules() for line in clock_readings(source)) == []


def test_no_data_is_run_as_code() -> None:
    assert found(line for source in modules() for line in unsafe_code(source)) == []


def test_every_module_is_named_for_its_subject() -> None:
    assert [source.path for source in modules() if subjectless_name(Path(source.path))] == []


def test_the_runtime_knows_no_intent_by_name() -> None:
    providers = ("symphainy.capabilities", "symphainy.agents")
    names = {name for source in modules() if source.name.startswith(providers) for name in intent_names(source)}
    runtime = [source for source in modules() if source.path.startswith("symphainy/runtime")]
    assert found(line for source in runtime for line in mentions(source, names)) == []


def test_nothing_is_left_for_later() -> None:
    folders = ("symphainy", "tests", "bench", "examples")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in WRITTEN_BY_HAND]
    ours = [path for path in files if "samples" not in path.parts and ".min" not in path.suffixes]
    marked = [
        f"{path.relative_to(ROOT)}:{number}: do it, or open an issue"
        for path in ours
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert marked == []


@pytest.mark.parametrize(
    "handler",
    [
        "except Exception: pass",
        "except Exception as e: raise",
        "except (ValueError, Exception): pass",
        "except: pass",
        "except BaseException: pass",
    ],
)
def test_a_broad_handler_is_found(handler: str) -> None:
    source = f"try:\n    work()\n{handler}"
    assert found(broad_handlers(module("symphainy/civic/nurse.py", source))) != []
    assert found(broad_handlers(module("symphainy/runtime/worker.py", source))) == []


@pytest.mark.parametrize("handler", ["except ValueError: pass", "except BaseException:\n    raise"])
def test_a_handler_that_names_its_error_or_swallows_nothing_is_let_through(handler: str) -> None:
    assert found(broad_handlers(module("symphainy/civic/nurse.py", f"try:\n    work()\n{handler}"))) == []


def test_a_broad_suppress_is_found() -> None:
    source = "with contextlib.suppress(Exception):\n    work()"
    assert found(broad_handlers(module("symphainy/sdk/client.py", source))) != []


@pytest.mark.parametrize(
    "source",
    [
        "datetime.now()",
        "datetime.datetime.utcnow()",
        "date.today()",
        "time.time()",
        "from time import time_ns",
    ],
)
def test_a_reading_of_the_wall_clock_is_found(source: str) -> None:
    assert found(clock_readings(module("symphainy/runtime/engine.py", source))) != []
    assert found(clock_readings(module("symphainy/public_works/clock.py", source))) == []


def test_the_clock_port_is_let_through() -> None:
    source = "clock.now()\ntime.monotonic()\nself.clock.now()"
    assert found(clock_readings(module("symphainy/runtime/engine.py", source))) == []


@pytest.mark.parametrize("source", ["import pickle", "from marshal import loads", "eval('1')", "exec(code)"])
def test_unsafe_code_is_found(source: str) -> None:
    assert found(unsafe_code(module("symphainy/runtime/engine.py", source))) != []


def test_the_exec_of_a_database_is_let_through() -> None:
    assert found(unsafe_code(module("symphainy/public_works/sqlite.py", "connection.exec('select 1')"))) == []


@pytest.mark.parametrize("path", ["symphainy/utils.py", "symphainy/sdk/base.py", "symphainy/common/a.py"])
def test_a_name_without_a_subject_is_found(path: str) -> None:
    assert subjectless_name(Path(path))


def test_an_intent_mentioned_by_name_is_found() -> None:
    capability = module(
        "symphainy/capabilities/content/__init__.py",
        "class Content:\n"
        "    @intent('ingest_file')\n    async def ingest(self): ...\n"
        "    @capability.intent(intent_type='parse_content')\n    async def parse(self): ...",
    )
    names = set(intent_names(capability))
    assert names == {"ingest_file", "parse_content"}
    source = "'''ingest_file'''\nif intent_type == 'ingest_file': special()"
    assert len(found(mentions(module("symphainy/runtime/engine.py", source), names))) == 1
