"""The development issuer: real tokens, a key that stays private, and nothing of it in production."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from symphainy.errors import Invalid, StartupFailed, Unauthenticated
from symphainy.identity import DevelopmentIssuer, TokenVerifier
from symphainy.model import Caller, Role, Session, SessionState, tenant_id_problem
from symphainy.model.instant import instant
from symphainy.testing.clock import VirtualClock
from symphainy.testing.ids import SeededIds


def issuer(folder: Path, *, seed: int = 0, clock: VirtualClock | None = None) -> DevelopmentIssuer:
    return DevelopmentIssuer(folder, profile="development", clock=clock or VirtualClock(), ids=SeededIds(seed))


def verifier(made: DevelopmentIssuer, clock: VirtualClock | None = None) -> TokenVerifier:
    return TokenVerifier([made.trusted()], clock=clock or VirtualClock())


def anonymous_session(tenant_id: str, *, lives_s: int = 3600, **changes: Any) -> Session:
    now_ms = VirtualClock().now_ms()
    facts: dict[str, Any] = {
        "session_id": "ses_1",
        "tenant_id": tenant_id,
        "user_id": "usr_1",
        "solution_id": "default",
        "is_anonymous": True,
        "lifecycle_state": SessionState.ACTIVE,
        "context": {},
        "metadata": {},
        "created_at": instant(now_ms),
        "updated_at": instant(now_ms),
        "expires_at": instant(now_ms + lives_s * 1000),
    }
    return Session(**{**facts, **changes})


def test_a_minted_token_is_accepted_as_whom_it_names(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    issued = made.mint("acme", "ada", [Role.OPERATOR, Role.VIEWER], ttl_s=60)
    assert (issued.expires_in, issued.expires_at) == (60, instant(VirtualClock().now_ms() + 60_000))
    assert verifier(made).verify(issued.access_token) == Caller(
        tenant_id="acme", user_id="ada", roles=frozenset({Role.OPERATOR, Role.VIEWER})
    )


def test_without_roles_a_token_is_a_members(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    caller = verifier(made).verify(made.mint("acme", "ada").access_token)
    assert caller.roles == {Role.MEMBER}


async def test_a_minted_token_ends(tmp_path: Path) -> None:
    clock = VirtualClock()
    made = issuer(tmp_path, clock=clock)
    token = made.mint("acme", "ada", ttl_s=60).access_token
    await clock.advance(60 + 30)
    with pytest.raises(Unauthenticated, match="expired"):
        verifier(made, clock).verify(token)


def test_an_anonymous_token_opens_one_session_of_a_tenant_of_its_own(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    newcomer = made.newcomer()
    assert newcomer.is_anonymous
    assert newcomer.session_id is None
    assert tenant_id_problem(newcomer.tenant_id) is None
    session = anonymous_session(newcomer.tenant_id)
    issued = made.mint_anonymous(session)
    assert issued.expires_in == 3600
    assert verifier(made).verify(issued.access_token) == Caller(
        tenant_id=newcomer.tenant_id, user_id="usr_1", roles=frozenset({Role.ANONYMOUS}), session_id="ses_1"
    )


def test_no_two_newcomers_share_a_tenant(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    assert len({made.newcomer().tenant_id for _ in range(100)}) == 100


def test_an_anonymous_token_lives_no_longer_than_a_day(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    issued = made.mint_anonymous(anonymous_session("anon-1", lives_s=30 * 24 * 3600))
    assert issued.expires_in == 24 * 3600


@pytest.mark.parametrize(
    "session",
    [
        anonymous_session("anon-1", is_anonymous=False),
        anonymous_session("acme"),
        anonymous_session("anon-1", lives_s=0),
    ],
    ids=["a user's", "a tenant's", "an ended one"],
)
def test_only_a_living_anonymous_session_gets_an_anonymous_token(tmp_path: Path, session: Session) -> None:
    with pytest.raises(Invalid):
        issuer(tmp_path).mint_anonymous(session)


@pytest.mark.parametrize(
    ("tenant_id", "user_id", "roles", "ttl_s"),
    [
        ("Acme", "ada", [Role.MEMBER], 60),
        ("a:b", "ada", [Role.MEMBER], 60),
        ("anon-1", "ada", [Role.MEMBER], 60),
        ("acme", "", [Role.MEMBER], 60),
        ("acme", "ada", [], 60),
        ("acme", "ada", [Role.ANONYMOUS], 60),
        ("acme", "ada", [Role.MEMBER], 0),
        ("acme", "ada", [Role.MEMBER], 366 * 24 * 3600),
    ],
)
def test_what_no_verifier_would_accept_is_not_minted(
    tmp_path: Path, tenant_id: str, user_id: str, roles: list[Role], ttl_s: int
) -> None:
    with pytest.raises(Invalid):
        issuer(tmp_path).mint(tenant_id, user_id, roles, ttl_s=ttl_s)


def test_the_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "keys"
    first = issuer(folder, seed=1)
    key = folder / "development.jwk"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["development.jwk"]
    second = issuer(folder, seed=2)
    assert key.read_bytes() == before
    assert verifier(second).verify(first.mint("acme", "ada").access_token).user_id == "ada"


def test_tokens_of_another_installation_are_worth_nothing(tmp_path: Path) -> None:
    ours, theirs = issuer(tmp_path / "a", seed=1), issuer(tmp_path / "b", seed=2)
    with pytest.raises(Unauthenticated):
        verifier(ours).verify(theirs.mint("acme", "ada").access_token)


def test_the_private_half_of_the_key_is_in_no_token_and_not_what_is_handed_on(tmp_path: Path) -> None:
    made = issuer(tmp_path)
    secret = json.loads((tmp_path / "development.jwk").read_bytes())["d"]
    header = made.mint("acme", "ada").access_token.split(".")[0]
    assert set(json.loads(base64.urlsafe_b64decode(header + "=="))) == {"alg", "typ", "kid"}
    for key in made.trusted().keys.values():
        assert not key.is_private
        assert secret not in json.dumps(key.as_dict())


def test_a_key_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    issuer(tmp_path)
    (tmp_path / "development.jwk").chmod(0o640)
    with pytest.raises(StartupFailed, match="chmod 600"):
        issuer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"kty":"oct","k":"AAAA"}', b'{"kty":"OKP"}'])
def test_a_broken_key_stops_the_start_and_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "development.jwk"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(StartupFailed, match="Delete it"):
        issuer(tmp_path)


def test_a_folder_that_cannot_be_had_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file, not a folder")
    with pytest.raises(StartupFailed, match="--data"):
        issuer(tmp_path / "keys")


@pytest.mark.parametrize("profile", ["production", "", "Development"])
def test_there_is_no_development_issuer_outside_of_development(tmp_path: Path, profile: str) -> None:
    with pytest.raises(StartupFailed, match="development issuer"):
        DevelopmentIssuer(tmp_path / "keys", profile=profile, clock=VirtualClock(), ids=SeededIds())
    assert not (tmp_path / "keys").exists()
