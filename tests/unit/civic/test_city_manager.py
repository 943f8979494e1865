"""The City Manager opens the gates once, in order, and lets nothing new in while it drains."""

import itertools

import pytest

from symphainy.civic.city_manager import (
    CityState,
    Phase,
    may_admit,
    may_enter_phase,
    may_move,
)
from symphainy.model import Decision


def test_only_these_moves_are_lawful() -> None:
    lawful = {(one, other) for one, other in itertools.product(CityState, CityState) if may_move(one, other).allowed}
    assert lawful == {
        (CityState.BOOTING, CityState.OPEN),
        (CityState.BOOTING, CityState.SHUT),
        (CityState.OPEN, CityState.DRAINING),
        (CityState.OPEN, CityState.SHUT),
        (CityState.DRAINING, CityState.SHUT),
    }


def test_what_is_shut_stays_shut() -> None:
    assert may_move(CityState.SHUT, CityState.OPEN) == Decision(
        policy="city_manager.lifecycle", allowed=False, reason="shut may become nothing, not open"
    )


def test_an_open_platform_admits() -> None:
    assert may_admit(CityState.OPEN).allowed


@pytest.mark.parametrize("state", [CityState.BOOTING, CityState.DRAINING, CityState.SHUT])
def test_any_other_refuses_and_says_when_to_come_back(state: CityState) -> None:
    decision = may_admit(state)
    assert (decision.policy, decision.allowed) == ("city_manager.admission", False)
    assert decision.retry_after_s is not None
    assert decision.retry_after_s > 0


def test_a_draining_platform_says_so() -> None:
    assert may_admit(CityState.DRAINING) == Decision(
        policy="city_manager.admission",
        allowed=False,
        reason="the platform is draining: it finishes what runs and takes nothing new",
        remedy="Try again when it is back",
        retry_after_s=5.0,
    )


def test_the_phases_come_in_their_order_each_once() -> None:
    done: list[Phase] = []
    for due in Phase:
        assert [phase for phase in Phase if may_enter_phase(phase, done=done).allowed] == [due]
        done.append(due)
    assert [phase for phase in Phase if may_enter_phase(phase, done=done).allowed] == []


def test_a_phase_before_its_turn_is_refused_with_the_one_that_is_due() -> None:
    assert may_enter_phase(Phase.EXPERIENCE, done=[Phase.INFRASTRUCTURE]) == Decision(
        policy="city_manager.phases",
        allowed=False,
        reason="Φ4 experience is not due: Φ2 configuration is due",
    )


def test_no_phase_follows_others_that_came_out_of_order() -> None:
    assert not may_enter_phase(Phase.RUNTIME, done=[Phase.CONFIGURATION, Phase.INFRASTRUCTURE]).allowed
