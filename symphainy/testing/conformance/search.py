"""The promises of `Search`."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from symphainy.errors import Invalid, NotFound
from symphainy.ports import Hit, Passage, Search

SHARED_INDEX = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors], max_examples=60
)
#: What a user could type to break a query language.
HOSTILE = (
    "",
    " ",
    "\0",
    "claim\0 policy",
    '"',
    '""" OR "',
    "'; DROP TABLE passage; --",
    "NEAR(claim policy, 2)",
    "text:claim",
    "claim AND NOT policy OR",
    "* ^ + - ( ) { } : .",
    "AND",
    "?!…—",
    "\ud800 claim",
    "🙂",
    "claim " * 200_000,
    " ".join(f"word{n}" for n in range(20_000)),
    "x" * 1_000_000,
    '"' * 100_000,
    "(" * 100_000,
)


class SearchRules:
    """Give it a fixture `search`, opened and empty; it is closed by the fixture."""

    # --- full text ---

    async def test_a_hit_is_the_passage_as_it_was_indexed(self, search: Search) -> None:
        text = "Die Prämie  beträgt\n12,50 €\0 — “fällig” am 1. Mai. 東京"
        position = {"file": "art_1", "page": 3, "span": [10, 52], "row": None}
        await search.index("acme", "art_9", [Passage(passage_id="p1", text=text, position=position)])
        (hit,) = await search.match("acme", "prämie", limit=5)
        assert hit == Hit(artifact_id="art_9", passage_id="p1", text=text, position=position, score=hit.score)

    async def test_the_better_passage_comes_first(self, search: Search) -> None:
        await fill(
            search,
            {
                "a": "the weather is fine today and nothing else happened in the village",
                "b": "water damage is covered by the policy",
                "c": "the policy number stands on the first page of the letter",
                "d": "water damage, water pipes and water meters",
            },
        )
        found = await search.match("acme", "Is water damage covered?", limit=3)
        assert ids(found) == ["b", "d", "a"]
        assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)

    async def test_a_passage_needs_only_one_of_the_words(self, search: Search) -> None:
        await fill(search, {"a": "premium", "b": "deductible", "c": "neither"})
        assert set(ids(await search.match("acme", "premium deductible", limit=9))) == {"a", "b"}

    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("Versicherungsprämie", "VERSICHERUNGSPRAMIE"),
            ("Cafe\u0301 au lait", "café"),
            ("naïve", "NAIVE"),
            ("policy_number: AB-1234/7", "number 1234"),
            ("state-of-the-art", "art"),
            ("Ελλάδα", "ελλαδα"),
            ("ΕΛΛΆΣ", "ελλάς"),
            ("договор страхования", "Договор"),
            ("हिन्दी में पाठ", "हिन्दी"),
            ("東京都の保険契約", "保険"),
            ("東京都の保険契約", "都"),
            ("ราคาประกันภัย", "ประกัน"),
            ("보험계약서", "계약"),
            ("1,234.50 EUR", "1,234.50"),
        ],
    )
    async def test_case_accents_and_scripts_do_not_stand_in_the_way(
        self, search: Search, text: str, query: str
    ) -> None:
        await fill(search, {"a": text, "z": "something else"})
        assert ids(await search.match("acme", query, limit=5)) == ["a"]

    @pytest.mark.parametrize("query", HOSTILE, ids=lambda query: repr(query[:20]))
    async def test_any_text_is_a_query(self, search: Search, query: str) -> None:
        await fill(search, {"a": "a claim under the policy", "b": "nothing"})
        found = await search.match("acme", query, limit=5)
        words = query.lower().replace("\0", " ").replace('"', " ").replace("(", " ").replace(":", " ").split()
        assert ids(found) == (["a"] if {"claim", "policy"} & set(words) else [])

    @SHARED_INDEX
    @given(query=st.text())
    @example(query="a*")
    @example(query='a" OR "b')
    async def test_no_query_is_an_error(self, search: Search, query: str) -> None:
        await fill(search, {"a": "a b c", "b": query.encode("utf-8", "replace").decode()})
        for hit in await search.match("acme", query, limit=5):
            assert hit.passage_id in ("a", "b")

    @SHARED_INDEX
    @given(words=st.lists(st.from_regex(r"[^\W_]{1,12}", fullmatch=True), min_size=1, max_size=5))
    async def test_whatever_is_indexed_is_found_by_its_own_words(self, search: Search, words: list[str]) -> None:
        await fill(search, {"a": ", ".join(words), "b": "§"})
        for word in words:
            assert ids(await search.match("acme", word, limit=5)) == ["a"]

    async def test_equal_scores_are_ordered_by_passage_and_then_artifact(self, search: Search) -> None:
        names = [f"p{n:02}" for n in range(20)]
        for artifact_id in ("art_2", "art_1", "art_3"):
            shuffled = random.Random(artifact_id).sample(names, 20)  # noqa: S311
            await fill(search, dict.fromkeys(shuffled, "the same words"), artifact_id=artifact_id)
        found = await search.match("acme", "same", limit=31)
        expected = [(name, artifact_id) for name in names for artifact_id in ("art_1", "art_2", "art_3")]
        assert [(hit.passage_id, hit.artifact_id) for hit in found] == expected[:31]

    async def test_a_query_can_be_narrowed_to_some_artifacts(self, search: Search) -> None:
        for artifact_id in ("art_1", "art_2", "art_3"):
            await fill(search, {artifact_id: "claim"}, artifact_id=artifact_id)
        assert ids(await search.match("acme", "claim", artifact_ids=["art_3", "art_1", "art_x"], limit=5)) == [
            "art_1",
            "art_3",
        ]
        assert await search.match("acme", "claim", artifact_ids=[], limit=5) == ()

    @pytest.mark.parametrize("limit", [-1, 0, 1, 2, 3])
    async def test_there_are_never_more_hits_than_asked_for(self, search: Search, limit: int) -> None:
        await fill(search, {"a": "claim", "b": "claim"}, vectors={"a": unit(1, 0), "b": unit(0, 1)})
        found = min(max(limit, 0), 2)
        assert len(await search.match("acme", "claim", limit=limit)) == found
        assert len(await search.nearest("acme", "m", unit(1, 0), limit=limit)) == found

    # --- what is indexed ---

    async def test_indexing_again_replaces_and_twice_is_once(self, search: Search) -> None:
        await fill(search, {"a": "old words", "b": "kept words", "c": "gone"})
        for _ in range(2):
            await fill(search, {"a": "new words", "b": "kept words", "d": "added"})
        assert ids(await search.match("acme", "old gone", limit=5)) == []
        assert ids(await search.match("acme", "words", limit=5)) == ["a", "b"]
        assert ids(await search.match("acme", "added", limit=5)) == ["d"]
        assert await search.indexed("acme") == {"art_1"}

    async def test_a_changed_position_is_seen(self, search: Search) -> None:
        for page in (1, 2):
            await search.index("acme", "art_1", [Passage(passage_id="a", text="x", position={"page": page})])
        assert [hit.position for hit in await search.match("acme", "x", limit=5)] == [{"page": 2}]

    async def test_indexing_nothing_or_removing_leaves_nothing(self, search: Search) -> None:
        await fill(search, {"a": "claim"}, vectors={"a": unit(1, 0)})
        await fill(search, {"a": "claim"}, artifact_id="art_2", vectors={"a": unit(1, 0)})
        await search.index("acme", "art_1", [])
        await search.remove("acme", "art_2")
        await search.remove("acme", "art_2")
        await search.remove("zeta", "art_1")
        assert await search.indexed("acme") == frozenset()
        assert await search.match("acme", "claim", limit=5) == ()
        assert await search.nearest("acme", "m", unit(1, 0), limit=5) == ()

    async def test_two_passages_with_one_id_are_refused_and_nothing_changes(self, search: Search) -> None:
        await fill(search, {"a": "before"})
        twice = [Passage(passage_id="a", text=text, position={}) for text in ("one", "two")]
        with pytest.raises(Invalid):
            await search.index("acme", "art_1", twice)
        assert ids(await search.match("acme", "before one two", limit=5)) == ["a"]

    async def test_text_that_is_none_is_refused(self, search: Search) -> None:
        with pytest.raises(Invalid):
            await fill(search, {"a": "half a \ud800 surrogate"})

    async def test_indexing_many_at_once_loses_nothing(self, search: Search) -> None:
        async def one(n: int) -> None:
            tenant_id = f"t{n % 3}"
            await fill(search, {"a": f"word{n} shared"}, tenant_id=tenant_id, artifact_id=f"art_{n:02}")
            assert len(await search.match(tenant_id, f"word{n}", limit=5)) == 1

        await asyncio.gather(*(one(n) for n in range(30)))
        for remainder in range(3):
            found = await search.match(f"t{remainder}", "shared", limit=50)
            assert [hit.artifact_id for hit in found] == [f"art_{n:02}" for n in range(remainder, 30, 3)]

    # --- vectors ---

    async def test_the_nearest_come_first_with_their_cosine(self, search: Search) -> None:
        vectors = {"a": unit(1, 0), "b": unit(1, 1), "c": unit(0, 1), "d": unit(-1, 0)}
        await fill(search, dict.fromkeys(vectors, "text"), vectors=vectors)
        found = await search.nearest("acme", "m", unit(1, 0), limit=4)
        assert ids(found) == ["a", "b", "c", "d"]
        assert [hit.score for hit in found] == pytest.approx([1, math.sqrt(0.5), 0, -1], abs=1e-6)

    async def test_the_search_is_exact(self, search: Search) -> None:
        chance = random.Random(7)  # noqa: S311
        vectors = {f"p{n:03}": unit(*(chance.gauss(0, 1) for _ in range(16))) for n in range(400)}
        await fill(search, dict.fromkeys(vectors, "text"), vectors=vectors)
        for _ in range(5):
            query = unit(*(chance.gauss(0, 1) for _ in range(16)))
            scores = {name: sum(a * b for a, b in zip(row, query, strict=True)) for name, row in vectors.items()}
            expected = sorted(scores, key=lambda name: -scores[name])[:10]
            assert ids(await search.nearest("acme", "m", query, limit=10)) == expected

    async def test_equal_vectors_are_ordered_by_passage_and_then_artifact(self, search: Search) -> None:
        names = [f"p{n:02}" for n in range(20)]
        row = unit(*range(1, 65))
        for artifact_id in ("art_2", "art_1"):
            shuffled = random.Random(artifact_id).sample(names, 20)  # noqa: S311
            await fill(
                search,
                dict.fromkeys(shuffled, "x"),
                artifact_id=artifact_id,
                vectors=dict.fromkeys(shuffled, row),
            )
        found = await search.nearest("acme", "m", row, limit=15)
        expected = [(name, artifact_id) for name in names for artifact_id in ("art_1", "art_2")]
        assert [(hit.passage_id, hit.artifact_id) for hit in found] == expected[:15]

    async def test_vectors_can_be_narrowed_and_replaced(self, search: Search) -> None:
        for artifact_id in ("art_1", "art_2"):
            await fill(search, {"a": artifact_id}, artifact_id=artifact_id, vectors={"a": unit(1, 0)})
        assert len(await search.nearest("acme", "m", unit(1, 0), limit=5)) == 2
        (only,) = await search.nearest("acme", "m", unit(1, 0), artifact_ids=["art_2"], limit=5)
        assert (only.artifact_id, only.text) == ("art_2", "art_2")
        await search.index_vectors("acme", "art_2", "m", {"a": unit(0, 1)})
        scores = [hit.score for hit in await search.nearest("acme", "m", unit(1, 0), limit=5)]
        assert scores == pytest.approx([1, 0], abs=1e-6)
        await search.index_vectors("acme", "art_2", "m", {})
        assert len(await search.nearest("acme", "m", unit(1, 0), limit=5)) == 1
        assert await search.nearest("acme", "m", unit(1, 0), artifact_ids=[], limit=5) == ()

    async def test_each_model_has_vectors_of_its_own(self, search: Search) -> None:
        await fill(search, {"a": "x"}, vectors={"a": unit(1, 0)})
        await search.index_vectors("acme", "art_1", "wide", {"a": unit(1, 0, 0)})
        assert len(await search.nearest("acme", "m", unit(0, 1), limit=5)) == 1
        assert len(await search.nearest("acme", "wide", unit(0, 1, 0), limit=5)) == 1
        assert await search.nearest("acme", "unknown", unit(1, 0), limit=5) == ()

    async def test_indexing_the_same_again_keeps_the_vectors_and_a_change_drops_its_own(self, search: Search) -> None:
        texts = {"a": "one", "b": "two"}
        await fill(search, texts, vectors={"a": unit(1, 0), "b": unit(1, 0)})
        await fill(search, texts)
        assert ids(await search.nearest("acme", "m", unit(1, 0), limit=5)) == ["a", "b"]
        await fill(search, texts | {"a": "changed"})
        assert ids(await search.nearest("acme", "m", unit(1, 0), limit=5)) == ["b"]

    @pytest.mark.parametrize(
        "vector", [[], [0.0, 0.0], [2.0, 0.0], [math.nan, 1.0], [math.inf, 0.0], [1e300, 0.0]], ids=str
    )
    async def test_what_is_no_unit_vector_is_refused(self, search: Search, vector: list[float]) -> None:
        await fill(search, {"a": "x"}, vectors={"a": unit(1, 0)})
        with pytest.raises(Invalid):
            await search.index_vectors("acme", "art_1", "m", {"a": vector})
        with pytest.raises(Invalid):
            await search.nearest("acme", "m", vector, limit=5)
        assert len(await search.nearest("acme", "m", unit(1, 0), limit=5)) == 1

    async def test_a_vector_of_another_length_than_the_models_is_refused(self, search: Search) -> None:
        await fill(search, {"a": "x", "b": "y"}, vectors={"a": unit(1, 0)})
        await fill(search, {"a": "x", "b": "y"}, artifact_id="art_2")
        with pytest.raises(Invalid):
            await search.index_vectors("acme", "art_2", "m", {"a": unit(1, 0, 0)})
        with pytest.raises(Invalid):
            await search.index_vectors("acme", "art_2", "new", {"a": unit(1, 0, 0), "b": unit(1, 0)})
        with pytest.raises(Invalid):
            await search.nearest("acme", "m", unit(1, 0, 0), limit=5)

    async def test_a_vector_for_a_passage_that_is_not_indexed_is_refused(self, search: Search) -> None:
        await fill(search, {"a": "x"}, vectors={"a": unit(1, 0)})
        with pytest.raises(NotFound, match="b"):
            await search.index_vectors("acme", "art_1", "m", {"a": unit(0, 1), "b": unit(0, 1)})
        with pytest.raises(NotFound):
            await search.index_vectors("acme", "art_2", "m", {"a": unit(0, 1)})
        (hit,) = await search.nearest("acme", "m", unit(1, 0), limit=5)
        assert hit.score == pytest.approx(1)

    # --- walls ---

    async def test_a_tenant_finds_nothing_of_anothers(self, search: Search) -> None:
        await fill(search, {"a": "acme's secret"}, vectors={"a": unit(1, 0)})
        await fill(search, {"a": "zeta's own"}, tenant_id="zeta", vectors={"a": unit(0, 1)})
        for query in ("secret", 'zeta" OR "secret', "acme"):
            assert await search.match("zeta", query, artifact_ids=["art_1"], limit=5) == (
                await search.match("zeta", query, limit=5)
            )
            assert all("secret" not in hit.text for hit in await search.match("zeta", query, limit=5))
        assert [hit.text for hit in await search.nearest("zeta", "m", unit(1, 0), limit=5)] == ["zeta's own"]
        assert await search.indexed("other") == frozenset()

    async def test_what_others_index_changes_no_score(self, search: Search) -> None:
        texts = {"a": "rare word", "b": "common word", "c": "common thing"}
        await fill(search, texts)
        before = await search.match("acme", "rare common", limit=5)
        await fill(search, {f"p{n}": "rare rare rare word" for n in range(50)}, tenant_id="zeta")
        assert await search.match("acme", "rare common", limit=5) == before

    async def test_removing_touches_only_ones_own(self, search: Search) -> None:
        for tenant_id in ("acme", "zeta"):
            await fill(search, {"a": "shared name"}, tenant_id=tenant_id, vectors={"a": unit(1, 0)})
        await search.remove("zeta", "art_1")
        assert ids(await search.match("acme", "shared", limit=5)) == ["a"]
        assert ids(await search.nearest("acme", "m", unit(1, 0), limit=5)) == ["a"]

    @pytest.mark.parametrize("tenant_id", ["", "..", "../acme", "a/b", "Acme", ".probe", "a\0", "x" * 64])
    async def test_what_is_no_tenant_has_nothing_and_can_index_nothing(self, search: Search, tenant_id: str) -> None:
        await fill(search, {"a": "claim"})
        assert await search.match(tenant_id, "claim", limit=5) == ()
        assert await search.indexed(tenant_id) == frozenset()
        with pytest.raises(Invalid):
            await fill(search, {"a": "claim"}, tenant_id=tenant_id)

    async def test_a_probe_of_an_index_that_works_is_ok(self, search: Search) -> None:
        for _ in range(2):
            probe = await search.probe()
            assert (probe.status, probe.latency_ms > 0) == ("ok", True)


async def fill(
    search: Search,
    texts: dict[str, str],
    *,
    tenant_id: str = "acme",
    artifact_id: str = "art_1",
    vectors: dict[str, list[float]] | None = None,
) -> None:
    """Index texts by passage id, and vectors of the model `m`."""
    passages = [Passage(passage_id=id_, text=text, position={"id": id_}) for id_, text in texts.items()]
    await search.index(tenant_id, artifact_id, passages)
    if vectors is not None:
        await search.index_vectors(tenant_id, artifact_id, "m", vectors)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.passage_id for hit in hits]


def unit(*numbers: float) -> list[float]:
    length = math.hypot(*numbers)
    return [number / length for number in numbers]
