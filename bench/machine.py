"""What the machine says: how busy it is, and what a process takes of it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import msgspec
import psutil

ROOT = Path(__file__).resolve().parent.parent

#: Load per core above which somebody else was at work.
BUSY_LOAD = 0.3


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cores: int
    processor: str
    system: str
    python: str
    memory_bytes: int


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Average length of the run queue over the last minute, before the measurements and after."""

    before: float
    after: float

    @property
    def warning(self) -> str | None:
        """What to think of the figures, when somebody else was using the machine at the start."""
        per_core = self.before / (os.cpu_count() or 1)
        if per_core <= BUSY_LOAD:
            return None
        return (
            f"the machine was busy before the first measurement (load {self.before:.2f} on {os.cpu_count()} cores): "
            "the figures are lower than it can do"
        )


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a process has used so far: seconds of processor, and how often its threads were scheduled in."""

    cpu_s: float
    switches: int


def machine() -> Machine:
    return Machine(
        cores=os.cpu_count() or 1,
        processor=_processor(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        memory_bytes=psutil.virtual_memory().total,
    )


def load_now() -> float:
    return os.getloadavg()[0]


def usage_of(pid: int) -> Usage:
    """Of every thread of the process. Linux only."""
    times = psutil.Process(pid).cpu_times()
    tasks = Path(f"/proc/{pid}/task")
    switches = sum(_switches((task / "status").read_text()) for task in tasks.iterdir())
    return Usage(cpu_s=times.user + times.system, switches=switches)


def resident_bytes(pid: int) -> int:
    """Memory in use by the process and every child of it."""
    process = psutil.Process(pid)
    return int(sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]))


def child_peak_bytes(pid: int) -> int:
    """The most memory that any present child of the process has used so far; 0 without children. Linux only."""
    peaks = [0]
    for child in psutil.Process(pid).children(recursive=True):
        try:
            status = Path(f"/proc/{child.pid}/status").read_text()
        except OSError:  # it has ended since
            continue
        peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def _switches(status: str) -> int:
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
