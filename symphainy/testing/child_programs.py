"""What the `Offload` suite runs in children: `symphainy.testing.child_programs:echo`."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from typing import BinaryIO

from symphainy.model import JsonObject
from symphainy.model.json import canonical


def echo(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Copy stdin to stdout."""
    while chunk := stdin.read(1 << 16):
        stdout.write(chunk)


def tell(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """What it was given and what it may use, as JSON."""
    files = [int(name) for name in os.listdir("/proc/self/fd")] if sys.platform == "linux" else []
    told = {
        "arguments": arguments,
        "stdin_bytes": len(stdin.read()),
        "address_space": resource.getrlimit(resource.RLIMIT_AS)[0],
        "core_bytes": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "leads_its_group": os.getpgid(0) == os.getpid(),
        "environment": sorted(os.environ),
        "files": files,
    }
    stdout.write(canonical(told))


def chatter(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Print as libraries do, and deliver two bytes."""
    print("this is not data")  # noqa: T201
    os.write(1, b"nor is this\n")
    stdout.write(b"ok")


def deaf(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Read nothing, deliver two bytes."""
    stdout.write(b"ok")


def pour(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Write megabytes without end; say on stderr how many went out."""
    chunk = bytes(1 << 20)
    written = 0
    while True:
        stdout.write(chunk)
        stdout.flush()
        written += 1
        with open(arguments["tally"], "w", encoding="ascii") as tally:
            tally.write(str(written))


def refuse(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Deliver a little, then raise."""
    stdout.write(b"partial")
    stdout.flush()
    sys.stderr.write("x" * 100_000 + "\n")
    raise ValueError(arguments["message"])


def gorge(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Ask for more memory until there is none."""
    eaten = [bytearray(1 << 20)]
    while True:
        eaten.append(bytearray(1 << 20))


def abort(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Die as a native library does."""
    sys.stderr.write("assertion failed in native code\n")
    sys.stderr.flush()
    os.abort()


def hang(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Deliver the process ids of itself and of a child of its own, and never end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    stdout.write(f"{os.getpid()} {grandchild.pid}".encode())
    stdout.flush()
    signal.pause()


def leave_a_grandchild(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """End well, while a child of its own still holds the pipes."""
    subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    stdout.write(b"ok")
