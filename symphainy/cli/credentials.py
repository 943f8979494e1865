"""Who a client command asks as: the token that was given, a saved one, or on this machine a development token."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from symphainy.errors import Invalid, Unauthenticated

if TYPE_CHECKING:
    from symphainy.door import Issued

#: Who a development token speaks for when nothing else is said.
TENANT = "local"
USER = "developer"
ROLE = "admin"


def token_for(url: str, given: str | None, *, data: Path | None = None, tenant_id: str | None = None) -> str:
    """Raises `Unauthenticated` when there is none."""
    if given:
        return given
    if saved := _saved().get(_origin(url)):
        return saved
    from symphainy.wire.callers import is_loopback

    if not is_loopback(urlsplit(url).hostname or ""):
        raise Unauthenticated(
            f"there is no token for {url}: pass --token, set SYMPHAINY_TOKEN, or save one with `symphainy token --save`"
        )
    return _development_token(data, tenant_id or os.environ.get("SYMPHAINY_TENANT") or TENANT)


def mint(tenant_id: str, user_id: str, roles: Sequence[str], *, data: Path | None, is_first: bool) -> Issued:
    """A development token, signed with the key of the platform in `data`; `is_first` may make that key.

    Raises `Unauthenticated` where no platform has run, `StartupFailed` where development tokens do not count.
    """
    from symphainy.boot.config import load
    from symphainy.identity.issuer import KEY_FILE, DevelopmentIssuer
    from symphainy.model import Role
    from symphainy.public_works.clock import SystemClock
    from symphainy.public_works.ids import SystemIds

    settings = load(overrides={"data_dir": data})
    keys = settings.data_dir / "keys"
    if not is_first and not (keys / KEY_FILE).exists():
        raise Unauthenticated(
            f"there is no token, and {settings.data_dir} has no key to make one: say with --data or SYMPHAINY_DATA "
            "where the platform keeps its data, or pass --token"
        )
    if problem := unknown_roles(roles):
        raise Invalid(problem)
    issuer = DevelopmentIssuer(keys, profile=settings.profile, clock=SystemClock(), ids=SystemIds())
    return issuer.mint(tenant_id, user_id, [Role(role) for role in roles])


def unknown_roles(roles: Sequence[str]) -> str | None:
    """Which of these nobody can be given, in words, or None."""
    from symphainy.model import Role

    known = [role for role in Role if role is not Role.ANONYMOUS]
    unknown = sorted(set(roles) - set(known))
    return f"{', '.join(unknown)}: no such role; there are {', '.join(known)}" if unknown else None


def keep(url: str, token: str) -> Path:
    """Keep the token for this address, readable by its owner alone."""
    path = _path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(_saved() | {_origin(url): token}, file, indent=2)
    draft.replace(path)
    return path


def _saved() -> dict[str, str]:
    path = _path()
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise Invalid(f"{path} is not the JSON that `symphainy token --save` writes; delete it") from None
    return found if isinstance(found, dict) else {}


def _path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "symphainy" / "tokens.json"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _development_token(data: Path | None, tenant_id: str) -> str:
    return mint(tenant_id, USER, [ROLE], data=data, is_first=False).access_token
