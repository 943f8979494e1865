"""How an event becomes a leaf, and leaves a chain.

    leaf  = SHA-256(0x00 ‖ header ‖ SHA-256(salt ‖ payload))
    chain = SHA-256(0x01 ‖ chain before it ‖ leaf)

`header` and `payload` are the stored bytes. The salt goes when the payload is erased: what is left says nothing about
it, and
the chain still verifies.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from symphainy.errors import Invalid, StoreFailed
from symphainy.model.event import Event
from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject, canonical, parse

GENESIS = bytes(32)
SALT_BYTES = 32
ERASED: JsonObject = {"erased": True}


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the clear for ever. Fields in the order of their names, so the bytes are canonical."""

    event_id: str
    event_type: str
    execution_id: str | None
    position: int
    seq: int | None
    session_id: str | None
    tenant_id: str
    timestamp: Instant


_headers = msgspec.json.Decoder(Header)
_encode = msgspec.json.Encoder().encode


def header_bytes(header: Header) -> bytes:
    return _encode(header)


def read_header(data: bytes) -> Header:
    """Raises `msgspec.DecodeError` when the bytes are no header."""
    try:
        return _headers.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from None


def commit(salt: bytes, payload: bytes) -> bytes:
    return sha256(salt + payload).digest()


def leaf(header: bytes, commitment: bytes) -> bytes:
    return sha256(b"\x00" + header + commitment).digest()


def link(before: bytes, leaf_hash: bytes) -> bytes:
    return sha256(b"\x01" + before + leaf_hash).digest()


def payload_bytes(payload: JsonObject) -> bytes:
    return canonical(payload)


def unseal(header: bytes, payload: bytes | None) -> Event:
    """The event that these stored bytes are. An erased payload reads as `{"erased": true}`.

    Raises `StoreFailed` when they are none.
    """
    try:
        read = read_header(header)
        found = dict(ERASED) if payload is None else parse(payload)
    except (msgspec.DecodeError, Invalid, TypeError) as error:
        raise StoreFailed(f"an event in the log is not readable ({error}); `symphainy wal verify` names it") from None
    return Event(
        position=read.position,
        seq=read.seq,
        event_id=read.event_id,
        event_type=read.event_type,
        tenant_id=read.tenant_id,
        session_id=read.session_id,
        execution_id=read.execution_id,
        timestamp=read.timestamp,
        payload=found,
    )
