"""The package as syntax trees, for tests that check a rule over the whole of it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Module:
    name: str  # "symphainy.runtime.engine"; a package has the name of its folder
    path: str  # "symphainy/runtime/engine.py"
    tree: ast.Module
    is_package: bool = False


def module(path: str, source: str) -> Module:
    parts = Path(path).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name=name, path=path, tree=ast.parse(source, path), is_package=is_package)


@cache
def modules() -> tuple[Module, ...]:
    found = sorted((ROOT / "symphainy").rglob("*.py"))
    return tuple(module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in found)


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Each call with what is called, as written: "datetime.datetime.now". Empty if it is not a plain name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def dotted(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name) if owner := dotted(value):
            return f"{owner}.{name}"
    return ""
