"""The log tells no secret, forges no line, and carries the ids of what it speaks of."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from symphainy.boot.observability import configure_logging, escape, redact
from symphainy.testing.clock import VirtualClock


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def logged(form: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level=level, form=form, clock=VirtualClock(), stream=stream)
    return stream


def test_a_line_is_json_with_time_level_and_bound_ids() -> None:
    stream, clock = logged("json"), VirtualClock()
    with structlog.contextvars.bound_contextvars(execution_id="exe_1"):
        structlog.get_logger().info("step_completed", step="count", seconds=0.5)
    assert json.loads(stream.getvalue()) == {
        "event": "step_completed",
        "execution_id": "exe_1",
        "step": "count",
        "seconds": 0.5,
        "level": "info",
        "timestamp": f"{clock.now():%Y-%m-%dT%H:%M:%S}.000Z",
    }


def test_what_is_below_the_level_is_not_written() -> None:
    stream = logged("json", level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_libraries_write_into_the_same_log() -> None:
    stream = logged("json")
    logging.getLogger("somebody.else").warning("the %s is late", "train")
    assert json.loads(stream.getvalue())["event"] == "the train is late"


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": "hunter2"},
        {"request": {"headers": [{"Authorization": "Basic hunter2"}]}},
        {"header": "Bearer hunter2.hunter2"},
        {"note": "token eyJhbGciOiJFZERTQSJ9.hunter2hunter2.sig"},
        {"url": "redis://user:hunter2@host:6379/0"},
        {"apiKey": b"hunter2"},
        {"content": b"hunter2"},
    ],
)
def test_no_secret_is_written(form: str, fields: dict[str, Any]) -> None:
    stream = logged(form)
    structlog.get_logger().error("refused", **fields)
    assert "refused" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_of_an_exception_is_written(form: str) -> None:
    stream = logged(form)
    try:
        raise ValueError("cannot reach redis://:hunter2@host")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: cannot reach redis://***@host" in stream.getvalue()


def test_an_address_without_a_password_stays_readable() -> None:
    entry = {"url": "http://127.0.0.1:8000/api?mail=a@b.org"}
    assert redact(None, "info", dict(entry)) == entry


HOSTILE = "x\n2026-11-20 [error] forged\x1b[2J\x9b31m\u2028\u202eend"


@pytest.mark.parametrize("form", ["json", "console"])
def test_text_from_outside_cannot_start_a_line_or_drive_the_terminal(form: str) -> None:
    stream = logged(form)
    structlog.get_logger().warning("refused", filename=HOSTILE, **{f"k{HOSTILE}": [HOSTILE]})
    written = stream.getvalue()
    assert len(written.splitlines()) == 1
    assert not set("\x1b\x9b\u2028\u202e") & set(written)


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_cannot_either(form: str) -> None:
    stream = logged(form)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("failed")
    first, *rest = stream.getvalue().splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") for line in rest)
    assert not set("\x1b\x9b\u2028\u202e") & set(stream.getvalue())


@given(st.text())
def test_whatever_is_escaped_is_one_printable_line(text: str) -> None:
    found = escape(None, "info", {"value": text})["value"]
    assert len(f"x{found}x".splitlines()) == 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in found)


def test_a_long_value_is_cut_and_says_so() -> None:
    found = escape(None, "info", {"value": "x" * 10_000})["value"]
    assert len(found) < 4100
    assert found.endswith("(10000 characters)")


def test_a_reader_that_has_gone_stops_nothing() -> None:
    stream = logged("json")
    stream.close()
    structlog.get_logger().error("nobody reads this")
