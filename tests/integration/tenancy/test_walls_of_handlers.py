"""What a handler is asked for by an id of another tenant does not exist either: for every intent, and for every thing
that a capability can ask the platform for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from symphainy.model import Role
from tests.integration.tenancy.prying import Way
from tests.integration.tenancy.town import STRANGER, TENANT, THIRD, Request, Town, Visitor, absent, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")

VISITORS = ("eve", "somebody anonymous")
#: Parameters that name something of a tenant, and what a good value begins with.
IDS = {
    "artifact_id": "art",
    "file_id": "art",
    "parsed_file_id": "art",
    "parsed_file_ids": "art",
    "deterministic_embedding_id": "art",
    "boundary_contract_id": "bct",
}
#: Parameters that name nothing of a tenant, and two with tests of their own: content, and files of the machine.
HARMLESS = {
    *("action", "api_payload", "api_type", "content_ref_or_base64", "copybook_reference", "edi_protocol"),
    *("embedding_options", "eligible_for", "endpoint", "file_path", "file_type", "filename", "include_lineage"),
    *("include_preview", "ingestion_options", "ingestion_type", "lifecycle_state", "limit", "materialization_type"),
    *("mime_type", "offset", "parse_options", "parse_profile", "parsing_type", "partner_id", "preview_limit"),
    *("artifact_type", "query", "reason", "scope", "source_metadata", "target_domain", "text", "top_k", "ttl_days"),
    *("ui_name",),
}
CODES = {
    ("ingest_file", "boundary_contract_id"): "boundary_contract_unknown",
    ("save_materialization", "boundary_contract_id"): "boundary_contract_mismatch",
}


def submissions(own: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Good parameters for every intent there is, about one's own things; each id stands in one of them at least."""
    kept = {"file_id": own["artifact_id"], "boundary_contract_id": own["boundary_contract_id"]}
    parsed = {"parsed_file_id": own["parsed_file_id"]}
    return {
        "archive_file": [{"artifact_id": own["artifact_id"]}, {"file_id": own["artifact_id"]}],
        "create_deterministic_embeddings": [parsed],
        "extract_embeddings": [{**parsed, "deterministic_embedding_id": own["deterministic_embedding_id"]}],
        "get_parsed_file": [parsed, {"file_id": own["artifact_id"]}],
        "ingest_file": [
            {"ui_name": "x", "content_ref_or_base64": "eA==", "boundary_contract_id": own["boundary_contract_id"]}
        ],
        "list_artifacts": [{}],
        "parse_content": [{"file_id": own["artifact_id"]}],
        "query_data": [{"query": "turbine", "parsed_file_ids": [own["parsed_file_id"]]}],
        "retrieve_artifact_metadata": [{"artifact_id": own["artifact_id"], "include_lineage": True}],
        "save_materialization": [kept],
        "transition_artifact_lifecycle": [
            {"artifact_id": own["artifact_id"], "action": action, "reason": "curious"}
            for action in ("accept", "obsolete", "restore", "purge")
        ],
    }


async def test_every_intent_and_every_parameter_is_known(town: Town) -> None:
    """A parameter that is new belongs into this module: with an id, it must be tried."""
    catalogue = [each for each in await town.eve.get("/api/intents") if each["capability"] != "prying"]
    known = submissions(town.eve.own)
    assert {each["intent_type"] for each in catalogue} == set(known)
    for info in catalogue:
        names = set(info["parameters_schema"]["properties"])
        assert names - IDS.keys() - HARMLESS == set(), info["intent_type"]
        assert names & IDS.keys() == {name for each in known[info["intent_type"]] for name in each if name in IDS}


async def failures(visitor: Visitor, intent_type: str, asked: Iterable[tuple[Any, str]]) -> list[str]:
    """What the executions with these parameters failed with, without the value that stands beside each."""

    async def failure(parameters: Any, value: str) -> str:
        execution = await visitor.run(intent_type, visitor.own["session_id"], parameters)
        assert execution["status"] == "failed", (visitor.name, intent_type, parameters, execution)
        told = json.dumps(execution["error"], sort_keys=True)
        return told.replace(execution["execution_id"], "itself").replace(value, "…")

    return await asyncio.gather(*(failure(parameters, value) for parameters, value in asked))


def things(town: Town, wanted: str) -> list[str]:
    """Everything of this kind, and one of every other."""
    return [each for kind, found in town.things.items() for each in (found if kind == wanted else found[:1])]


def naming(good: Any, parameter: str, value: str) -> Any:
    """The parameters with `value` for this one, or added to it."""
    given = good[parameter]
    return {**good, parameter: [*given, value] if isinstance(given, list) else value}


@pytest.mark.parametrize("name", VISITORS)
async def test_an_intent_about_what_another_tenant_has_finds_nothing(town: Town, name: str) -> None:
    visitor = town.strangers[name]
    before = await town.whole()
    for intent_type, all_of_them in submissions(visitor.own).items():
        for good in all_of_them:
            for parameter in sorted(good.keys() & IDS.keys()):
                tried = things(town, IDS[parameter])
                nothing = [absent(thing) for thing in tried]
                told = await failures(visitor, intent_type, [(naming(good, parameter, each), each) for each in tried])
                due = await failures(visitor, intent_type, [(naming(good, parameter, each), each) for each in nothing])
                assert dict(zip(tried, told, strict=True)) == dict(zip(tried, due, strict=True)), (intent_type, good)
                codes = {json.loads(each)["code"] for each in told}
                assert codes == {CODES.get((intent_type, parameter), "not_found")}
    assert await town.whole() == before, "and nothing of it has come to the other tenant's log"


OF_TENANTS = (
    *(Way.SESSION_OF_THAT_TENANT, Way.EXECUTIONS_OF_THAT_TENANT),
    *(Way.ARTIFACT_FOR_THAT_TENANT, Way.ARTIFACTS_OF_THAT_TENANT),
)
#: What the others are about, and so what an id must begin with to be worth trying.
KINDS = {
    Way.SESSION_STATE: "ses",
    Way.SET_SESSION_STATE: "ses",
    Way.EXECUTION_STATE: "exe",
    Way.SET_EXECUTION_STATE: "exe",
    Way.PENDING: "int",
    Way.BLOB: "blob",
    Way.FORGED_BLOB: "blob",
}


@pytest.mark.parametrize("way", Way)
async def test_a_capability_that_pries_finds_nothing(town: Town, way: Way) -> None:
    before = await town.whole()
    if way in OF_TENANTS:
        tried, nothing = [TENANT], ["nope"]
    else:
        kind = KINDS.get(way, "art")
        tried = town.things["blob"] if kind == "blob" else things(town, kind)
        nothing = [absent(each) for each in tried]
    told, due = [
        await failures(town.eve, "pry", [({"way": way.value, "named": each}, each) for each in named])
        for named in (tried, nothing)
    ]
    assert dict(zip(tried, told, strict=True)) == dict(zip(tried, due, strict=True))
    codes = {json.loads(each)["code"] for each in told}
    assert codes == {"validation_failed" if way is Way.SET_EXECUTION_STATE else "not_found"}
    assert await town.whole() == before


@pytest.mark.parametrize("way", [Way.SESSION_STATE, Way.EXECUTION_STATE, Way.ARTIFACT, Way.PARENT])
async def test_what_is_ones_own_is_found_in_the_same_way(town: Town, way: Way) -> None:
    own = town.eve.own
    thing = {Way.SESSION_STATE: own["session_id"], Way.EXECUTION_STATE: own["execution_id"]}.get(
        way, own["parsed_file_id"]
    )
    execution = await town.eve.run("pry", own["session_id"], {"way": way.value, "named": thing})
    assert execution["status"] == "completed", execution["error"]


def neighbour(town: Town) -> Visitor:
    """Somebody of the third tenant, which no other test looks at."""
    headers = bearer(town.platform, THIRD, "nel", Role.ADMIN)
    return replace(town.eve, name="a neighbour", headers=headers, own={})


async def test_an_id_may_be_taken_twice_and_means_two_things(town: Town) -> None:
    before = await town.whole()
    nel = neighbour(town)
    session_id = await nel.open()
    for artifact_id in town.things["art"]:
        taken = await nel.run("take_id", session_id, {"artifact_id": artifact_id})
        assert taken["status"] == "completed", taken["error"]
        found = await nel.get("/api/artifacts/{artifact_id}", {"artifact_id": artifact_id})
        assert (found["tenant_id"], found["semantic_payload"]) == (THIRD, {"by": THIRD})
        graph = await nel.get("/api/artifacts/{artifact_id}/lineage", {"artifact_id": artifact_id})
        assert [node["artifact_id"] for node in graph["nodes"]] == [artifact_id]
    assert await town.whole() == before


async def test_a_forged_reference_opens_no_content(town: Town) -> None:
    """An artifact that claims content of another tenant's has none, as one that claims content nobody has."""
    nel = neighbour(town)
    session_id = await nel.open()
    for reference in town.things["blob"]:
        answers = []
        for claimed in (reference, absent(reference)):
            forged = await nel.run("forge", session_id, {"artifact_id": claimed})
            assert forged["status"] == "completed", forged["error"]
            artifact_id = forged["artifacts"]["forged"]["artifact_id"]
            content = Request(
                method="GET", path="/api/artifacts/{artifact_id}/content", ids={"artifact_id": artifact_id}
            )
            answer = await nel.ask(content)
            answers.append(answer.without(artifact_id, claimed, claimed.removeprefix("blob:")))
        assert answers[0] == answers[1]
        assert answers[0].status == 404, answers[0]


async def test_the_platforms_own_files_are_nobodys_to_bring_in(town: Town) -> None:
    """A path on the machine is no way around the wall either, in development, on the machine itself."""
    developer = town.strangers["a developer"]
    folder = town.platform.settings.data_dir
    sha256 = town.held["sha256"]
    blob = folder / "blobs" / TENANT / sha256[:2] / sha256
    assert blob.exists()
    real = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.parent.name for path in real} >= {"keys", "search"}
    link = folder.parent / f"{folder.name}.link"
    link.symlink_to(blob)
    try:
        wanted = [*map(str, real), f"{folder}/../{folder.name}/blobs/{TENANT}/{sha256[:2]}/{sha256}"]
        nothing = [absent(path) for path in wanted]
        told, due = [
            await failures(developer, "ingest_file", [({"file_path": path}, path) for path in paths])
            for paths in (wanted, nothing)
        ]
        assert told == due
        told += await failures(developer, "ingest_file", [({"file_path": str(link)}, str(link))])
        assert {json.loads(each)["code"] for each in told} == {"file_path_refused"}
    finally:
        link.unlink()


async def test_a_stranger_makes_nothing_of_its_own_out_of_it(town: Town) -> None:
    """After all that: what the second tenant has was made from its own."""
    artifacts = (await town.eve.post("/api/artifact/list", {"limit": 500}))["artifacts"]
    own = {each["artifact_id"] for each in artifacts}
    assert {each["tenant_id"] for each in artifacts} == {STRANGER}
    assert {parent for each in artifacts for parent in each["parent_artifacts"]} <= own
    assert own & {*town.things["art"]} == set()
