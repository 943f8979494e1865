"""The issuer of the development profile: real tokens, through the same verifier that production uses."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from symphainy.door import Issued
from symphainy.errors import Invalid, StartupFailed
from symphainy.identity.tokens import ANONYMOUS_TENANT_PREFIX, TrustedIssuer
from symphainy.model import Caller, Role, Session, derive_id, tenant_id_problem
from symphainy.model.instant import instant, unix_ms
from symphainy.model.json import canonical, parse
from symphainy.ports import Clock, Ids

ISSUER = "urn:symphainy:development"
AUDIENCE = "urn:symphainy:platform"
ALGORITHM = "Ed25519"
KEY_FILE = "development.jwk"
TOKEN_LIFETIME_S = 12 * 3600
ANONYMOUS_LIFETIME_S_MAX = 24 * 3600


class DevelopmentIssuer:
    """Mints tokens with an Ed25519 key that lies in `keys_folder`, readable by its owner alone, made on first use.

    Exists in the development profile only: elsewhere tokens come from a real identity provider.
    Reading and making the key touch the disk; minting does not.
    """

    def __init__(self, keys_folder: Path, *, profile: str, clock: Clock, ids: Ids) -> None:
        if profile != "development":
            raise StartupFailed(
                f"the development issuer was asked for in the profile {profile!r}",
                service="identity",
                remedy="Configure an identity provider, or start with the profile development.",
            )
        self._clock = clock
        self._ids = ids
        self._key = _load_or_make(keys_folder / KEY_FILE, ids)
        self._kid = self._key.thumbprint()

    def trusted(self) -> TrustedIssuer:
        """What a verifier needs to know of this issuer: the public half of its key."""
        public = OKPKey.import_key(self._key.as_dict(private=False))
        return TrustedIssuer(issuer=ISSUER, audience=AUDIENCE, algorithms=(ALGORITHM,), keys={self._kid: public})

    def mint(
        self,
        tenant_id: str,
        user_id: str,
        roles: Sequence[Role] = (Role.MEMBER,),
        *,
        ttl_s: int = TOKEN_LIFETIME_S,
    ) -> Issued:
        """A token of a named user. Raises `Invalid` for what no verifier would accept."""
        problem = tenant_id_problem(tenant_id)
        if problem is None and tenant_id.startswith(ANONYMOUS_TENANT_PREFIX):
            problem = f"tenants called {ANONYMOUS_TENANT_PREFIX}… belong to anonymous sessions"
        if problem is None and (not roles or Role.ANONYMOUS in roles):
            problem = "a user's token has one or more of the roles viewer, member, operator, admin"
        if problem is None and not user_id:
            problem = "a token needs a user"
        if problem is None and not 0 < ttl_s <= self.trusted().lifetime_s_max:
            problem = f"a token is valid for 1 to {self.trusted().lifetime_s_max} s, not {ttl_s}"
        if problem is not None:
            raise Invalid(problem)
        return self._sign(
            {"tenant_id": tenant_id, "sub": user_id, "roles": sorted(role.value for role in set(roles))}, ttl_s
        )

    def newcomer(self) -> Caller:
        """An anonymous caller in a new tenant of its own, who has no session yet."""
        secret = self._ids.token_bytes(16).hex()
        return Caller(
            tenant_id=f"{ANONYMOUS_TENANT_PREFIX}{secret}",
            user_id=derive_id("usr", secret),
            roles=frozenset({Role.ANONYMOUS}),
        )

    def mint_anonymous(self, session: Session) -> Issued:
        """The token that opens this one anonymous session, valid as long as the session at most."""
        if not session.is_anonymous or not session.tenant_id.startswith(ANONYMOUS_TENANT_PREFIX):
            raise Invalid(f"{session.session_id} is not an anonymous session")
        left_s = (unix_ms(session.expires_at) - self._clock.now_ms()) // 1000
        if left_s <= 0:
            raise Invalid(f"{session.session_id} expired at {session.expires_at}")
        claims: dict[str, str | Sequence[str]] = {
            "tenant_id": session.tenant_id,
            "sub": session.user_id or derive_id("usr", session.session_id),
            "roles": [Role.ANONYMOUS.value],
            "session_id": session.session_id,
        }
        return self._sign(claims, min(left_s, ANONYMOUS_LIFETIME_S_MAX))

    def _sign(self, claims: Mapping[str, str | Sequence[str]], ttl_s: int) -> Issued:
        issued_s = self._clock.now_ms() // 1000
        expires_s = issued_s + ttl_s
        header = {"typ": "at+jwt", "alg": ALGORITHM, "kid": self._kid}
        facts = {"iss": ISSUER, "aud": AUDIENCE, "iat": issued_s, "exp": expires_s, "jti": self._ids.new("jti")}
        token = jwt.encode(header, {**facts, **claims}, self._key, algorithms=[ALGORITHM])
        return Issued(access_token=token, expires_in=ttl_s, expires_at=instant(expires_s * 1000))


def _load_or_make(path: Path, ids: Ids) -> OKPKey:
    try:
        if not path.exists():
            _make(path, ids)
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise StartupFailed(
            f"the key of the development issuer cannot be kept at {path}: {error.strerror or error}",
            service="identity",
            remedy="Give this user write access to the data folder, or choose another with --data.",
        ) from None
    if mode & 0o077:
        raise StartupFailed(
            f"{path} can be read by others (mode {mode:o})", service="identity", remedy=f"chmod 600 {path}"
        )
    try:
        return OKPKey.import_key(parse(data))
    except (JoseError, Invalid, ValueError, TypeError, KeyError):
        raise StartupFailed(
            f"{path} is no Ed25519 key",
            service="identity",
            remedy="Delete it and a new one is made; tokens signed with the old one stop working.",
        ) from None


def _make(path: Path, ids: Ids) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(ids.token_bytes(32)))
    draft = path.with_name(f".{path.name}.{ids.token_bytes(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(canonical(key.as_dict(private=True)))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # made by another process meanwhile: that one counts
            os.link(draft, path)
    finally:
        draft.unlink()
