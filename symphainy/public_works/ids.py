"""Ids that sort by the time they were made, with randomness from the operating system."""

from __future__ import annotations

import os
from collections import deque

from symphainy.ports import Clock
from symphainy.public_works.clock import SystemClock

#: base32hex: the order of the digits is the order of their values, so ids sort as they were made.
_ALPHABET = b"0123456789abcdefghijklmnopqrstuv"
#: Any byte to a digit: 256 is a multiple of 32, so all digits are equally likely.
_DIGIT = bytes(_ALPHABET[byte & 31] for byte in range(256))
_TIME_DIGITS = 10
_RANDOM_DIGITS = 16
_BATCH = 256


class SystemIds:
    """`Ids` of 48 bits of milliseconds and 80 random bits. Safe to share between threads and over a fork.

    A store keeps rows in the order of their ids. What is made together then lies together: a commit of a hundred
    new executions dirties a few pages and not hundreds.
    Random digits are drawn 256 ids at a time and mapped in C.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._digits: deque[str] = deque()
        self._stamp = (-1, "")
        os.register_at_fork(after_in_child=self._digits.clear)

    def new(self, prefix: str) -> str:
        while True:
            try:
                return f"{prefix}_{self._time()}{self._digits.popleft()}"
            except IndexError:
                self._draw()

    def token_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def fraction(self) -> float:
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)

    def _time(self) -> str:
        now_ms, digits = self._clock.now_ms(), ""
        known_ms, known = self._stamp
        if now_ms == known_ms:
            return known
        for place in range(_TIME_DIGITS):
            digits = chr(_ALPHABET[(now_ms >> (5 * place)) & 31]) + digits
        self._stamp = (now_ms, digits)
        return digits

    def _draw(self) -> None:
        drawn = os.urandom(_RANDOM_DIGITS * _BATCH).translate(_DIGIT).decode()
        self._digits.extend(drawn[_RANDOM_DIGITS * i : _RANDOM_DIGITS * (i + 1)] for i in range(_BATCH))
