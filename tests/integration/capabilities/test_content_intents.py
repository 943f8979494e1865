"""The intents of content, through the platform: what they answer, refuse and remember."""

import asyncio
import hashlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from symphainy.boot.phases import Platform
from symphainy.capabilities.content import ContentCapability
from symphainy.capabilities.insights import InsightsCapability
from symphainy.errors import MissingExtra, NotFound, Overloaded, PolicyDenied
from symphainy.model import LifecycleState
from symphainy.model.json import canonical
from symphainy.ports import Passage, PublicWorks
from symphainy.testing.clock import VirtualClock
from symphainy.testing.platform import caller, in_memory_platform
from tests.integration.capabilities.desk import CAPABILITIES, Desk, desk
from tests.unit.capabilities.content.pdfs import pdf

TABLE = b"pump,hours,note\nP-1,12,leaks at the shaft\nP-2,7,runs quietly\nP-3,x\nP-4,3,noisy\n"
TEXT = b"# Pumps\n\nThe impeller of pump seven is replaced every nine months.\n"


# --- bringing in ---


async def test_a_file_comes_in_pending_under_a_contract(ada: Desk) -> None:
    file = await ada.ingest(TABLE, "../../pumps.csv", mime_type="text/csv")
    artifact = await ada.artifact(file["file_id"])
    assert file == {
        "file_id": artifact.artifact_id,
        "boundary_contract_id": artifact.semantic_descriptor["boundary_contract"]["boundary_contract_id"],
        "boundary_contract_expires_at": artifact.semantic_descriptor["boundary_contract"]["expires_at"],
        "sha256": hashlib.sha256(TABLE).hexdigest(),
        "size_bytes": len(TABLE),
        "media_type": "text/csv",
        "declared_media_type": "text/csv",
        "type_mismatch": False,
        "filename": "pumps.csv",
        "ui_name": "../../pumps.csv",
        "lifecycle_state": "PENDING",
        "duplicate_of": None,
    }
    assert artifact.lifecycle_state is LifecycleState.PENDING
    opened = await ada.sdk.open_artifact(artifact.artifact_id)
    assert (opened.media_type, opened.filename, opened.sha256) == ("text/csv", "pumps.csv", file["sha256"])
    assert await ada.content(artifact.artifact_id) == TABLE


async def test_the_same_content_twice_is_one_file(ada: Desk, city: Platform) -> None:
    first, second = await ada.ingest(TABLE, "a.csv"), await ada.ingest(TABLE, "b.csv")
    assert second == {**first, "duplicate_of": first["file_id"]}
    elsewhere = await (await desk(city)).ingest(TABLE, "a.csv")
    assert elsewhere["file_id"] != first["file_id"]
    assert (await ada.ingest(TABLE + b"P-5,1,new\n", "a.csv"))["file_id"] != first["file_id"]


async def test_the_same_content_at_the_same_moment_is_one_file(ada: Desk) -> None:
    found = await asyncio.gather(*(ada.ingest(TABLE, "a.csv") for _ in range(8)))
    assert len({file["file_id"] for file in found}) == 1
    assert [file["duplicate_of"] for file in found].count(None) == 1


async def test_what_was_put_away_comes_in_again_as_a_new_file(ada: Desk) -> None:
    first = await ada.keep(TABLE)
    await ada.run("archive_file", file_id=first)
    again = await ada.ingest(TABLE)
    assert (again["file_id"] == first, again["duplicate_of"], again["lifecycle_state"]) == (False, None, "PENDING")


async def test_an_upload_by_its_older_name_reads_a_file_of_the_machine(ada: Desk, tmp_path: Path) -> None:
    (tmp_path / "open" / "test.txt").write_bytes(b"hello from the disk\n")
    file = await ada.run("content.upload", file_path=str(tmp_path / "open" / "test.txt"))
    assert (file["filename"], file["ui_name"], file["size_bytes"]) == ("test.txt", "test.txt", 20)
    assert await ada.content(file["file_id"]) == b"hello from the disk\n"


async def test_a_file_of_the_machine_stays_out_unless_it_is_allowed(ada: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"no")
    (tmp_path / "open" / "link.txt").symlink_to(tmp_path / "secret.txt")
    codes = {
        path: (await ada.refused("ingest_file", file_path=str(tmp_path / path))).code
        for path in ("secret.txt", "open/link.txt", "open/../secret.txt", "open/none.txt", "open")
    }
    assert codes == {
        "secret.txt": "file_path_refused",
        "open/link.txt": "file_path_refused",
        "open/../secret.txt": "file_path_refused",
        "open/none.txt": "file_not_found",
        "open": "file_not_found",
    }


async def test_a_payload_is_kept_as_canonical_json(ada: Desk) -> None:
    payload = {"orders": [{"id": 2}], "at": "noon"}
    file = await ada.run(
        "ingest_file",
        ui_name="orders",
        ingestion_type="api",
        api_payload=payload,
        endpoint="https://example.org/orders",
    )
    assert file["media_type"] == "application/json"
    assert await ada.content(file["file_id"]) == canonical(payload)


async def test_an_edi_message_keeps_its_partner(ada: Desk) -> None:
    file = await ada.ingest(
        b"UNB+UNOA:1+A+B+260101:0101+1'", "m.edi", ingestion_type="edi", partner_id="depot", edi_protocol="as2"
    )
    artifact = await ada.artifact(file["file_id"])
    assert artifact.semantic_descriptor["media_type"] == "application/edifact"
    assert artifact.semantic_descriptor["source"] == {
        "ingestion_type": "edi",
        "partner_id": "depot",
        "edi_protocol": "as2",
    }


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"ingestion_type": "edi", "partner_id": "depot", "edi_protocol": "sftp"}, "not_available"),
        ({"ingestion_type": "api", "endpoint": "https://example.org"}, "not_available"),
        ({"ingestion_type": "edi", "content_ref_or_base64": "eA=="}, "validation_failed"),
        ({"ingestion_type": "upload"}, "validation_failed"),
        ({"content_ref_or_base64": "eA==", "file_path": "/x"}, "validation_failed"),
        ({"content_ref_or_base64": "blob:" + "0" * 64}, "validation_failed"),
        ({"content_ref_or_base64": "no base64!"}, "validation_failed"),
        ({"content_ref_or_base64": "eA==", "colour": "red"}, "validation_failed"),
        ({"content_ref_or_base64": "eA==", "boundary_contract_id": "bct_made_up"}, "boundary_contract_unknown"),
    ],
)
async def test_what_cannot_come_in_is_refused(ada: Desk, parameters: dict[str, Any], code: str) -> None:
    assert (await ada.refused("ingest_file", ui_name="x", **parameters)).code == code


async def test_a_contract_that_is_brought_along_must_be_that_of_the_content(ada: Desk) -> None:
    first = await ada.ingest(TABLE)
    again = await ada.ingest(TABLE, boundary_contract_id=first["boundary_contract_id"])
    assert again["duplicate_of"] == first["file_id"]


# --- keeping ---


async def test_keeping_makes_it_ready_and_queues_the_parse(ada: Desk) -> None:
    file = await ada.ingest(TABLE)
    profile = {"parsing_type": "csv", "parse_options": {"delimiter": ","}}
    saved = await ada.run(
        "save_materialization",
        file_id=file["file_id"],
        boundary_contract_id=file["boundary_contract_id"],
        parse_profile=profile,
        ttl_days=7,
        scope={"session": ada.session_id},
    )
    assert (await ada.artifact(file["file_id"])).lifecycle_state is LifecycleState.READY
    (pending,) = (await ada.sdk.list_pending(target_artifact_id=file["file_id"])).items
    assert (pending.pending_id, pending.intent_type) == (saved["pending_intent_id"], "parse_content")
    assert pending.parameters == {"file_id": file["file_id"], **profile}
    again = await ada.run(
        "save_materialization", file_id=file["file_id"], boundary_contract_id=file["boundary_contract_id"]
    )
    assert again == saved
    await ada.run("parse_content", file_id=file["file_id"])
    later = await ada.run(
        "save_materialization", file_id=file["file_id"], boundary_contract_id=file["boundary_contract_id"]
    )
    assert later == saved
    assert len((await ada.sdk.list_pending(target_artifact_id=file["file_id"])).items) == 1


async def test_keeping_it_several_times_at_once_queues_one_parse(ada: Desk) -> None:
    file = await ada.ingest(TABLE)
    wanted = {"file_id": file["file_id"], "boundary_contract_id": file["boundary_contract_id"]}
    saved = await asyncio.gather(*(ada.run("save_materialization", **wanted) for _ in range(6)))
    assert len({canonical(each) for each in saved}) == 1
    assert len((await ada.sdk.list_pending(target_artifact_id=file["file_id"])).items) == 1


async def test_keeping_asks_the_data_steward(ada: Desk) -> None:
    file = await ada.ingest(TABLE)
    mine = {"file_id": file["file_id"], "boundary_contract_id": file["boundary_contract_id"]}
    other = await ada.refused("save_materialization", file_id=file["file_id"], boundary_contract_id="bct_other")
    assert other.code == "boundary_contract_mismatch"
    for_ever = await ada.refused("save_materialization", **mine, ttl_days=3650)
    assert isinstance(for_ever, PolicyDenied)
    assert for_ever.policy == "data_steward.materialization"
    assert (await ada.artifact(file["file_id"])).lifecycle_state is LifecycleState.PENDING
    assert (await ada.sdk.list_pending(target_artifact_id=file["file_id"])).items == ()


async def test_a_contract_that_has_ended_keeps_nothing_and_the_content_may_come_again() -> None:
    clock = VirtualClock()
    day_s = timedelta(days=1).total_seconds()
    async with in_memory_platform(
        capabilities=CAPABILITIES, clock=clock, retention_days=1, session_ttl_s=int(9 * day_s)
    ) as platform:
        ada = await desk(platform)
        file = await ada.ingest(TABLE)
        await clock.advance(2 * day_s)
        refusal = await ada.refused(
            "save_materialization", file_id=file["file_id"], boundary_contract_id=file["boundary_contract_id"]
        )
        assert isinstance(refusal, PolicyDenied)
        again = await ada.ingest(TABLE)
        assert (again["file_id"] == file["file_id"], again["duplicate_of"]) == (False, None)


async def test_a_reference_is_kept_and_never_parsed(ada: Desk) -> None:
    file_id = await ada.keep(TABLE, materialization_type="reference")
    assert (await ada.sdk.list_pending(target_artifact_id=file_id)).items == ()
    assert (await ada.refused("parse_content", file_id=file_id)).code == "parse_not_queued"


# --- parsing ---


async def test_a_parse_resumes_what_was_queued(ada: Desk) -> None:
    file_id = await ada.keep(TABLE, "pumps.csv", parse_profile={"parse_options": {"header": False}})
    parsed = await ada.run("parse_content", file_id=file_id)
    assert parsed["counts"] == {"rows": 4, "columns": 3, "quarantined_rows": 1}
    assert parsed["balance"]["rows"] == {
        "total": 5,
        "delivered": 4,
        "ignored": {},
        "quarantined": {"ragged_row": 1},
    }
    assert [(each["reason"], each["position"]["line"]) for each in parsed["quarantine"]] == [("ragged_row", 4)]
    (pending,) = (await ada.sdk.list_pending(target_artifact_id=file_id)).items
    assert pending.status == "completed"
    artifact = await ada.artifact(parsed["parsed_file_id"])
    assert (artifact.lifecycle_state, artifact.parent_artifacts) == (LifecycleState.READY, (file_id,))
    lines = (await ada.content(parsed["parsed_file_id"])).splitlines()
    assert len(lines) == parsed["units"] == 5
    assert json.loads(lines[0]) == {
        "kind": "record",
        "position": {"char_start": 0, "char_end": 15, "byte_start": 0, "byte_end": 15, "row": 1, "line": 1},
        "values": {"column_1": "pump", "column_2": "hours", "column_3": "note"},
    }


async def test_the_same_parse_is_done_once_and_another_one_anew(ada: Desk) -> None:
    file_id = await ada.keep(TABLE, "pumps.csv")
    first, second = await ada.run("parse_content", file_id=file_id), await ada.run("parse_content", file_id=file_id)
    assert second == first
    other = await ada.run("parse_content", file_id=file_id, parse_options={"header": False})
    assert other["parsed_file_id"] != first["parsed_file_id"]
    assert (first["counts"]["rows"], other["counts"]["rows"]) == (3, 4)


async def test_parsing_at_the_same_moment_gives_one_artifact(ada: Desk) -> None:
    file_id = await ada.keep(TABLE, "pumps.csv")
    await ada.run("parse_content", file_id=file_id, parse_options={"header": True})
    found = await asyncio.gather(*(ada.run("parse_content", file_id=file_id) for _ in range(4)))
    assert len({parsed["parsed_file_id"] for parsed in found}) == 1


async def test_what_was_not_kept_is_not_parsed(ada: Desk) -> None:
    file = await ada.ingest(TABLE)
    assert (await ada.refused("parse_content", file_id=file["file_id"])).code == "file_not_ready"


async def test_a_parse_that_fails_leaves_its_work_queued(ada: Desk) -> None:
    file_id = await ada.keep(b'{"a": 1,}', "broken.json")
    refusal = await ada.refused("parse_content", file_id=file_id)
    assert (refusal.code, refusal.details["line"]) == ("invalid_json", 1)
    (pending,) = (await ada.sdk.list_pending(target_artifact_id=file_id)).items
    assert pending.status == "pending"
    parsed = await ada.run("parse_content", file_id=file_id, parsing_type="text")
    assert parsed["media_type"] == "text/plain"


async def test_a_pdf_is_read_in_a_process_of_its_own(ada: Desk) -> None:
    parsed = await ada.parse(pdf([["# One", "first page"], ["second page"]]), "two.pdf")
    assert parsed["counts"] == {"pages": 2, "headings": 1, "paragraphs": 2, "quarantined_pages": 0}


async def test_a_file_over_a_megabyte_is_read_in_a_process_of_its_own(ada: Desk) -> None:
    rows = b"".join(b"%d,pump %d,some note\n" % (number, number % 7) for number in range(60_000))
    parsed = await ada.parse(b"id,pump,note\n" + rows, "big.csv")
    assert parsed["counts"]["rows"] == 60_000
    assert parsed["balance"]["bytes"]["total"] == len(rows) + 13


async def test_a_crash_between_index_and_outcome_leaves_one_artifact() -> None:
    """The index fails once in a way that is tried again: the handler reruns from the top."""

    class Flaky:
        def __init__(self, search: Any) -> None:
            self._search = search
            self.failures = 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self._search, name)

        async def index(self, tenant_id: str, artifact_id: str, passages: list[Passage]) -> None:
            await self._search.index(tenant_id, artifact_id, passages)
            if self.failures:
                self.failures -= 1
                raise Overloaded("the index is busy", retry_after_s=0.01)

    class FlakyContent(ContentCapability):
        def __init__(self, *, public_works: Any, state_surface: Any) -> None:
            super().__init__(
                public_works=replace(public_works, search=Flaky(public_works.search)), state_surface=state_surface
            )

    async with in_memory_platform(capabilities=(FlakyContent, InsightsCapability)) as platform:
        ada = await desk(platform)
        parsed = await ada.parse(TABLE, "pumps.csv")
        listed = await ada.run("list_artifacts", artifact_type="parsed_content")
        assert [row["artifact_id"] for row in listed["artifacts"]] == [parsed["parsed_file_id"]]
        (pending,) = (await ada.sdk.list_pending(target_artifact_id=parsed["file_id"])).items
        assert pending.status == "completed"


# --- looking ---


async def test_a_preview_shows_the_first_units(ada: Desk) -> None:
    parsed = await ada.parse(TABLE, "pumps.csv")
    shown = await ada.run("get_parsed_file", file_id=parsed["file_id"], preview_limit=2)
    assert shown["parsed_file_id"] == parsed["parsed_file_id"]
    assert shown["preview"] == [
        {
            "kind": "header",
            "position": {"byte_start": 0, "byte_end": 15, "char_start": 0, "char_end": 15, "line": 1},
            "values": ["pump", "hours", "note"],
        },
        {
            "kind": "record",
            "position": {"byte_start": 16, "byte_end": 41, "char_start": 16, "char_end": 41, "line": 2, "row": 1},
            "names": ["pump", "hours", "note"],
            "values": ["P-1", "12", "leaks at the shaft"],
        },
    ]
    assert (await ada.run("get_parsed_file", file_id=parsed["file_id"], include_preview=False))["preview"] == []


async def test_a_column_that_is_called_like_a_secret_can_be_shown(ada: Desk) -> None:
    parsed = await ada.parse(b'[{"token": "abc", "password": {"length": 8}}]', "x.json")
    shown = await ada.run("get_parsed_file", parsed_file_id=parsed["parsed_file_id"])
    assert shown["preview"][0]["values"] == ["abc", '{"length":8}']


async def test_a_preview_stays_small(ada: Desk) -> None:
    long = ("word " * 1000 + "\n\n") * 60
    parsed = await ada.parse(long.encode(), "long.txt")
    shown = await ada.run("get_parsed_file", parsed_file_id=parsed["parsed_file_id"], preview_limit=100)
    assert shown["preview_truncated"]
    assert all(len(unit["text"]) <= 2000 for unit in shown["preview"])


async def test_a_file_that_was_not_parsed_has_no_preview(ada: Desk) -> None:
    file_id = await ada.keep(TABLE)
    assert (await ada.refused("get_parsed_file", file_id=file_id)).code == "file_not_parsed"
    assert (await ada.refused("get_parsed_file", parsed_file_id=file_id)).code == "wrong_artifact_type"
    assert (await ada.refused("get_parsed_file")).code == "validation_failed"


async def test_artifacts_are_listed_by_type_state_words_and_next_intent(ada: Desk) -> None:
    kept = await ada.keep(TABLE, "pumps.csv")
    parsed = await ada.parse(TEXT, "handbook.md")
    pending = (await ada.ingest(b"later\n", "later.txt"))["file_id"]

    async def ids(**where: Any) -> list[str]:
        return [row["artifact_id"] for row in (await ada.run("list_artifacts", **where))["artifacts"]]

    assert await ids() == [pending, parsed["parsed_file_id"], parsed["file_id"], kept]
    assert await ids(artifact_type="file", lifecycle_state="READY") == [parsed["file_id"], kept]
    assert await ids(text="handbook") == [parsed["parsed_file_id"], parsed["file_id"]]
    assert await ids(eligible_for="create_deterministic_embeddings") == [parsed["parsed_file_id"]]
    page = await ada.run("list_artifacts", limit=3)
    assert (len(page["artifacts"]), page["next_offset"]) == (3, 3)
    rest = await ada.run("list_artifacts", limit=3, offset=3)
    assert ([row["artifact_id"] for row in rest["artifacts"]], rest["next_offset"]) == ([kept], None)


async def test_metadata_comes_with_its_lineage(ada: Desk) -> None:
    parsed = await ada.parse(TEXT, "handbook.md")
    alone = await ada.run("retrieve_artifact_metadata", artifact_id=parsed["parsed_file_id"])
    assert alone["lineage"] is None
    assert alone["artifact"]["semantic_descriptor"]["counts"] == parsed["counts"]
    related = await ada.run("retrieve_artifact_metadata", artifact_id=parsed["file_id"], include_lineage=True)
    assert related["lineage"]["edges"] == [{"parent": parsed["file_id"], "child": parsed["parsed_file_id"]}]
    assert {node["artifact_type"] for node in related["lineage"]["nodes"]} == {"file", "parsed_content"}


# --- embeddings ---


async def test_fingerprints_are_made_once_and_are_the_same_for_the_same_content(ada: Desk, city: Platform) -> None:
    parsed = await ada.parse(TABLE, "pumps.csv")
    first = await ada.run("create_deterministic_embeddings", parsed_file_id=parsed["parsed_file_id"])
    again = await ada.run("create_deterministic_embeddings", parsed_file_id=parsed["parsed_file_id"])
    assert again == first
    elsewhere = await desk(city)
    copied = await elsewhere.parse(TABLE, "copy.csv")
    copy = await elsewhere.run("create_deterministic_embeddings", parsed_file_id=copied["parsed_file_id"])
    names = ("schema_fingerprint", "schema_fingerprint_unordered", "content_fingerprint", "kind", "columns")
    assert {name: copy[name] for name in names} == {name: first[name] for name in names}
    other = await ada.parse(TABLE.replace(b"12", b"13"), "other.csv")
    differs = await ada.run("create_deterministic_embeddings", parsed_file_id=other["parsed_file_id"])
    assert differs["content_fingerprint"] != first["content_fingerprint"]


async def test_embeddings_say_how_they_were_made(ada: Desk) -> None:
    parsed = await ada.parse(TEXT, "handbook.md")
    found = await ada.embed(parsed["parsed_file_id"])
    assert found == {
        "embedding_id": found["embedding_id"],
        "parsed_file_id": parsed["parsed_file_id"],
        "deterministic_embedding_id": found["deterministic_embedding_id"],
        "method": "sentence_model",
        "model": "all-MiniLM-L6-v2-int8",
        "dimensions": 384,
        "count": 1,
    }
    assert len(await ada.content(found["embedding_id"])) == 384 * 4
    assert await ada.embed(parsed["parsed_file_id"]) == found


async def test_embeddings_stand_on_the_fingerprints_of_the_same_file(ada: Desk) -> None:
    one, other = await ada.parse(TEXT, "a.md"), await ada.parse(TABLE, "b.csv")
    fingerprints = await ada.run("create_deterministic_embeddings", parsed_file_id=other["parsed_file_id"])
    refusal = await ada.refused(
        "extract_embeddings",
        parsed_file_id=one["parsed_file_id"],
        deterministic_embedding_id=fingerprints["deterministic_embedding_id"],
    )
    assert refusal.code == "embedding_mismatch"


async def test_nothing_cannot_be_embedded(ada: Desk) -> None:
    parsed = await ada.parse(b"\n\n", "empty.txt")
    fingerprints = await ada.run("create_deterministic_embeddings", parsed_file_id=parsed["parsed_file_id"])
    assert (fingerprints["kind"], fingerprints["units"]) == ("empty", 0)
    refusal = await ada.refused(
        "extract_embeddings",
        parsed_file_id=parsed["parsed_file_id"],
        deterministic_embedding_id=fingerprints["deterministic_embedding_id"],
    )
    assert refusal.code == "nothing_to_embed"


class NoModel:
    """The sentence model where its extra is not installed."""

    name = "all-MiniLM-L6-v2-int8"
    dimensions = 384

    async def embed(self, texts: list[str]) -> list[list[float]]:
        raise MissingExtra("embeddings", needed_for="embedding sentences")


def without_model(public_works: Any) -> PublicWorks:
    works: PublicWorks = replace(public_works, sentences=NoModel())
    return works


class ContentWithoutModel(ContentCapability):
    def __init__(self, *, public_works: Any, state_surface: Any) -> None:
        super().__init__(public_works=without_model(public_works), state_surface=state_surface)


async def test_without_the_model_the_remedy_is_told_and_the_saga_ends_well() -> None:
    async with in_memory_platform(capabilities=(ContentWithoutModel, InsightsCapability)) as platform:
        ada = await desk(platform)
        told, saga = await ada.saga(TEXT, "handbook.md")
        assert told[-2:] == ["saga_step_failed extract_embeddings", "saga_completed extract_embeddings"]
        assert (saga.state, saga.steps[-1].state) == ("completed", "failed")
        assert saga.steps[-1].error is not None
        assert saga.steps[-1].error["code"] == "missing_extra"
        assert "symphainy[embeddings]" in saga.steps[-1].error["message"]
        assert (await ada.run("query_data", query="impeller"))["method"] == "bm25"


# --- lifecycles ---


async def test_archive_restore_and_purge(ada: Desk) -> None:
    parsed = await ada.parse(TEXT, "handbook.md")
    await ada.embed(parsed["parsed_file_id"])
    file_id = parsed["file_id"]

    async def move(action: str, artifact_id: str = file_id) -> dict[str, Any]:
        return await ada.run(
            "transition_artifact_lifecycle", artifact_id=artifact_id, action=action, reason="it is time"
        )

    early = await ada.refused("transition_artifact_lifecycle", artifact_id=file_id, action="purge", reason="now")
    assert early.code == "wrong_lifecycle_state"
    archived = await ada.run("archive_file", artifact_id=file_id, reason="old")
    assert archived == {"artifact_id": file_id, "artifact_type": "file", "lifecycle_state": "ARCHIVED"}
    assert await ada.run("archive_file", file_id=file_id) == archived
    assert await ada.found("impeller") == []
    assert (await move("restore"))["lifecycle_state"] == "READY"
    assert len(await ada.found("impeller")) == 1
    await ada.run("archive_file", file_id=file_id)
    purged = await move("purge")
    assert purged["lifecycle_state"] == "DELETED"
    assert len(purged["also_purged"]) == 3
    states = [(await ada.artifact(each)).lifecycle_state for each in (file_id, *purged["also_purged"])]
    assert {*states} == {LifecycleState.DELETED}
    assert await ada.platform.infrastructure.search.indexed(ada.tenant_id) == frozenset()
    assert (await move("purge"))["also_purged"] == []


async def test_accepted_work_is_not_purged_away(ada: Desk) -> None:
    parsed = await ada.parse(TEXT, "handbook.md")
    accepted = await ada.run(
        "transition_artifact_lifecycle", artifact_id=parsed["parsed_file_id"], action="accept", reason="checked"
    )
    assert (accepted["status"], accepted["version"]) == ("accepted", 1)
    await ada.run("archive_file", file_id=parsed["file_id"])
    refusal = await ada.refused(
        "transition_artifact_lifecycle", artifact_id=parsed["file_id"], action="purge", reason="x"
    )
    assert (refusal.code, refusal.details["accepted"]) == ("derived_is_accepted", [parsed["parsed_file_id"]])


async def test_promotion_says_what_is_missing(ada: Desk) -> None:
    parsed = (await ada.parse(TEXT, "handbook.md"))["parsed_file_id"]
    promote = {"artifact_id": parsed, "action": "promote", "reason": "good"}
    assert (await ada.refused("transition_artifact_lifecycle", **promote)).code == "target_missing"
    promote["target_domain"] = "platform"
    assert (await ada.refused("transition_artifact_lifecycle", **promote)).code == "not_accepted"
    await ada.run("transition_artifact_lifecycle", artifact_id=parsed, action="accept", reason="checked")
    refusal = await ada.refused("transition_artifact_lifecycle", **promote)
    assert refusal.code == "not_available"
    assert "Curator" in refusal.message
    await ada.run("transition_artifact_lifecycle", artifact_id=parsed, action="obsolete", reason="replaced")
    again = await ada.refused("transition_artifact_lifecycle", artifact_id=parsed, action="accept", reason="x")
    assert again.code == "conflict"


# --- as a whole ---


async def test_the_saga_goes_from_the_file_to_the_search(ada: Desk) -> None:
    told, saga = await ada.saga(TEXT, "handbook.md")
    steps = ["ingest_file", "save_materialization", "parse_content", "create_deterministic_embeddings"]
    assert told == [
        *(f"saga_step_completed {step}" for step in (*steps, "extract_embeddings")),
        "saga_completed extract_embeddings",
    ]
    assert saga.state == "completed"
    assert (await ada.run("query_data", query="when is the impeller replaced"))["method"] == "bm25+vectors"


async def test_a_file_that_cannot_be_parsed_is_put_away_again(ada: Desk) -> None:
    told, saga = await ada.saga(b'{"a": 1,}', "broken.json")
    assert told[-3:] == [
        "saga_compensating save_materialization",
        "saga_step_compensated save_materialization",
        "saga_compensated save_materialization",
    ]
    assert saga.state == "compensated"
    (row,) = (await ada.run("list_artifacts", artifact_type="file"))["artifacts"]
    assert row["lifecycle_state"] == "ARCHIVED"


async def test_a_file_that_was_here_before_stays_when_a_later_run_fails(ada: Desk) -> None:
    file_id = await ada.keep(b'{"a": 1,}', "broken.json")
    _, saga = await ada.saga(b'{"a": 1,}', "broken.json")
    assert saga.state == "failed"
    assert (await ada.artifact(file_id)).lifecycle_state is LifecycleState.READY


async def test_nobody_sees_what_another_tenant_has(ada: Desk, city: Platform) -> None:
    parsed = await ada.parse(TEXT, "handbook.md")
    fingerprints = await ada.run("create_deterministic_embeddings", parsed_file_id=parsed["parsed_file_id"])
    eve = await desk(city, caller("globex", "eve"))
    file_id, parsed_id = parsed["file_id"], parsed["parsed_file_id"]
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("save_materialization", {"file_id": file_id, "boundary_contract_id": "bct"}),
        ("parse_content", {"file_id": file_id}),
        ("get_parsed_file", {"parsed_file_id": parsed_id}),
        ("get_parsed_file", {"file_id": file_id}),
        ("create_deterministic_embeddings", {"parsed_file_id": parsed_id}),
        (
            "extract_embeddings",
            {
                "parsed_file_id": parsed_id,
                "deterministic_embedding_id": fingerprints["deterministic_embedding_id"],
            },
        ),
        ("retrieve_artifact_metadata", {"artifact_id": file_id}),
        ("archive_file", {"artifact_id": file_id}),
        ("transition_artifact_lifecycle", {"artifact_id": file_id, "action": "purge", "reason": "x"}),
        ("query_data", {"query": "impeller", "parsed_file_ids": [parsed_id]}),
    ]
    for intent_type, parameters in attempts:
        assert isinstance(await eve.refused(intent_type, **parameters), NotFound), intent_type
    assert await eve.found("impeller") == []
    assert (await eve.run("list_artifacts"))["artifacts"] == []
    assert (await eve.ingest(TEXT, "handbook.md"))["duplicate_of"] is None
