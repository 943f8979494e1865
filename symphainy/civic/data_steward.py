"""Data Steward: may this be kept, in which form, how long, and may it stand in the log?

boundary_contract(boundary_contract_id=..., ..., now=...)   made before the first byte is kept
may_materialize(contract, materialization_type=..., size_bytes=..., retention_days=..., now=...)
expired(contract, now=...)                                  whether what is kept under it must go
may_record(payload)                                         a refusal names the JSON pointer of what stays out
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from symphainy.model import Decision, JsonObject, allow, refuse
from symphainy.model.instant import Instant, instant, unix_ms

MATERIALIZATION = "data_steward.materialization"
RECORD = "data_steward.record"

#: What is kept, for how long and how large, when nothing narrower is said.
RETENTION_DAYS = 30
SIZE_BYTES_MAX = 1 << 30

#: A string of base64 longer than this is file content: it belongs into a blob.
BASE64_CHARS_MAX = 4096
#: Encoded bytes use nearly all of the 64 signs; words, numbers and sequences do not.
SIGNS_MIN = 40
#: Where base64 is broken into lines, they are longer than words.
LINE_CHARS_MIN = 60


class MaterializationType(StrEnum):
    """The forms in which something may be kept, from the least to the most."""

    REFERENCE = "reference"
    PARTIAL_EXTRACTION = "partial_extraction"
    DETERMINISTIC = "deterministic"
    SEMANTIC_EMBEDDING = "semantic_embedding"
    FULL_ARTIFACT = "full_artifact"


class ContractStatus(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


class BoundaryContract(msgspec.Struct, frozen=True, kw_only=True):
    """Under which terms content crosses into the platform. `pending` until somebody decides to keep it."""

    boundary_contract_id: str
    tenant_id: str
    session_id: str
    status: ContractStatus
    materialization_types: tuple[MaterializationType, ...]
    size_bytes_max: int
    retention_days: int
    issued_at: Instant
    expires_at: Instant

    def to_dict(self) -> JsonObject:
        """The wire form."""
        out: JsonObject = msgspec.to_builtins(self)
        return out | {"materialization_types": [*out["materialization_types"]]}


def boundary_contract(
    *,
    boundary_contract_id: str,
    tenant_id: str,
    session_id: str,
    now: Instant,
    materialization_types: Collection[str] = tuple(MaterializationType),
    size_bytes_max: int = SIZE_BYTES_MAX,
    retention_days: int = RETENTION_DAYS,
) -> BoundaryContract:
    """A pending contract. It ends `retention_days` after `now`. Raises `ValueError` for an unknown type."""
    wanted = {MaterializationType(kind) for kind in materialization_types}
    return BoundaryContract(
        boundary_contract_id=boundary_contract_id,
        tenant_id=tenant_id,
        session_id=session_id,
        status=ContractStatus.PENDING,
        materialization_types=tuple(kind for kind in MaterializationType if kind in wanted),
        size_bytes_max=size_bytes_max,
        retention_days=retention_days,
        issued_at=now,
        expires_at=_after_days(now, retention_days),
    )


def expired(contract: BoundaryContract, *, now: Instant) -> bool:
    return contract.status is ContractStatus.EXPIRED or now >= contract.expires_at


def may_materialize(
    contract: BoundaryContract | None,
    *,
    materialization_type: str,
    size_bytes: int,
    retention_days: int,
    now: Instant,
) -> Decision:
    """May `size_bytes` be kept in this form, for `retention_days` from when the contract was issued? By default, no."""
    if contract is None:
        return refuse(
            MATERIALIZATION,
            "there is no boundary contract",
            remedy="Bring the content in first: that issues one",
        )
    name = f"boundary contract {contract.boundary_contract_id}"
    if expired(contract, now=now):
        return refuse(
            MATERIALIZATION,
            f"{name} ended at {contract.expires_at}; it is {now}",
            remedy="Bring the content in again",
        )
    if materialization_type not in contract.materialization_types:
        allowed = ", ".join(contract.materialization_types) or "nothing"
        return refuse(MATERIALIZATION, f"{name} allows {allowed}, not {materialization_type!r}")
    if size_bytes > contract.size_bytes_max:
        return refuse(MATERIALIZATION, f"{size_bytes} bytes; {name} allows at most {contract.size_bytes_max}")
    # Counted from the issue, as the contract counts: what it allows in full is allowed on its last day too.
    if retention_days > contract.retention_days:
        return refuse(
            MATERIALIZATION,
            f"{retention_days} days; {name} allows {contract.retention_days}, until {contract.expires_at}",
        )
    return allow(
        MATERIALIZATION,
        f"{name}: {materialization_type}, {size_bytes} of {contract.size_bytes_max} bytes, until {contract.expires_at}",
    )


def _after_days(now: Instant, days: int) -> Instant:
    return instant(unix_ms(now) + int(timedelta(days=days).total_seconds() * 1000))


# --- what may stand in the log ---

_SECRET_ENDINGS: tuple[tuple[str, ...], ...] = (
    ("password",),
    ("passwd",),
    ("passphrase",),
    ("pwd",),
    ("secret",),
    ("secrets",),
    ("token",),
    ("apikey",),
    ("api", "key"),
    ("access", "key"),
    ("secret", "key"),
    ("private", "key"),
    ("privatekey",),
    ("signing", "key"),
    ("encryption", "key"),
    ("authorization",),
    ("credential",),
    ("credentials",),
    ("cookie",),
)
#: Where a listing goes on; not a secret.
_CURSOR_ENDINGS: tuple[tuple[str, ...], ...] = (
    ("page", "token"),
    ("next", "token"),
    ("continuation", "token"),
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_BASE64 = re.compile(r"(?:data:[^,]{0,200};base64,)?[A-Za-z0-9+/_\s-]+={0,2}\s*")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")


@lru_cache(maxsize=4096)
def names_a_secret(key: str) -> bool:
    """Whether such a key holds a secret: `client_secret`, `apiKey`, `X-Auth-Token`; not `max_tokens`."""
    words = tuple(word.lower() for word in _WORD.findall(key))
    if any(words[-len(end) :] == end for end in _CURSOR_ENDINGS):
        return False
    return any(words[-len(end) :] == end for end in _SECRET_ENDINGS)


def may_record(payload: Any, *, base64_chars_max: int = BASE64_CHARS_MAX) -> Decision:
    """May this JSON value enter the log or the state? No secrets (by their keys' names), no file content."""
    # Each entry carries the way back to the root, so a pointer is only built for what is refused.
    ahead: list[tuple[Any, Any]] = [(payload, None)]
    while ahead:
        value, place = ahead.pop()
        if isinstance(value, dict):
            for key, below in value.items():
                if isinstance(key, str) and _filled(below) and names_a_secret(key):
                    return refuse(
                        RECORD,
                        f"{_pointer((place, key))} is named like a secret",
                        remedy="Leave it out: credentials travel through /api/auth only",
                    )
                ahead.append((below, (place, key)))
        elif isinstance(value, (list, tuple)):
            ahead.extend((below, (place, index)) for index, below in enumerate(value))
        elif isinstance(value, str):
            why = _content_in(value, base64_chars_max)
            if why:
                return refuse(RECORD, f"{_pointer(place)} {why}", remedy="Put it into the blob store")
        elif isinstance(value, (bytes, bytearray, memoryview)):
            return refuse(RECORD, f"{_pointer(place)} is {len(value)} raw bytes", remedy="Put them into the blob store")
    return allow(RECORD, "no secrets and no file content")


def _filled(value: Any) -> bool:
    """None, true, false and what is empty say that there is no secret here."""
    return not (value is None or isinstance(value, bool) or value in ("", [], {}))


def _content_in(text: str, base64_chars_max: int) -> str | None:
    if len(text) > base64_chars_max and _BASE64.fullmatch(text) and _is_encoded(text):
        return f"is {len(text)} characters of base64; at most {base64_chars_max} may be recorded"
    if "PRIVATE KEY-----" in text and _PRIVATE_KEY.search(text):
        return "holds a private key"
    return None


def _is_encoded(text: str) -> bool:
    """Whether it is base64 and not just written in its letters: a list of words, a sequence, a hex dump.

    Encoded content is one run of letters, or lines of one length, and uses most of the 64 signs.
    """
    lines = text.split()
    if len({len(line) for line in lines[:-1]}) > 1 or (len(lines) > 1 and len(lines[0]) < LINE_CHARS_MIN):
        return False
    return len(set(text)) >= SIGNS_MIN


def _pointer(place: Any) -> str:
    parts: list[str] = []
    while place is not None:
        place, key = place
        parts.append(str(key).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(reversed(parts)) if parts else "the value"
