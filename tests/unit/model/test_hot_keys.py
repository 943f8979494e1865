"""The keys of the hot state."""

import pytest

from symphainy.errors import Invalid
from symphainy.model.hot_keys import EXECUTION_TTL_S, SESSION_TTL_S, execution_key, session_key


def test_a_key_names_kind_tenant_and_id() -> None:
    assert execution_key("acme", "exe_1") == "execution:acme:exe_1"
    assert session_key("acme", "ses_1") == "session:acme:ses_1"


def test_an_execution_is_kept_for_an_hour_and_a_session_for_a_day() -> None:
    assert (EXECUTION_TTL_S, SESSION_TTL_S) == (3600, 86_400)


@pytest.mark.parametrize(("tenant_id", "own_id"), [("a:b", "x"), ("a", "b:x"), ("", "x"), ("a", "")])
def test_no_part_can_reach_into_another_tenant(tenant_id: str, own_id: str) -> None:
    for key in (execution_key, session_key):
        with pytest.raises(Invalid):
            key(tenant_id, own_id)
