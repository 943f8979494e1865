"""What runs inside a child of `LocalOffload`: `python -m symphainy.public_works.child module:function`.

On stdin first comes the order, four bytes of length (big-endian) and JSON, then whatever the function reads. Nothing
of the order stands on the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

MEMORY_EXIT = 71
LENGTH_BYTES = 4
_PR_SET_PDEATHSIG = 1


def main(target: str) -> NoReturn:
    """Do what the order says, then leave without tearing down: native libraries have crashed there after good work."""
    order = _read_order()
    _die_with(order["parent_pid"])
    _close_inherited_files()
    _limit(order["memory_bytes_max"], order["cpu_s_max"])
    # What the function prints must not mix with the bytes it delivers.
    delivery = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(0, "rb", closefd=False) as stdin, open(delivery, "wb") as stdout:
            _function(target)(order["arguments"], stdin, stdout)
    except MemoryError:
        os._exit(MEMORY_EXIT)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _read_order() -> dict[str, Any]:
    length = int.from_bytes(_read_exactly(LENGTH_BYTES), "big")
    order: dict[str, Any] = json.loads(_read_exactly(length))
    return order


def _read_exactly(count: int) -> bytes:
    """Unbuffered, so that what follows the order is left to the function."""
    data = bytearray()
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            raise EOFError(f"the order ended after {len(data)} of {count} bytes")
        data += more
    return bytes(data)


def _die_with(parent_pid: int) -> None:
    """Be killed when the platform is, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the call above
            os._exit(1)


def _close_inherited_files() -> None:
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _limit(memory_bytes_max: int, cpu_s_max: int) -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_s_max),
        (resource.RLIMIT_AS, memory_bytes_max),
    ):
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (allowed, allowed))


def _function(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    main(sys.argv[1])
