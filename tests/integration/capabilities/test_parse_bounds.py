"""A long PDF is read in little memory. How fast it is read, the benchmark tells."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.capabilities.content.pdfs import handbook

PAGES = 600
#: Reads a PDF as the child process does. Its own peak is told: `ru_maxrss` counts the process it was started from too.
READER = """
import os, re, sys
from symphainy.capabilities.content.parsing.child import run
with open(sys.argv[1], "rb") as source, open(os.devnull, "wb") as sink:
    run({"media_type": "application/pdf", "options": {}}, source, sink)
with open("/proc/self/status") as status:
    (peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", status.read())
print(int(peak) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one process")
def test_several_hundred_pages_are_read_within_300_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(handbook(PAGES, lines=54))
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True)
    assert 10 << 20 <= int(done.stdout) <= 300 << 20
