"""The document says what the service does: every address, every answer, and examples that fit."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest

from symphainy.door import Health
from symphainy.wire import examples
from symphainy.wire.app import create_app
from symphainy.wire.docs import CONTENT_SECURITY_POLICY, docs_page
from symphainy.wire.operations import Access, Operation, Service
from symphainy.wire.routes import CREATE_ANONYMOUS_SESSION, FIRST_PUBLISHED, SHARED
from symphainy.wire.settings import EdgeSettings

OPERATIONS = (*SHARED, CREATE_ANONYMOUS_SESSION, *FIRST_PUBLISHED)


def identify(_arrival: object) -> Any:
    raise AssertionError("nobody calls here")


async def health() -> Health:
    raise AssertionError("nobody asks here")


APP = create_app(
    Service(identify=identify, health=health, settings=EdgeSettings()),
    OPERATIONS,
    title="Test",
    description="A document for tests with `code` and <angles>.",
    also_refused=("unexpected_answer",),
)
DOCUMENT = APP.openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in value:
        return value
    found: Any = DOCUMENT
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    assert isinstance(found, dict)
    return found


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, method, operation in operations():
        for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{method} {path} body {media_type}", media
        for status, response in operation["responses"].items():
            for media_type, media in resolved(response).get("content", {}).items():
                yield f"{method} {path} {status} {media_type}", media


def validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


def strict(schema: Any) -> Any:
    """Every object closed and every reference followed: an example may not have what its schema does not know."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return strict(resolved(schema))
    out = {name: strict(value) for name, value in schema.items() if name != "examples"}
    if "properties" in out:
        out.setdefault("additionalProperties", False)
    return out


EXAMPLES = [
    (f"{where} {name}", media["schema"], example["value"])
    for where, media in contents()
    for name, example in media.get("examples", {}).items()
]


@pytest.mark.parametrize(("where", "schema", "example"), EXAMPLES, ids=[where for where, _, _ in EXAMPLES])
def test_every_example_fits_its_schema(where: str, schema: dict[str, Any], example: Any) -> None:
    closed = "problem+json" not in where  # a problem may carry further members
    validator(strict(schema) if closed else schema).validate(example)


def test_every_json_answer_and_every_body_has_an_example() -> None:
    bare = [
        where
        for where, media in contents()
        if "json" in where.rsplit(" ", 1)[-1] and "ndjson" not in where and not media.get("examples")
    ]
    assert bare == ["get /openapi.json 200 application/json"]


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    served = {
        (path, method.lower())
        for route in APP.routes
        if (path := getattr(route, "path", None)) and (methods := getattr(route, "methods", None))
        for method in methods - {"HEAD"}
    }
    assert served == {(path, method) for path, method, _ in operations()}
    assert len(served) == len(OPERATIONS) + 2


def test_what_belongs_to_a_later_version_is_nowhere() -> None:
    absent = re.compile("upgrade|signal|data-mash|pending/(?!create|list)|approval|/auth")
    assert [path for path, _, _ in operations() if absent.search(path)] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: f"{each.method} {each.path}")
def test_every_operation_documents_every_way_to_be_refused(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    statuses = set(map(int, described["responses"]))
    expected = {429, 500, 503, 502} | set(operation.answers)
    if operation.access is Access.IDENTIFIED:
        expected |= {401, 403, 422}
        assert described["security"] == [{"token": []}]
    else:
        assert "security" not in described
    if operation.body or operation.form:
        expected |= {408, 413, 415, 422}
    if "{" in operation.path:
        expected |= {404}
    assert expected <= statuses
    for status, response in described["responses"].items():
        assert resolved(response)["description"], status
        assert "X-Request-Id" in resolved(response)["headers"]


def test_operations_are_named_once() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_internal_places_in_the_log_are_not_part_of_the_contract() -> None:
    for name in ("Execution", "Artifact", "PendingIntent"):
        schema = DOCUMENT["components"]["schemas"][name]
        assert not {"ordinal", "state"} & set(schema["properties"])
    execution = DOCUMENT["components"]["schemas"]["Execution"]
    assert set(execution["properties"]) - set(execution["required"]) == {"steps"}


def test_bodies_are_closed_and_answers_are_open() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}
    bodies = {operation.body.__name__ for operation in OPERATIONS if operation.body}
    assert closed == bodies | {"BatchItem"}


def test_every_reference_leads_somewhere() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    for reference in set(references(DOCUMENT)):
        assert resolved({"$ref": reference})


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), "no script in attributes"
            assert name != "style", "the policy allows no inline style"
            if name == "id" and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.add(value)


def test_the_page_needs_no_script_and_nothing_from_elsewhere() -> None:
    page = Page()
    text = docs_page(DOCUMENT).decode()
    page.feed(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert "&lt;angles&gt;" in text
    assert b"default-src 'none'" in CONTENT_SECURITY_POLICY


def test_the_page_shows_every_operation_and_every_schema() -> None:
    text = docs_page(DOCUMENT).decode()
    for path, _, operation in operations():
        assert f"<code>{path}</code>" in text
        assert html.escape(operation["summary"]) in text
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="schema-{name}"' in text


def test_examples_name_nobody_and_no_machine() -> None:
    text = str(vars(examples))
    assert not re.search(r"@|https?://|/home/|/root/", text)
