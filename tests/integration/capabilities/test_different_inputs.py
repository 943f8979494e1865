"""Two different inputs never give the same analysis, and the same input always gives the same one: of every intent of
content and insights that computes something.

Ids, names and times are left out before analyses are compared: they differ by themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from symphainy.boot.phases import Platform
from symphainy.model import JsonObject
from symphainy.model.json import canonical
from symphainy.testing.platform import in_memory_platform
from tests.integration.capabilities.desk import CAPABILITIES, Desk, desk
from tests.unit.capabilities.content.pdfs import pdf

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: What says nothing of the content.
BESIDE_THE_POINT = frozenset(
    {
        *("file_id", "parsed_file_id", "deterministic_embedding_id", "embedding_id", "boundary_contract_id"),
        *("boundary_contract_expires_at", "filename", "ui_name", "lifecycle_state", "duplicate_of"),
    }
)
#: Intents that keep the books: they compute nothing about a content.
BOOKKEEPING = frozenset(
    {
        *("save_materialization", "archive_file", "transition_artifact_lifecycle"),
        *("list_artifacts", "retrieve_artifact_metadata"),
    }
)
QUESTION = "which pump leaks"

#: By the extension of their name. These differ in their words.
WORDED: dict[str, list[bytes]] = {
    "csv": [
        b"pump,state\nP-1,leaks\nP-2,runs\n",
        b"pump,state\nP-1,leaks\nP-2,stands\n",
        b"pump,state\nP-1,runs\nP-2,leaks\n",
        b"pump,state\nP-2,runs\nP-1,leaks\n",
        b"pump,condition\nP-1,leaks\nP-2,runs\n",
        b"state,pump\nleaks,P-1\nruns,P-2\n",
        b"pump,state\nP-1,leaks\nP-2,runs\nP-2,runs\n",
        b"pump,state\nP-1,leaks\nP-2,runs\nP-3,runs\n",
    ],
    "json": [
        b'[{"pump": 1, "state": "leaks"}]',
        b'[{"pump": 2, "state": "leaks"}]',
        b'[{"pump": true, "state": "leaks"}]',
        b'[{"pump": null, "state": "leaks"}]',
        b'[{"pump": 1, "state": "leaks badly"}]',
        b'[{"pump": 1, "condition": "leaks"}]',
        b'[{"pump": {"state": "leaks"}}]',
        b'[{"pump": 1, "state": "leaks"}, {"pump": 1, "state": "leaks"}]',
        b'{"pump": 1, "state": "leaks"}',
    ],
    "md": [
        b"# Pumps\n\nThe pump leaks at the shaft.\n",
        b"# Pumps\n\nThe pump leaks at the valve.\n",
        b"# Valves\n\nThe pump leaks at the shaft.\n",
        b"# Pumps\n\nThe pump leaks at the shaft.\n\nIt is old.\n",
        b"# Pumps\n\nIt is old.\n\nThe pump leaks at the shaft.\n",
    ],
    "txt": [
        b"The pump leaks at the shaft.\n",
        b"The pump leaks at the valve.\n",
        b"The pump leaks at the shaft.\n\nIt is old.\n",
        b"It is old.\n\nThe pump leaks at the shaft.\n",
    ],
    "pdf": [
        pdf([["The pump leaks."]]),
        pdf([["The pump stands and leaks."]]),
        pdf([["The pump leaks."], ["The pump is old."]]),
        pdf([["The pump is old."], ["The pump leaks."]]),
    ],
}
#: These differ in anything else that a file can say: a sentence model reads no case, no types and no layout.
SHAPED: dict[str, list[bytes]] = {
    "csv": [
        b"pump,state\nP-1,Leaks\nP-2,runs\n",
        b"pump,state\nP-1,leaks \nP-2,runs\n",
        b'pump,state\nP-1,"leaks\n"\nP-2,runs\n',
        b"pump,state\nP-1,leaks\nP-2,\n",
        b"pump,state\nP-1,leaks\nP-2,runs\nP-3\n",
        b"pump,state\nP-1,leaks\nP-2,runs\nP-4\n",
        b"pump,state\n1,leaks\n2,runs\n",
        b"pump,state\n1.0,leaks\n2,runs\n",
        b"pump,state\n01,leaks\n2,runs\n",
    ],
    "json": [
        b'[{"pump": "1", "state": "leaks"}]',
        b'[{"pump": 1.0, "state": "leaks"}]',
        b'[{"pump": 1.00, "state": "leaks"}]',
        b'[{"pump": "", "state": "leaks"}]',
        b'[{"pump": [], "state": "leaks"}]',
        b'[{"pump": "[]", "state": "leaks"}]',
        b'[{"pump": {}, "state": "leaks"}]',
        b'[{"pump": 10000000000000000000000, "state": "leaks"}]',
        b'[{"pump": 10000000000000000000001, "state": "leaks"}]',
        b'[{"pump": 0.10000000000000000001, "state": "leaks"}]',
        b'[{"pump": 0.1, "state": "leaks"}]',
        b'{"plant": [{"pump": 1, "state": "leaks"}]}',
        b'{"site": [{"pump": 1, "state": "leaks"}]}',
        b'["pump leaks"]',
        b'"pump leaks"',
        b'[["pump leaks"]]',
    ],
    "md": [
        b"## Pumps\n\nThe pump leaks at the shaft.\n",
        b"Pumps\n\nThe pump leaks at the shaft.\n",
        b"# Pumps\n\n* The pump leaks at the shaft.\n",
        b"# Pumps\n\n```\nThe pump leaks at the shaft.\n```\n",
    ],
    "txt": [b"the pump leaks at the shaft.\n", b"The pump leaks at the shaft\n", b"The pump leaks  at the shaft.\n"],
    "pdf": [pdf([["The pump leaks.", "", "", "The pump is old."]])],
}
FORMATS = sorted(WORDED)


@dataclass(frozen=True, kw_only=True)
class Analysed:
    """A file that has gone all the way, by the intents that were asked."""

    at: Desk
    results: dict[str, JsonObject]

    def id(self, name: str) -> str:
        return next(str(result[name]) for result in reversed(self.results.values()) if name in result)


async def analysed(platform: Platform, data: bytes, name: str, *, embed: bool) -> Analysed:
    """In a session of its own, where nothing is known of it from before."""
    ada = await desk(platform)
    file = await ada.ingest(data, name)
    contract = {"boundary_contract_id": file["boundary_contract_id"]}
    await ada.run("save_materialization", file_id=file["file_id"], **contract)
    parsed = await ada.run("parse_content", file_id=file["file_id"])
    found = {"parsed_file_id": parsed["parsed_file_id"]}
    prints = await ada.run("create_deterministic_embeddings", **found)
    results = {"ingest_file": file, "parse_content": parsed, "create_deterministic_embeddings": prints}
    results["get_parsed_file"] = await ada.run("get_parsed_file", **found, preview_limit=100)
    if embed:
        below = {"deterministic_embedding_id": prints["deterministic_embedding_id"]}
        results["extract_embeddings"] = await ada.run("extract_embeddings", **found, **below)
        only = {"parsed_file_ids": [parsed["parsed_file_id"]]}
        results["query_data"] = await ada.run("query_data", query=QUESTION, **only)
    return Analysed(at=ada, results=results)


def to_the_point(value: Any) -> Any:
    match value:
        case dict():
            return {name: to_the_point(each) for name, each in value.items() if name not in BESIDE_THE_POINT}
        case list():
            return [to_the_point(each) for each in value]
    return value


async def _result(of: Analysed, intent_type: str) -> bytes:
    return canonical(to_the_point(of.results[intent_type]))


async def _parsed(of: Analysed) -> bytes:
    return await _result(of, "parse_content") + await of.at.content(of.id("parsed_file_id"))


async def _fingerprinted(of: Analysed) -> bytes:
    artifact = await of.at.artifact(of.id("deterministic_embedding_id"))
    return await _result(of, "create_deterministic_embeddings") + canonical(artifact.semantic_payload)


async def _embedded(of: Analysed) -> bytes:
    return await of.at.content(of.id("embedding_id"))


async def _answered(of: Analysed) -> bytes:
    """What was answered, without how good it is."""
    passages = of.results["query_data"]["passages"]
    return canonical([[each["text"], each["position"]] for each in passages])


Analysis = Callable[[Analysed], Awaitable[bytes]]
#: What each intent has made of a file: its result, and what lies in the artifact.
ANALYSES: dict[str, Analysis] = {
    "ingest_file": lambda of: _result(of, "ingest_file"),
    "parse_content": _parsed,
    "get_parsed_file": lambda of: _result(of, "get_parsed_file"),
    "create_deterministic_embeddings": _fingerprinted,
    "extract_embeddings": _embedded,
    "query_data": _answered,
}
BY_WORDS = frozenset({"extract_embeddings", "query_data"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform() -> AsyncIterator[Platform]:
    async with in_memory_platform(capabilities=CAPABILITIES) as running:
        yield running


async def test_every_intent_that_computes_something_is_looked_at(platform: Platform) -> None:
    ada = await desk(platform)
    catalogue = {info.intent_type for info in await ada.sdk.list_intents()}
    assert catalogue == ANALYSES.keys() | BOOKKEEPING


@pytest.mark.parametrize("format", FORMATS)
async def test_two_different_inputs_never_give_the_same_analysis(platform: Platform, format: str) -> None:
    worded = [await analysed(platform, data, f"x.{format}", embed=True) for data in WORDED[format]]
    shaped = [await analysed(platform, data, f"x.{format}", embed=False) for data in SHAPED[format]]
    given = [*WORDED[format], *SHAPED[format]]
    same = []
    for intent_type, analysis in ANALYSES.items():
        first: dict[bytes, bytes] = {}
        for data, of in zip(given, worded if intent_type in BY_WORDS else [*worded, *shaped], strict=False):
            found = await analysis(of)
            if first.setdefault(found, data) is not data:
                same.append((intent_type, data, first[found]))
    assert same == []


@pytest.mark.parametrize("format", FORMATS)
async def test_the_same_input_always_gives_the_same_analysis(platform: Platform, format: str) -> None:
    """In another session, under another name, after others."""
    for data in WORDED[format][:2]:
        one, other = [await analysed(platform, data, f"{name}.{format}", embed=True) for name in ("one", "other")]
        for intent_type, analysis in ANALYSES.items():
            assert await analysis(one) == await analysis(other), intent_type


@pytest.mark.parametrize("format", FORMATS)
async def test_a_fingerprint_tells_a_content_by_itself(platform: Platform, format: str) -> None:
    """`content_fingerprint` is equal for equal content only, whatever else the payload says."""
    prints: dict[str, bytes] = {}
    for data in (*WORDED[format], *SHAPED[format]):
        of = await analysed(platform, data, f"x.{format}", embed=False)
        found = of.results["create_deterministic_embeddings"]["content_fingerprint"]
        assert prints.setdefault(found, data) is data


async def test_two_different_questions_are_answered_differently(platform: Platform) -> None:
    ada = await desk(platform)
    paragraphs = ("The pump leaks.", "The valve is stuck.", "The compressor was welded.", "Spare parts are on site.")
    text = "\n\n".join(f"{each} {each.lower() * 30}" for each in paragraphs)
    await ada.embed((await ada.parse(text.encode(), "log.txt"))["parsed_file_id"])
    questions = (
        "what leaks",
        "which valve is stuck",
        "was something welded",
        "are spare parts on site",
        "is it raining",
    )
    answers = {}
    for question in questions:
        found = await ada.run("query_data", query=question)
        answers[question] = canonical([[each["text"], each["score"]] for each in found["passages"]])
    assert len({*answers.values()}) == len(questions)
