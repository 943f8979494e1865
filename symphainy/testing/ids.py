"""Chance that repeats itself."""

from __future__ import annotations

import base64
import random


class SeededIds:
    """`Ids` from a seed: the same seed gives the same ids in the same order. Guessable, so for tests only."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311

    def new(self, prefix: str) -> str:
        return f"{prefix}_{base64.b32encode(self._random.randbytes(16)).decode().rstrip('=').lower()}"

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def fraction(self) -> float:
        return self._random.random()
