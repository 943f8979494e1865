"""docs/reference/routes.md: both OpenAPI documents side by side."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from symphainy.cli.reference.contracts import GENERATED
from symphainy.cli.reference.markdown import anchor, code, paragraphs, table
from symphainy.cli.reference.schema import Field, Schema, fields, name_of

PROBLEM = "application/problem+json"
METHODS = ("get", "post", "put", "patch", "delete")
Document = Mapping[str, Any]


class Route(NamedTuple):
    method: str
    path: str
    operation: Mapping[str, Any]
    document: Document
    services: tuple[str, ...]

    @property
    def heading(self) -> str:
        return f"{self.method.upper()} {self.path}"


def routes_page(documents: Mapping[str, Document]) -> str:
    """`documents`: the OpenAPI document of each service, by its name."""
    routes = list(_routes(documents))
    refusals = [set(_refusals(route)) for route in routes]
    everywhere = set.intersection(*refusals) if refusals else set()
    return paragraphs(
        GENERATED,
        "# Routes",
        "Where a route stands on both services it is the same route. Errors: [errors](errors.md)."
        " A running service shows the same document at `/docs` and `/openapi.json`.",
        table(
            ["route", "answers on", "does"],
            [
                (
                    f"[{code(route.heading)}](#{anchor(route.heading)})",
                    ", ".join(route.services),
                    str(route.operation.get("summary", "")),
                )
                for route in routes
            ],
        ),
        "Any of them may also answer:",
        table(["answer", "carries"], sorted(everywhere)),
        *(_section(route, everywhere) for route in routes),
        "## Shapes",
        *_shapes(documents, routes),
    )


def _routes(documents: Mapping[str, Document]) -> Iterator[Route]:
    found: dict[tuple[str, str], Route] = {}
    for service, document in documents.items():
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item:
                    before = found.get((path, method))
                    services = (*(before.services if before else ()), service)
                    found[path, method] = Route(method, path, item[method], document, services)
    yield from (found[key] for key in sorted(found, key=lambda key: (key[0], METHODS.index(key[1]))))


def _section(route: Route, everywhere: set[tuple[str, str]]) -> str:
    operation, document = route.operation, route.document
    parameters = [_deref(parameter, document) for parameter in operation.get("parameters", ())]
    refused = [row for row in _refusals(route) if row not in everywhere]
    return paragraphs(
        f"## {route.heading}",
        f"{str(operation.get('summary', '')).rstrip('.')}. {operation.get('description', '')}".strip(),
        table(
            ["parameter", "in", "type", "required", "meaning"],
            [_parameter_row(parameter, document) for parameter in parameters],
        )
        if parameters
        else "",
        *_body(operation, document),
        table(["answer", "carries"], [*_successes(route), *refused]),
    )


def _answers(route: Route) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """(status, answer, whether it is a refusal)"""
    for status, answer in sorted(route.operation.get("responses", {}).items()):
        found = _deref(answer, route.document)
        yield status, found, set(found.get("content", {})) == {PROBLEM}


def _refusals(route: Route) -> list[tuple[str, str]]:
    return [(status, str(found["description"])) for status, found, refused in _answers(route) if refused]


def _successes(route: Route) -> list[tuple[str, str]]:
    return [(status, _carries(found, route.document)) for status, found, refused in _answers(route) if not refused]


def _shapes(documents: Mapping[str, Document], routes: list[Route]) -> Iterator[str]:
    """What answers carry, and what that carries in turn, each shape once."""
    schemas = {name: schema for each in documents.values() for name, schema in each["components"]["schemas"].items()}
    waiting = {name for route in routes for _, answer, _ in _answers(route) for name in _names(answer)}
    shown: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in shown and "properties" in schemas[name]:
            shown.add(name)
            waiting |= set(_references(schemas[name]))
    for name in sorted(shown):
        rows = fields({**schemas[name], "$defs": schemas}, linked=shown)
        yield f"### {name}"
        yield inspect.cleandoc(str(schemas[name].get("description", "")))
        yield table(
            ["field", "type", "may be absent", "meaning"],
            [
                (
                    code(row.name),
                    row.type + (" or null" if row.nullable else ""),
                    "" if row.required else "yes",
                    row.description,
                )
                for row in rows
            ],
        )


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)}:
            yield name_of(reference)
        case dict():
            for held in value.values():
                yield from _references(held)
        case list():
            for held in value:
                yield from _references(held)


def _names(answer: Mapping[str, Any]) -> Iterator[str]:
    for held in answer.get("content", {}).values():
        yield from _references(held.get("schema", {}))


def _deref(value: Mapping[str, Any], document: Document) -> Mapping[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = document
    for part in str(value["$ref"]).removeprefix("#/").split("/"):
        found = found[part]
    return _deref(found, document)


def _fields(schema: Schema, document: Document) -> tuple[Field, ...]:
    defs = dict(document.get("components", {}).get("schemas", {}))
    return fields({**_deref(schema, document), "$defs": defs})


def _parameter_row(parameter: Mapping[str, Any], document: Document) -> tuple[str, str, str, str, str]:
    name = str(parameter["name"])
    [shown] = _fields({"properties": {name: parameter.get("schema", {})}}, document)[:1]
    return (
        code(name),
        str(parameter["in"]),
        shown.type,
        "yes" if parameter.get("required") else "",
        str(parameter.get("description", "")),
    )


def _body(operation: Mapping[str, Any], document: Document) -> Iterator[str]:
    content = _deref(operation.get("requestBody", {}), document).get("content", {})
    for media_type, held in content.items():
        rows = [
            (
                code(row.name),
                row.type,
                "yes" if row.required else "",
                row.default and code(row.default),
                row.description,
            )
            for row in _fields(held.get("schema", {}), document)
        ]
        if rows:
            yield f"Body, {code(media_type)}:"
            yield table(["field", "type", "required", "default", "meaning"], rows)


def _carries(answer: Mapping[str, Any], document: Document) -> str:
    said = str(answer.get("description", ""))
    for media_type, held in answer.get("content", {}).items():
        schema = held.get("schema", {})
        shapes = " or ".join(f"[{name}](#{anchor(name)})" for name in _references(schema))
        several = "array of " if schema.get("type") == "array" else ""
        said += f" {code(media_type)}" + (f": {several}{shapes}" if shapes else "")
    return said.strip()
