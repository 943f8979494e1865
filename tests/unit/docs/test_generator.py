"""The generator of the reference: what it writes of a capability, and what it finds stale."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from symphainy.capability import Capability, ExecutionContext, IntentResult, RetryPolicy, intent
from symphainy.cli.reference.catalogue import Catalogue, PlannedIntent
from symphainy.cli.reference.contracts import contract_pages
from symphainy.cli.reference.markdown import anchor, table
from symphainy.cli.reference.regions import filled, signature
from symphainy.cli.reference.routes import routes_page
from symphainy.cli.reference.schema import fields


class Part(BaseModel):
    name: str = Field(description="What it is called.")
    size: int | None = None


class Assemble(BaseModel):
    parts: list[Part]
    mode: str = "quick"


class Assembled(BaseModel):
    count: int


class Workshop(Capability):
    name = "workshop"
    description = "Puts things together."

    @intent(
        "assemble",
        result=Assembled,
        aliases=("workshop.assemble",),
        artifacts=("machine",),
        accepts=("plan",),
        events=("assembled",),
        errors={"no_parts": "there is nothing to put together"},
        retry=RetryPolicy(attempts_max=4),
        timeout_s=30,
        idempotency="the parts",
        state_reads=("bench",),
    )
    async def assemble(self, ctx: ExecutionContext, params: Assemble) -> IntentResult:
        """Put parts together.

        In the order given.
        """
        return IntentResult()


def pages(catalogue: Catalogue | None = None) -> dict[str, str]:
    works: Any = None
    return {path.name: text for path, text in contract_pages([Workshop(public_works=works)], catalogue)}


def plan(intent_type: str) -> PlannedIntent:
    return PlannedIntent(
        intent_type=intent_type,
        capability="workshop",
        experience="hall",
        read_only=False,
        purpose="Later.",
        parameters=("thing string!",),
        artifacts=("rubble READY",),
        events=("broken",),
    )


def catalogue(*intent_types: str) -> Catalogue:
    return Catalogue(
        about="",
        capabilities=(),
        folders=(),
        words=(),
        intents=tuple(plan(intent_type) for intent_type in intent_types),
        not_intents=(),
    )


def test_the_page_of_an_intent_says_everything_that_is_declared() -> None:
    page = pages()["assemble.md"]
    assert page.splitlines()[2:] == EXPECTED.splitlines()


EXPECTED = """\
# assemble

Put parts together.

In the order given.

| | |
|---|---|
| capability | [workshop](README.md#workshop) |
| handler | `Workshop.assemble` |
| version | 1 |
| older names that resolve | `workshop.assemble` |
| read-only | no |
| who may submit it | anonymous callers, and member and higher |

## Parameters

| parameter | type | required | default | meaning |
|---|---|---|---|---|
| `parts` | array of object | yes | | |
| `parts[].name` | string | yes | | What it is called. |
| `parts[].size` | integer | | | |
| `mode` | string | | `"quick"` | |

## Results

| field | type |
|---|---|
| `count` | integer |

## Artifacts

Registers `machine`.

## Events

The handler emits `assembled`. The runtime adds [those of every execution](../reference/events.md).

## Errors

| code | when |
|---|---|
| `no_parts` | there is nothing to put together |

What any intent can be refused with stands in [errors](../reference/errors.md).

## Idempotency

The same work is: the parts. With an `Idempotency-Key`, the same request answers the same execution.

## Obligations

| | |
|---|---|
| registration | `assemble` → `Workshop.assemble`, version 1; parameters `Assemble` |
| execution | up to 4 attempts, the first pause 1 s, each 2 times the one before, at most 60 s; \
at most 30 s; for anonymous callers, and member and higher |
| state | reads `bench` |
| artifacts | works on `plan`; registers `machine` |

What holds for every intent: [obligations](RUNTIME_OBLIGATIONS_INDEX.md#every-intent).
"""


def test_without_a_catalogue_there_is_no_page_on_it() -> None:
    assert set(pages()) == {"README.md", "RUNTIME_OBLIGATIONS_INDEX.md", "assemble.md"}


def test_a_planned_intent_is_marked_until_it_is_registered() -> None:
    found = pages(catalogue("assemble", "demolish"))
    summary = found["VISION_ALIGNMENT_SUMMARY.md"]
    assert "1 of 2 are" in summary
    assert "| [`assemble`](assemble.md) | workshop | hall | yes |" in summary
    assert "| `demolish` | workshop | hall | not yet |" in summary
    assert "| `demolish` | thing string! | rubble READY | `broken` |" in found["RUNTIME_OBLIGATIONS_INDEX.md"]


def test_an_intent_outside_the_catalogue_is_named_as_such() -> None:
    summary = pages(catalogue("demolish"))["VISION_ALIGNMENT_SUMMARY.md"]
    assert "Registered, and not of the catalogue:" in summary
    assert "| [`assemble`](assemble.md) | workshop |" in summary


def test_the_pages_are_the_same_each_time() -> None:
    assert pages() == pages()


def test_a_table_leaves_out_columns_in_which_nothing_stands() -> None:
    assert table(["a", "b", "c"], [("1", "", "x|y"), ("", "", "two\n lines")]) == (
        "| a | c |\n|---|---|\n| 1 | x\\|y |\n| | two lines |"
    )
    assert table(["a"], []) == "None."


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Not registered yet", "not-registered-yet"),
        ("GET /api/session/{session_id}", "get-apisessionsession_id"),
        ("1. Registration", "1-registration"),
    ],
)
def test_anchors_are_those_of_github(heading: str, expected: str) -> None:
    assert anchor(heading) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "`a` | `b`"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, "integer (at least 1)"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "integer or string"),
        ({"type": "array", "items": {"type": "string", "maxLength": 5}}, "array of string (at most 5 characters)"),
        ({"type": ["string", "null"]}, "string"),
        ({"$ref": "#/$defs/Part"}, "object"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({"const": 3}, "`3`"),
        ({}, "any"),
    ],
)
def test_a_type_is_told_in_a_few_words(schema: dict[str, Any], expected: str) -> None:
    part = {"type": "object", "properties": {"x": {"type": "string"}}}
    assert fields({"properties": {"it": schema}, "$defs": {"Part": part}})[0].type == expected


def test_a_shape_with_a_heading_of_its_own_is_linked_to() -> None:
    schema = {"properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}}}, "$defs": {"Part": {}}}
    assert [row.type for row in fields(schema, linked={"Part"})] == ["array of [Part](#part)"]


def test_a_route_of_both_services_is_told_once() -> None:
    document = {
        "paths": {"/a": {"get": {"summary": "Read", "responses": {"200": {"description": "It."}}}}},
        "components": {"schemas": {}},
    }
    page = routes_page({"runtime": document, "experience": document})
    assert page.count("## GET /a\n") == 1
    assert "| [`GET /a`](#get-a) | runtime, experience | Read |" in page


def test_a_part_of_a_page_is_written_between_its_marks(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    page = "before\n<!-- include file one.py -->\nold\n<!-- /include -->\nafter\n"
    written = "before\n<!-- include file one.py -->\n```python\nx = 1\n```\n<!-- /include -->\nafter\n"
    assert filled(page, root=tmp_path) == written
    assert filled(written, root=tmp_path) == written


def test_a_part_that_names_what_is_gone_is_an_error(tmp_path: Path) -> None:
    page = "<!-- include source symphainy.capability:Gone -->\n<!-- /include -->\n"
    with pytest.raises(LookupError, match=r"symphainy\.capability:Gone"):
        filled(page, root=tmp_path)


def test_a_signature_is_told_without_types() -> None:
    async def run(self: object, what: str, /, *, session_id: str, limit: int = 5) -> None: ...

    assert signature("run", run) == "run(what, *, session_id, limit=5)"
