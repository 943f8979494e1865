"""The one verifier: what it accepts, and the many things it does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from symphainy.errors import StartupFailed, Unauthenticated
from symphainy.identity import TokenVerifier, TrustedIssuer
from symphainy.identity.tokens import TOKEN_CHARS_MAX
from symphainy.model import Caller, Role
from symphainy.testing.clock import VirtualClock

ISSUER = "https://id.example"
AUDIENCE = "https://platform.example"
OWN = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
FOREIGN = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
RSA = RSAKey.generate_key(2048)
NOW_S = VirtualClock().now_ms() // 1000


def public(key: Key) -> Key:
    return type(key).import_key(key.as_dict(private=False))


def trusted(**changes: Any) -> TrustedIssuer:
    facts: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ("Ed25519",),
        "keys": {"k1": public(OWN)},
    }
    return TrustedIssuer(**{**facts, **changes})


def verifier(*issuers: TrustedIssuer, clock: VirtualClock | None = None, **rest: Any) -> TokenVerifier:
    return TokenVerifier(issuers or (trusted(),), clock=clock or VirtualClock(), **rest)


HEADER = {"alg": "Ed25519", "typ": "at+jwt", "kid": "k1"}
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ada",
    "tenant_id": "acme",
    "roles": ["member"],
    "iat": NOW_S,
    "exp": NOW_S + 300,
}
ADA = Caller(tenant_id="acme", user_id="ada", roles=frozenset({Role.MEMBER}))


def signed(
    claims: dict[str, Any] | None = None, header: dict[str, Any] | None = None, key: Key = OWN, **changes: Any
) -> str:
    """A token. A change to None leaves the claim out."""
    facts = {name: value for name, value in {**CLAIMS, **(claims or {}), **changes}.items() if value is not None}
    head = {name: value for name, value in {**HEADER, **(header or {})}.items() if value is not None}
    signing_input = f"{part(head)}.{part(facts)}"
    # Signed by hand: the library refuses to make most of what is made here.
    signature = jws.JWSRegistry.algorithms[head["alg"]].sign(signing_input.encode(), key)
    return f"{signing_input}.{part(signature)}"


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def with_signature_of(token: str, header: Any, claims: Any) -> str:
    return f"{part(header)}.{part(claims)}.{token.split('.')[2]}"


def hmac_with_public_key(secret: bytes) -> str:
    key = OctKey.import_key(secret)
    return jwt.encode({**HEADER, "alg": "HS256"}, CLAIMS, key, algorithms=["HS256"], default_type=None)


PUBLIC_PEM = OWN.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLIC_RAW = OWN.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
EC = ECKey.generate_key("P-256")

#: Each has to be turned away, and would be let in by some verifier that was once in use.
FORGED: dict[str, str] = {
    "no signature, alg none": f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{part(CLAIMS)}.",
    "no signature, alg None": f"{part({'alg': 'None', 'typ': 'at+jwt'})}.{part(CLAIMS)}.",
    "no signature, alg nOnE": f"{part({'alg': 'nOnE', 'typ': 'at+jwt', 'kid': 'k1'})}.{part(CLAIMS)}.",
    "no signature, no alg": f"{part({'typ': 'at+jwt'})}.{part(CLAIMS)}.",
    "right alg, empty signature": f"{part(HEADER)}.{part(CLAIMS)}.",
    "alg is a number": f"{part({**HEADER, 'alg': 1})}.{part(CLAIMS)}.AAAA",
    "alg is a list": f"{part({**HEADER, 'alg': ['Ed25519']})}.{part(CLAIMS)}.AAAA",
    "alg is null": f"{part({**HEADER, 'alg': None})}.{part(CLAIMS)}.AAAA",
    "HS256 with the public key as PEM": hmac_with_public_key(PUBLIC_PEM.replace(b"-----", b"=====")),
    "HS256 with the public key's bytes": hmac_with_public_key(PUBLIC_RAW),
    "HS256 with the kid": hmac_with_public_key(b"k1" * 16),
    "RS256 with a key of one's own": signed(header={"alg": "RS256"}, key=RSA),
    "ES256 with a key of one's own": signed(header={"alg": "ES256"}, key=EC),
    "the right algorithm with another key": signed(key=FOREIGN),
    "another key and no kid": signed(header={"kid": None}, key=FOREIGN),
    "the deprecated name of the algorithm": with_signature_of(signed(), {**HEADER, "alg": "EdDSA"}, CLAIMS),
    "a kid that nobody has": signed(header={"kid": "k2"}),
    "a kid that is a path": signed(header={"kid": "../../../../dev/null"}, key=FOREIGN),
    "a kid that is a query": signed(header={"kid": "k1' or '1'='1"}, key=FOREIGN),
    "a kid that is empty": signed(header={"kid": ""}, key=FOREIGN),
    "a kid that is a list": with_signature_of(signed(), {**HEADER, "kid": ["k1"]}, CLAIMS),
    "a kid that is an object": with_signature_of(signed(), {**HEADER, "kid": {"k1": 1}}, CLAIMS),
    "a key of one's own in jwk": signed(header={"jwk": FOREIGN.as_dict(private=False)}, key=FOREIGN),
    "a key of one's own at jku": signed(header={"jku": "https://evil.example/keys"}, key=FOREIGN),
    "a key of one's own at x5u": signed(header={"x5u": "https://evil.example/cert"}, key=FOREIGN),
    "a key of one's own in x5c": signed(header={"x5c": ["MIIB"]}, key=FOREIGN),
    "an extension that must be understood": signed(header={"crit": ["exp"]}),
    "an unencoded payload": signed(header={"b64": False, "crit": ["b64"]}),
    "an id token": signed(header={"typ": "JWT"}),
    "a logout token": signed(header={"typ": "logout+jwt"}),
    "no typ": signed(header={"typ": None}),
    "typ is a list": with_signature_of(signed(), {**HEADER, "typ": ["at+jwt"]}, CLAIMS),
    "another issuer": signed(iss="https://evil.example"),
    "the issuer with a slash": signed(iss=ISSUER + "/"),
    "the issuer in capitals": signed(iss=ISSUER.upper()),
    "no issuer": signed(iss=None),
    "issuers": signed(iss=[ISSUER]),
    "another audience": signed(aud="https://other.example"),
    "a longer audience": signed(aud=AUDIENCE + "/admin"),
    "no audience": signed(aud=None),
    "an empty list of audiences": signed(aud=[]),
    "further audiences": signed(aud=[AUDIENCE, "https://other.example"]),
    "expired": signed(exp=NOW_S - 31),
    "expired long ago": signed(iat=0, exp=1),
    "no end": signed(exp=None),
    "an end that is text": signed(exp=str(NOW_S + 300)),
    "an end that is true": signed(exp=True),
    "no end in sight": signed(exp=1e18),
    "valid for too long": signed(exp=NOW_S + 400 * 24 * 3600),
    "no beginning": signed(iat=None),
    "issued in the future": signed(iat=NOW_S + 31, exp=NOW_S + 300),
    "not valid yet": signed(nbf=NOW_S + 31),
    "a beginning that is text": signed(nbf="soon"),
    "no subject": signed(sub=None),
    "an empty subject": signed(sub=""),
    "a subject that is a number": signed(sub=1),
    "a subject with a line break": signed(sub="ada\nroot"),
    "an endless subject": signed(sub="a" * 201),
    "no tenant": signed(tenant_id=None),
    "a tenant with a separator": signed(tenant_id="acme:globex"),
    "a tenant in capitals": signed(tenant_id="ACME"),
    "a tenant that is a list": signed(tenant_id=["acme"]),
    "an unknown role": signed(roles=["member", "root"]),
    "a role that is no list": signed(roles="admin"),
    "no role at all": signed(roles=[]),
    "roles that are numbers": signed(roles=[4]),
    "anonymous and admin": signed(roles=["anonymous", "admin"], tenant_id="anon-1", session_id="ses_1"),
    "anonymous without a session": signed(roles=["anonymous"], tenant_id="anon-1"),
    "anonymous in somebody's tenant": signed(roles=["anonymous"], session_id="ses_1"),
    "a member of an anonymous tenant": signed(tenant_id="anon-1"),
    "a member bound to a session": signed(session_id="ses_1"),
    "another payload under the same signature": with_signature_of(signed(), HEADER, {**CLAIMS, "roles": ["admin"]}),
    "another header under the same signature": with_signature_of(signed(), {**HEADER, "kid": None}, CLAIMS),
    "a header that is a list": with_signature_of(signed(), [HEADER], CLAIMS),
    "claims that are a list": with_signature_of(signed(), HEADER, [CLAIMS]),
    "claims that are no JSON": with_signature_of(signed(), HEADER, b"{"),
    "claims nested for ever": with_signature_of(signed(), HEADER, b"[" * 3000),
    "a header nested for ever": with_signature_of(signed(), b'{"a":' * 600, CLAIMS),
    "claims nested too deep": signed(extra=json.loads("[" * 20 + "]" * 20)),
    "two parts": ".".join(signed().split(".")[:2]),
    "four parts": signed() + ".AAAA",
    "an encrypted token": "a.b.c.d.e",
    "padding": signed() + "=",
    "white space": " " + signed(),
    "not base64": signed()[:-4] + "!!!!",
    "nothing": "",
    "dots": "..",
    "not ASCII": signed() + "é",
    "huge": "a" * (TOKEN_CHARS_MAX + 1),
    "huge, and signed": signed(extra="a" * TOKEN_CHARS_MAX),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_a_forged_token_is_turned_away(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verifier().verify(token)
    assert len(token) < 8 or token[-30:] not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "caller"),
    [
        (signed(), ADA),
        (signed(header={"kid": None}), ADA),
        (signed(header={"typ": "application/at+jwt"}), ADA),
        (signed(header={"typ": "AT+JWT"}), ADA),
        (signed(header={"jku": "https://evil.example/keys"}), ADA),
        (signed(aud=[AUDIENCE]), ADA),
        (signed(roles=None), ADA),
        (signed(exp=NOW_S - 29, iat=NOW_S - 300), ADA),
        (signed(iat=NOW_S + 29), ADA),
        (signed(nbf=NOW_S + 29), ADA),
        (
            signed(roles=["operator", "viewer"]),
            Caller(tenant_id="acme", user_id="ada", roles=frozenset({Role.OPERATOR, Role.VIEWER})),
        ),
        (
            signed(roles=["anonymous"], tenant_id="anon-1f", session_id="ses_1"),
            Caller(tenant_id="anon-1f", user_id="ada", roles=frozenset({Role.ANONYMOUS}), session_id="ses_1"),
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else "caller",
)
def test_a_good_token_says_who_is_calling(token: str, caller: Caller) -> None:
    assert verifier().verify(token) == caller


async def test_a_remembered_token_still_expires() -> None:
    clock = VirtualClock()
    guard = verifier(clock=clock)
    token = signed()
    assert guard.verify(token) == guard.verify(token) == ADA
    await clock.advance(300 + 29)
    assert guard.verify(token) == ADA
    await clock.advance(1)
    with pytest.raises(Unauthenticated, match="expired"):
        guard.verify(token)


def test_a_remembered_token_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = verifier(remembered_max=2)
    checked: list[bytes] = []
    real = jws.deserialize_compact

    def counting(value: bytes, *args: Any, **rest: Any) -> Any:
        checked.append(value)
        return real(value, *args, **rest)

    monkeypatch.setattr(jws, "deserialize_compact", counting)
    first, second, third = (signed(sub=name) for name in ("ada", "bob", "eve"))
    for token in (first, first, second, first, third):
        guard.verify(token)
    assert len(checked) == 3
    guard.verify(second)  # the one that was used longest ago made room for the third
    guard.verify(third)
    assert len(checked) == 4


def test_what_was_refused_is_not_remembered_as_good() -> None:
    guard = verifier()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            guard.verify(signed(key=FOREIGN))


def test_each_issuer_has_its_own_keys_algorithms_and_audience() -> None:
    other = trusted(issuer="https://two.example", audience="two", algorithms=("RS256",), keys={"r": public(RSA)})
    guard = verifier(trusted(), other)
    by_rsa = {"alg": "RS256", "kid": "r"}
    assert guard.verify(signed(iss="https://two.example", aud="two", header=by_rsa, key=RSA)) == ADA
    for token in (
        signed(iss="https://two.example", aud="two"),
        signed(header=by_rsa, key=RSA),
        signed(iss="https://two.example", header=by_rsa, key=RSA),
    ):
        with pytest.raises(Unauthenticated):
            guard.verify(token)


def test_a_token_without_kid_needs_an_issuer_with_one_key() -> None:
    guard = verifier(trusted(keys={"k1": public(OWN), "k2": public(FOREIGN)}))
    assert guard.verify(signed()) == guard.verify(signed(header={"kid": "k2"}, key=FOREIGN)) == ADA
    with pytest.raises(Unauthenticated, match="key"):
        guard.verify(signed(header={"kid": None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithms": ()},
        {"algorithms": ("none",)},
        {"algorithms": ("EdDSA",)},
        {"algorithms": ("Ed2551",)},
        {"algorithms": ("RS256",)},
        {"keys": {}},
    ],
)
def test_an_issuer_that_cannot_be_trusted_stops_the_start(changes: dict[str, Any]) -> None:
    with pytest.raises(StartupFailed, match="issuer"):
        trusted(**changes)


@pytest.mark.parametrize("leeway_s", [-1, 61])
def test_the_leeway_is_at_most_a_minute(leeway_s: int) -> None:
    with pytest.raises(StartupFailed, match="leeway"):
        verifier(leeway_s=leeway_s)


@given(st.text())
def test_no_text_is_a_token(token: str) -> None:
    with pytest.raises(Unauthenticated):
        verifier().verify(token)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    name=st.sampled_from([*CLAIMS, "nbf", "session_id"]),
    value=JSON_VALUES,
)
def test_a_signed_token_with_a_strange_claim_is_refused_or_means_what_it_says(name: str, value: Any) -> None:
    token = signed({name: value})
    try:
        caller = verifier().verify(token)
    except Unauthenticated:
        return
    assert caller.tenant_id == value if name == "tenant_id" else caller.tenant_id == "acme"
    assert not caller.is_anonymous


@given(header=st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "x"]), JSON_VALUES, max_size=4))
def test_a_strange_header_is_refused(header: dict[str, Any]) -> None:
    token = with_signature_of(signed(), header, CLAIMS)
    with pytest.raises(Unauthenticated):
        verifier().verify(token)
