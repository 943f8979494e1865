"""Generated parts of hand-written pages.

A part stands between `<!-- include KIND ARGUMENT -->` and `<!-- /include -->`:

    source  module:Name    the definition as it stands in the code
    methods module:Name    its public methods: signature, what each gives, and the first paragraph of its docstring
    file    path           a file of the repository, in a fence
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from symphainy.cli.reference.markdown import code, fenced, table

REGION = re.compile(r"<!-- include (?P<kind>\w+) (?P<argument>\S+) -->\n(?P<body>.*?)<!-- /include -->", re.DOTALL)
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".json": "json"}


def filled(text: str, *, root: Path) -> str:
    """The page with every part written anew. Raises `LookupError` when a part names what does not exist."""

    def write(found: re.Match[str]) -> str:
        kind, argument = found["kind"], found["argument"]
        body = _PARTS[kind](root, argument)
        return f"<!-- include {kind} {argument} -->\n{body.strip()}\n<!-- /include -->"

    return REGION.sub(write, text)


def named(path: str) -> Any:
    """What `module:Name` names. Raises `LookupError` when it is gone."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{path} is named in a document and does not exist: {error}") from error


def _source(_root: Path, path: str) -> str:
    return fenced(inspect.getsource(named(path)), "python")


def _file(root: Path, path: str) -> str:
    return fenced((root / path).read_text("utf-8"), LANGUAGES.get(Path(path).suffix, "text"))


def _methods(_root: Path, path: str) -> str:
    return table(["operation", "gives", "meaning"], list(_method_rows(named(path))))


def _method_rows(owner: type) -> Iterator[tuple[str, str, str]]:
    for name, member in vars(owner).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            doc = inspect.getdoc(getattr(owner, name)) or ""
            gives = inspect.formatannotation(inspect.signature(function).return_annotation).strip("'")
            yield code(signature(name, function)), "" if gives == "None" else code(gives), doc.partition("\n\n")[0]


def signature(name: str, function: Callable[..., Any]) -> str:
    """`name(argument, other=default)`, without types and without self."""
    shown, keyword_only = [], False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        star = _STARS.get(parameter.kind, "")
        keyword_only = keyword_only or bool(star)
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{star}{parameter.name}{default}")
    return f"{name}({', '.join(shown)})"


_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


_PARTS: dict[str, Callable[[Path, str], str]] = {
    "file": _file,
    "methods": _methods,
    "source": _source,
}
