"""Ids: `ses_ exe_ int_ art_ evt_ jrn_ apr_ usr_ sag_`, opaque.

Random ones come from the `Ids` port; these are derived.
"""

from __future__ import annotations

import base64
import hashlib
import re

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def tenant_id_problem(value: str) -> str | None:
    """What is wrong with `value` as a tenant id, or None."""
    if TENANT_ID.fullmatch(value):
        return None
    return f"{value!r} is no tenant id: 1 to 63 of a-z, 0-9, _ and -, the first a letter or digit"


def derive_id(prefix: str, *parts: str) -> str:
    """An id that depends on `parts` alone: the same call gives the same id, also after a crash.

    Each part is length-prefixed, so no two lists of parts run together.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return f"{prefix}_{base64.b32encode(digest.digest()[:16]).decode().rstrip('=').lower()}"
