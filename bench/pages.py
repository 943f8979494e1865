"""A document of several hundred pages through the platform, and beside it through the bare library."""

from __future__ import annotations

import io
import random
import threading
import time
from datetime import datetime
from typing import Any

import msgspec
import psutil
import pypdfium2
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from bench.machine import child_peak_bytes, resident_bytes
from bench.platform import Platform

LINES_PER_PAGE = 48
WORDS_PER_LINE = 13
LOOK_S = 0.01
WAIT_S = 60
BOUNDARY = "between-the-parts"
WORDS = (
    *("claim", "policy", "holder", "premium", "deductible", "coverage", "adjuster", "liability", "underwriter"),
    *("the", "a", "of", "to", "and", "in", "is", "on", "for", "with", "by", "was", "each", "this", "under", "after"),
    *("settled", "reported", "approved", "declined", "reviewed", "amended", "renewed", "cancelled", "assessed"),
)


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """`child_bytes` is the most that the parsing process has used, `all_bytes` the most of the platform with it."""

    pages_per_s: float
    child_bytes: int
    all_bytes: int


def document(pages: int, *, seed: int) -> bytes:
    """A PDF of as many pages of plain text; another seed, another text."""
    chance = random.Random(seed)
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4, pageCompression=1)
    for page in range(1, pages + 1):
        text = canvas.beginText(50, 790)
        text.setFont("Helvetica-Bold", 14)
        text.textLine(f"{page}. {' '.join(chance.choices(WORDS, k=4)).title()}")
        text.setFont("Helvetica", 10)
        for _ in range(LINES_PER_PAGE):
            text.textLine(" ".join(chance.choices(WORDS, k=WORDS_PER_LINE)))
        canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def parse(platform: Platform, content: bytes, pages: int) -> Parsed:
    """Take the document in, keep it, and measure its parsing alone."""
    session_id = platform.new_session()
    ingested = _ended(platform, _uploaded(platform, content, session_id))["result"]
    kept = {name: ingested[name] for name in ("file_id", "boundary_contract_id")}
    _ended(platform, _submitted(platform, "save_materialization", kept, session_id))
    watch = _Watch(platform.pid)
    with watch:
        run = _ended(platform, _submitted(platform, "parse_content", {"file_id": ingested["file_id"]}, session_id))
    if run["result"]["counts"]["pages"] != pages:
        raise RuntimeError(f"{pages} pages went in, the platform found {run['result']['counts']}")
    seconds = _unix_s(run["completed_at"]) - _unix_s(run["started_at"])
    return Parsed(pages_per_s=pages / seconds, child_bytes=watch.child_bytes, all_bytes=watch.all_bytes)


def bare_pages_per_s(content: bytes) -> float:
    """The text of every page, by the library alone."""
    began_s = time.perf_counter()
    document = pypdfium2.PdfDocument(content)
    pages = len(document)
    for page in document:
        text = page.get_textpage()
        text.get_text_bounded()
        text.close()
        page.close()
    document.close()
    return pages / (time.perf_counter() - began_s)


class _Watch:
    """Looks at the memory of a process and its children, many times a second."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.child_bytes = 0
        self.all_bytes = 0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self.child_bytes = max(self.child_bytes, child_peak_bytes(self._pid))
            try:
                self.all_bytes = max(self.all_bytes, resident_bytes(self._pid))
            except psutil.NoSuchProcess:  # a child that has ended since
                continue


def _uploaded(platform: Platform, content: bytes, session_id: str) -> str:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n{session_id}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="pages.pdf"\r\n'
        "Content-Type: application/pdf\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    answer = platform.send("/v1/content/upload", body, f"multipart/form-data; boundary={BOUNDARY}")
    return str(answer["execution_id"])


def _submitted(platform: Platform, intent_type: str, parameters: dict[str, Any], session_id: str) -> str:
    body = {"intent_type": intent_type, "session_id": session_id, "parameters": parameters}
    return str(platform.call("POST", "/api/intent/submit", body)["execution_id"])


def _ended(platform: Platform, execution_id: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        execution: dict[str, Any] = platform.call("GET", f"/api/execution/{execution_id}/status")
        if execution["status"] == "completed":
            return execution
        if execution["status"] not in ("created", "running"):
            raise RuntimeError(f"{execution['intent_type']} is {execution['status']}: {execution['error']}")
        time.sleep(LOOK_S)
    raise RuntimeError(f"{execution_id} has not ended within {WAIT_S} s")


def _unix_s(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()
