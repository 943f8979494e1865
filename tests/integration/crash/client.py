"""Somebody who uses the platform from outside, over HTTP, and writes down whatever it was told."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from symphainy.model import TERMINAL_EVENTS

TIMEOUT_S = 30.0
BOUNDARY = "between-the-parts"


class Cut(Exception):
    """The platform went away in the middle of it."""


class Refused(Exception):
    """The platform answered, and not with what was asked for."""


class Client:
    """Speaks with Experience on this port. Everything raises `Cut` when the platform dies."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The JSON that is answered. `Idempotency_Key="…"` is the header Idempotency-Key."""
        if body is not None and not isinstance(body, bytes):
            body, headers["Content_Type"] = json.dumps(body).encode(), "application/json"
        with self._connected() as connection:
            try:
                response = self._ask(connection, method, path, body, headers)
                answer = response.read()
            except (http.client.HTTPException, OSError) as error:
                raise Cut(f"{method} {path}: {error!r}") from None
        if response.status >= 400:
            raise Refused(f"{method} {path}: {response.status} {answer.decode()}")
        return json.loads(answer)

    def upload(self, session_id: str, filename: str, content: bytes, *, saga: str, key: str) -> Any:
        fields = {"session_id": session_id, "metadata": json.dumps({"saga": saga})}
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        body = b"".join([*parts, head.encode(), b"\r\n", content, f"\r\n--{BOUNDARY}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.call("POST", "/v1/content/upload", body, Content_Type=kind, Idempotency_Key=key)

    def events(self, execution_id: str, *, after: int) -> Iterator[dict[str, Any]]:
        """Every event after this `seq`, as it comes, until the stream ends."""
        path = f"/api/execution/{execution_id}/stream"
        ended = False
        deadline_s = time.monotonic() + TIMEOUT_S
        with self._connected() as connection:
            try:
                response = self._ask(connection, "GET", path, None, {"Last_Event_ID": str(after)})
                if response.status not in (200, 204):
                    raise Refused(f"{path}: {response.status} {response.read().decode()}")
                while line := response.readline():
                    # Signs of life keep the connection open, and say nothing of the execution.
                    assert time.monotonic() < deadline_s, f"{execution_id} has not ended within {TIMEOUT_S:g} s"
                    if line.startswith(b"data:"):
                        event = json.loads(line[5:])
                        ended = event["event_type"] in TERMINAL_EVENTS
                        yield event
            except (http.client.HTTPException, OSError) as error:
                raise Cut(f"{path}: {error!r}") from None
        # A stream that was cut between two events looks like one that has ended.
        if not ended and response.status == 200:
            raise Cut(f"{path} ended before the execution did")

    def _connected(self) -> closing[http.client.HTTPConnection]:
        return closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S))

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **given})
        return connection.getresponse()
