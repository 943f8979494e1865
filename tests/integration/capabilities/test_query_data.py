"""Questions: every answer is an exact span of a source that its asker may see."""

from pathlib import Path
from typing import Any

import pypdfium2
import pytest

import symphainy
from symphainy.boot.phases import Platform
from symphainy.capabilities.content import ContentCapability
from symphainy.capabilities.insights import InsightsCapability
from symphainy.errors import MissingExtra, NotFound
from symphainy.ports import Passage
from symphainy.testing.platform import in_memory_platform
from tests.integration.capabilities.desk import Desk, desk
from tests.integration.capabilities.test_content_intents import without_model

SAMPLES = sorted(path for path in Path(symphainy.__path__[0], "samples").iterdir() if path.is_file())
QUESTIONS = (
    *("valve sticks when cold", "why was the shaft replaced", "who approves a mapping", "reserve cents policy"),
    *("instrument air pressure", "compressor weld", "spare on site", "premium rule change"),
)


def source_text(data: bytes, filename: str, position: dict[str, Any]) -> str:
    """What stands at a position, read without any of our code."""
    if filename.endswith(".pdf"):
        page = pypdfium2.PdfDocument(data)[position["page"] - 1]
        text: str = page.get_textpage().get_text_range()
    else:
        text = data.decode("utf-8")
        line = 1 + text[: position["char_start"]].count("\n")
        assert position["line"] == line
        assert (
            data[position["byte_start"] : position["byte_end"]].decode()
            == text[position["char_start"] : position["char_end"]]
        )
    return text[position["char_start"] : position["char_end"]]


@pytest.mark.parametrize("with_vectors", [False, True])
async def test_every_answer_is_an_exact_span_of_a_source(ada: Desk, with_vectors: bool) -> None:
    sources = {}
    for path in SAMPLES:
        data = path.read_bytes()
        parsed = await ada.parse(data, path.name)
        sources[parsed["parsed_file_id"]] = (data, path.name, parsed["file_id"])
        if with_vectors:
            await ada.embed(parsed["parsed_file_id"])
    answered = set()
    for query in QUESTIONS:
        answer = await ada.run("query_data", query=query, top_k=10)
        assert answer["method"] == ("bm25+vectors" if with_vectors else "bm25")
        assert (answer["mismatches"], answer["note"]) == (0, None)
        assert answer["passages"]
        scores = [passage["score"] for passage in answer["passages"]]
        assert scores == sorted(scores, reverse=True)
        for passage in answer["passages"]:
            data, filename, file_id = sources[passage["parsed_file_id"]]
            assert (passage["filename"], passage["file_id"]) == (filename, file_id)
            assert passage["text"] == source_text(data, filename, passage["position"])
            answered.add(filename)
    assert answered == {path.name for path in SAMPLES}


async def test_a_row_is_answered_with_its_row(ada: Desk) -> None:
    rows = b"".join(
        b"%d,pump %d,%s\n" % (n, n, b"hums loudly" if n == 40 else b"runs well " * 20) for n in range(1, 60)
    )
    await ada.parse(b"id,asset,finding\n" + rows, "rounds.csv")
    answer = await ada.run("query_data", query="hums", top_k=1)
    (passage,) = answer["passages"]
    position = passage["position"]
    assert position["row"] <= 40 <= position["row_end"]
    assert position["row_end"] - position["row"] <= 2


async def test_meaning_finds_what_words_do_not(ada: Desk) -> None:
    for name, text in {
        "cat.md": b"The kitten slept on the sofa all afternoon.",
        "pump.md": b"The pump of hall three lost pressure overnight.",
        "tax.md": b"Value added tax is due on the tenth of the month.",
    }.items():
        parsed = await ada.parse(text, name)
        await ada.embed(parsed["parsed_file_id"])
    (passage, *_) = (await ada.run("query_data", query="young feline resting"))["passages"]
    assert (passage["filename"], passage["bm25_rank"], passage["vector_rank"]) == ("cat.md", None, 1)
    assert passage["similarity"] > 0.2


async def test_two_questions_and_two_corpora_have_two_answers(ada: Desk, city: Platform) -> None:
    await ada.parse(b"The pump leaks at the shaft.", "a.txt")
    await ada.parse(b"The valve sticks in winter.", "b.txt")
    assert await ada.found("pump") == ["The pump leaks at the shaft."]
    assert await ada.found("valve") == ["The valve sticks in winter."]
    assert await ada.found("turbine") == []
    assert await ada.found("?!") == []


async def test_a_question_can_be_put_to_some_files_only(ada: Desk) -> None:
    one = await ada.parse(b"The pump leaks.", "a.txt")
    other = await ada.parse(b"Another pump leaks.", "b.txt")
    assert await ada.found("pump", parsed_file_ids=[other["parsed_file_id"]]) == ["Another pump leaks."]
    assert {*await ada.found("pump")} == {"The pump leaks.", "Another pump leaks."}
    missing = await ada.refused("query_data", query="pump", parsed_file_ids=["art_none"])
    assert isinstance(missing, NotFound)
    wrong = await ada.refused("query_data", query="pump", parsed_file_ids=[one["file_id"]])
    assert wrong.code == "wrong_artifact_type"
    await ada.run("archive_file", artifact_id=one["file_id"])
    gone = await ada.refused("query_data", query="pump", parsed_file_ids=[one["parsed_file_id"]])
    assert gone.code == "parsed_content_not_ready"


async def test_what_is_archived_takes_no_place_of_what_is_not(ada: Desk) -> None:
    archived = b"\n\n".join(b"pump pump pump number %d. " % number + b"pump " * 190 for number in range(60))
    parsed = await ada.parse(archived, "old.txt")
    await ada.parse(b"One pump stands in hall 3, beside much else that is written in this long sentence.", "new.txt")
    await ada.run("archive_file", artifact_id=parsed["file_id"])
    assert await ada.found("pump", top_k=3) == [
        "One pump stands in hall 3, beside much else that is written in this long sentence."
    ]


async def test_what_the_source_does_not_say_is_not_answered(ada: Desk, city: Platform) -> None:
    search = city.infrastructure.search
    for name, text in {"a.txt": b"The pump leaks at the shaft.", "b.txt": b"The pump is quiet."}.items():
        await ada.parse(text, name)
    answer = await ada.run("query_data", query="pump leaks")
    forged = next(passage for passage in answer["passages"] if "leaks" in passage["text"])
    (hit,) = await search.match(ada.tenant_id, "leaks", limit=1)
    false = Passage(passage_id="p1", text="The pump leaks at the valve.", position=hit.position)
    await search.index(ada.tenant_id, forged["parsed_file_id"], [false])
    after = await ada.run("query_data", query="pump leaks")
    assert [passage["text"] for passage in after["passages"]] == ["The pump is quiet."]
    assert after["mismatches"] == 1


async def test_a_pdf_passage_is_checked_against_its_units(ada: Desk, city: Platform) -> None:
    search = city.infrastructure.search
    handbook = next(path for path in SAMPLES if path.suffix == ".pdf")
    parsed = await ada.parse(handbook.read_bytes(), handbook.name)
    (hit,) = await search.match(ada.tenant_id, "lever", limit=1)
    moved = {**hit.position, "char_start": hit.position["char_start"] + 1, "char_end": hit.position["char_end"] + 1}
    other_page = {**hit.position, "page": 1}
    for position in (moved, other_page, {**hit.position, "units": [1, 60]}):
        await search.index(
            ada.tenant_id, parsed["parsed_file_id"], [Passage(passage_id="p1", text=hit.text, position=position)]
        )
        answer = await ada.run("query_data", query="lever")
        assert (answer["passages"], answer["mismatches"]) == ([], 1)
    await search.index(
        ada.tenant_id, parsed["parsed_file_id"], [Passage(passage_id="p1", text=hit.text, position=hit.position)]
    )
    assert await ada.found("lever") == [hit.text]


class InsightsWithoutModel(InsightsCapability):
    def __init__(self, *, public_works: Any, state_surface: Any) -> None:
        super().__init__(public_works=without_model(public_works), state_surface=state_surface)


async def test_without_the_model_words_alone_answer_and_it_says_so() -> None:
    """Vectors are there, from a time when the model was installed."""
    async with in_memory_platform(capabilities=(ContentCapability, InsightsWithoutModel)) as platform:
        ada = await desk(platform)
        parsed = await ada.parse(b"The pump leaks at the shaft.", "a.txt")
        assert (await ada.run("query_data", query="pump"))["note"] is None
        await ada.embed(parsed["parsed_file_id"])
        answer = await ada.run("query_data", query="pump")
        assert (answer["method"], answer["model"]) == ("bm25", None)
        assert answer["note"] == MissingExtra("embeddings", needed_for="embedding sentences").message
        assert len(answer["passages"]) == 1
