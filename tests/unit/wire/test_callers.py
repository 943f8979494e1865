"""Who is behind a request, and who only seems to be on this machine."""

from __future__ import annotations

import pytest

from symphainy.errors import Unauthenticated
from symphainy.wire.callers import Arrival, bearer_token, is_from_this_machine


def arrival(client: str | None = "127.0.0.1", **headers: str) -> Arrival:
    named = {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return Arrival(headers=named, client=client, token=None, request_id="req_1")


@pytest.mark.parametrize(
    "asking",
    [
        arrival(),
        arrival("127.0.0.53"),
        arrival("::1"),
        arrival(host="localhost:8000"),
        arrival(host="127.0.0.1"),
        arrival(host="[::1]:8000"),
        arrival(host="testserver"),
        arrival(host="localhost", origin="http://localhost:3000"),
        arrival(host="localhost", origin="http://127.0.0.1:8001", sec_fetch_site="same-site"),
        arrival(host="localhost", sec_fetch_site="none"),
    ],
    ids=str,
)
def test_a_program_on_this_machine_is_one(asking: Arrival) -> None:
    assert is_from_this_machine(asking)


@pytest.mark.parametrize(
    "asking",
    [
        arrival(None),
        arrival("10.0.0.7"),
        arrival("192.168.1.9"),
        arrival("::ffff:10.0.0.7"),
        arrival("fe80::1"),
        arrival("testclient"),
        arrival(host="rebound.example"),
        arrival(host="127.0.0.1.rebound.example"),
        arrival(host="localhost.example:8000"),
        arrival(host="127.0.0.1@rebound.example"),
        arrival(host="10.0.0.7"),
        arrival(host="[fe80::1]"),
        arrival(host="["),
        arrival(host="\xff"),
        arrival(host=""),
        arrival(host="localhost", origin="https://evil.example"),
        arrival(host="localhost", origin="http://localhost.evil.example"),
        arrival(host="localhost", origin="null"),
        arrival(host="localhost", origin="file://"),
        arrival(host="localhost", sec_fetch_site="cross-site"),
        arrival(host="localhost", x_forwarded_for="10.0.0.7"),
        arrival(host="localhost", x_forwarded_for="127.0.0.1"),
        arrival(host="localhost", forwarded="for=10.0.0.7"),
        arrival(host="localhost", x_real_ip="10.0.0.7"),
        arrival(host="localhost", via="1.1 proxy"),
    ],
    ids=str,
)
def test_a_stranger_behind_a_browser_or_a_proxy_is_none(asking: Arrival) -> None:
    assert not is_from_this_machine(asking)


@pytest.mark.parametrize(
    ("header", "token"),
    [(None, None), ("Bearer abc.def", "abc.def"), ("bearer abc", "abc"), ("BEARER   abc ", "abc")],
)
def test_the_token_is_what_stands_after_bearer(header: str | None, token: str | None) -> None:
    headers = {} if header is None else {b"authorization": header.encode()}
    assert bearer_token(headers) == token


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "abc", "Bearer a b", "Bearer,abc", "\xff abc"]
)
def test_any_other_authorization_is_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        bearer_token({b"authorization": header.encode("latin-1")})
