"""Every bound of the HTTP edge, in one value. Boot fills it from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class EdgeSettings:
    """Bounds of what one service takes in and keeps open."""

    body_bytes_max: int = MIB
    """A request body that is no upload."""
    body_deadline_s: float = 30.0
    """For all of such a body to arrive."""
    upload_bytes_max: int = 1024 * MIB
    upload_part_bytes_max: int = MIB
    """A form field of an upload that is not the file."""
    spool_folder: str | None = None
    """Where a file waits on disk that comes before the field `session_id`. None: the system's temporary folder."""
    wait_s_max: float = 60.0
    """`Prefer: wait=N` is cut to this."""
    stream_ping_s: float = 15.0
    """Silence on an event stream before it says that it is alive."""
    stream_s_max: float = 3600.0
    """Then a stream ends, and the client resumes with a token that is checked again."""
    socket_init_s: float = 10.0
    """For a WebSocket to say who it is and what it wants."""
    socket_message_chars_max: int = 16 * 1024
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this service from a browser."""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Bounds of the listening socket: what a client may do to it before a request exists."""

    header_deadline_s: float = 10.0
    """For the whole head of a request to arrive, counted from the connection or its first byte."""
    header_bytes_max: int = 32 * 1024
    header_count_max: int = 100
    body_window_s: float = 30.0
    """In each such window a body must bring `body_window_bytes_min`, unless the platform itself is not reading."""
    body_window_bytes_min: int = 4096
    write_stall_s: float = 60.0
    """A client that reads nothing for so long is cut off."""
    keep_alive_s: float = 30.0
    connections_max: int = 10_000
    drain_s: float = 20.0
    """For requests that are under way when the server stops."""
