"""The one token verifier. Every identity on this platform comes out of `TokenVerifier.verify`.

An access token is a signed JWT (RFC 9068): header `typ: at+jwt`, claims `iss sub aud exp iat`, `tenant_id`, and
optionally `nbf`, `roles` and `session_id`. Which algorithms and keys an issuer may use is configuration; nothing
in a token can add to it: `jku`, `x5u`, `jwk` and `x5c` lead nowhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key

from symphainy.errors import Invalid, StartupFailed, Unauthenticated
from symphainy.model import Caller, JsonObject, Role, tenant_id_problem
from symphainy.model.json import depth_exceeds, parse
from symphainy.ports import Clock

TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
TOKEN_CHARS_MAX = 8192
HEADER_DEPTH_MAX = 4
CLAIMS_DEPTH_MAX = 8
ID_CHARS_MAX = 200
LEEWAY_S_MAX = 60
#: Tenants of anonymous sessions are called so, and no others are.
ANONYMOUS_TENANT_PREFIX = "anon-"


@dataclass(frozen=True, kw_only=True)
class TrustedIssuer:
    """An issuer whose tokens count here. `keys` are public (or shared) keys by `kid`.

    A token without a `kid` is checked with the only key there is. `lifetime_s_max` bounds `exp - iat`.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    keys: Mapping[str, Key]
    lifetime_s_max: int = 31 * 24 * 3600

    def __post_init__(self) -> None:
        remedy = "Name the signature algorithms it uses, such as Ed25519 or RS256, and a key for each."
        if not self.algorithms or not self.keys:
            raise StartupFailed(f"issuer {self.issuer!r} has no algorithm or no key", service="identity", remedy=remedy)
        for name in self.algorithms:
            known = jws.JWSRegistry.algorithms.get(name)
            if known is None or name == "none" or known.security_warning:
                raise StartupFailed(
                    f"issuer {self.issuer!r}: {name!r} is no algorithm to trust",
                    service="identity",
                    remedy=remedy,
                )
        for kid, key in self.keys.items():
            if not any(jws.JWSRegistry.algorithms[name].key_type == key.key_type for name in self.algorithms):
                raise StartupFailed(
                    f"issuer {self.issuer!r}: key {kid!r} ({key.key_type}) fits none of {self.algorithms}",
                    service="identity",
                    remedy=remedy,
                )


class TokenVerifier:
    """Turns a token into a `Caller`, or says why not.

    What was verified is remembered by the SHA-256 of the token until the token expires.
    """

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        clock: Clock,
        leeway_s: int = 30,
        remembered_max: int = 10_000,
    ) -> None:
        if not 0 <= leeway_s <= LEEWAY_S_MAX:
            raise StartupFailed(
                f"a leeway of {leeway_s} s for tokens is out of bounds",
                service="identity",
                remedy=f"Set it to at most {LEEWAY_S_MAX} s and keep clocks in step.",
            )
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._clock = clock
        self._leeway_s = leeway_s
        self._remembered: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._remembered_max = remembered_max

    def verify(self, token: str) -> Caller:
        """Raises `Unauthenticated`. The message says what is wrong and repeats nothing of the token."""
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            _refuse(f"the token is longer than {TOKEN_CHARS_MAX} characters, or not ASCII")
        data = token.encode("ascii")
        digest = hashlib.sha256(data).digest()
        now_s = self._clock.now_ms() / 1000
        if known := self._remembered.get(digest):
            caller, until_s = known
            if now_s < until_s:
                self._remembered.move_to_end(digest)
                return caller
            del self._remembered[digest]
        caller, until_s = self._check(data, now_s)
        self._remembered[digest] = (caller, until_s)
        if len(self._remembered) > self._remembered_max:
            self._remembered.popitem(last=False)
        return caller

    def _check(self, token: bytes, now_s: float) -> tuple[Caller, float]:
        parts = token.split(b".")
        if len(parts) != 3:
            _refuse("the token is not a signed JWT")
        # Parsed here before the library does: within our bounds of depth, which its own parser has not.
        header = _json_part(parts[0], "header", HEADER_DEPTH_MAX)
        claims = _json_part(parts[1], "claims", CLAIMS_DEPTH_MAX)
        issuer = self._issuers.get(_text(claims, "iss"))
        if issuer is None:
            _refuse("the token comes from no issuer that is trusted here")
        if str(header.get("typ", "")).lower() not in TOKEN_TYPES:
            _refuse("the token is no access token (typ is not at+jwt)")
        if "crit" in header or "b64" in header:
            _refuse("the token asks for extensions that are not understood here")
        try:
            jws.deserialize_compact(token, _key(issuer, header), algorithms=issuer.algorithms)
        except (JoseError, ValueError, TypeError):
            _refuse("the signature of the token is not valid")
        until_s = self._check_times(claims, issuer, now_s)
        if claims.get("aud") not in (issuer.audience, [issuer.audience]):
            _refuse("the token is meant for another audience")
        return _caller(claims), until_s

    def _check_times(self, claims: JsonObject, issuer: TrustedIssuer, now_s: float) -> float:
        expires_s = _seconds(claims, "exp")
        issued_s = _seconds(claims, "iat")
        valid_from_s = _seconds(claims, "nbf") if "nbf" in claims else issued_s
        if now_s >= expires_s + self._leeway_s:
            _refuse("the token has expired")
        if now_s + self._leeway_s < max(issued_s, valid_from_s):
            _refuse("the token is not valid yet")
        if expires_s - issued_s > issuer.lifetime_s_max:
            _refuse(f"the token is valid for longer than {issuer.lifetime_s_max} s")
        return expires_s + self._leeway_s


def _refuse(message: str) -> NoReturn:
    raise Unauthenticated(message)


def _json_part(part: bytes, name: str, depth_max: int) -> JsonObject:
    try:
        data = base64.b64decode(part + b"=" * (-len(part) % 4), b"-_", validate=True)
        value = parse(data)
    except (binascii.Error, Invalid):
        _refuse(f"the token's {name} cannot be read")
    if not isinstance(value, dict) or depth_exceeds(value, depth_max):
        _refuse(f"the token's {name} cannot be read")
    return value


def _key(issuer: TrustedIssuer, header: JsonObject) -> Key:
    kid = header.get("kid")
    if kid is None and len(issuer.keys) == 1:
        return next(iter(issuer.keys.values()))
    key = issuer.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        _refuse("the token is signed with a key that is not known here")
    return key


def _text(claims: JsonObject, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= ID_CHARS_MAX or not value.isprintable():
        _refuse(f"the token has no usable claim {name!r}")
    return value


def _seconds(claims: JsonObject, name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(f"the token has no usable claim {name!r}")
    return float(value)


def _caller(claims: JsonObject) -> Caller:
    tenant_id = _text(claims, "tenant_id")
    if tenant_id_problem(tenant_id):
        _refuse("the token names no valid tenant")
    roles = _roles(claims.get("roles", [Role.MEMBER.value]))
    session_id = _text(claims, "session_id") if "session_id" in claims else None
    anonymous = (Role.ANONYMOUS in roles, session_id is not None, tenant_id.startswith(ANONYMOUS_TENANT_PREFIX))
    if any(anonymous) and not (all(anonymous) and len(roles) == 1):
        _refuse("the token mixes an anonymous session with something else")
    return Caller(tenant_id=tenant_id, user_id=_text(claims, "sub"), roles=roles, session_id=session_id)


def _roles(value: Any) -> frozenset[Role]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        _refuse("the token's roles are not a list of names")
    unknown = sorted(set(value) - set(Role))
    if unknown:
        _refuse(f"the token names a role that is not known here; roles are {', '.join(Role)}")
    return frozenset(map(Role, value))
