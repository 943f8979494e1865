"""City Manager: open, draining, or shut?

may_move(state, to)                 which state may follow which
may_admit(state)                    new work; a refusal carries `retry_after_s` and means `Overloaded`
may_enter_phase(phase, done=...)    the phases of boot come in their order, each once
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from symphainy.model import Decision, allow, refuse

LIFECYCLE = "city_manager.lifecycle"
ADMISSION = "city_manager.admission"
PHASES = "city_manager.phases"

#: How long a client does well to wait, in seconds.
BOOT_WAIT_S = 1.0
DRAIN_WAIT_S = 5.0


class CityState(StrEnum):
    BOOTING = "booting"
    OPEN = "open"
    DRAINING = "draining"
    SHUT = "shut"


MOVES: dict[CityState, frozenset[CityState]] = {
    CityState.BOOTING: frozenset({CityState.OPEN, CityState.SHUT}),
    CityState.OPEN: frozenset({CityState.DRAINING, CityState.SHUT}),
    CityState.DRAINING: frozenset({CityState.SHUT}),
    CityState.SHUT: frozenset(),
}


class Phase(StrEnum):
    """The phases of boot, in order."""

    INFRASTRUCTURE = "infrastructure"
    CONFIGURATION = "configuration"
    RUNTIME = "runtime"
    EXPERIENCE = "experience"

    @property
    def sign(self) -> str:
        """`Φ1` to `Φ4`."""
        return f"Φ{list(Phase).index(self) + 1}"


def may_move(state: CityState, to: CityState) -> Decision:
    if to in MOVES[state]:
        return allow(LIFECYCLE, f"{state} may become {to}")
    after = ", ".join(sorted(MOVES[state])) or "nothing"
    return refuse(LIFECYCLE, f"{state} may become {after}, not {to}")


def may_admit(state: CityState) -> Decision:
    match state:
        case CityState.OPEN:
            return allow(ADMISSION, "the platform is open")
        case CityState.BOOTING:
            return refuse(ADMISSION, "the platform is still booting", remedy="Try again", retry_after_s=BOOT_WAIT_S)
        case CityState.DRAINING:
            return refuse(
                ADMISSION,
                "the platform is draining: it finishes what runs and takes nothing new",
                remedy="Try again when it is back",
                retry_after_s=DRAIN_WAIT_S,
            )
        case CityState.SHUT:
            return refuse(ADMISSION, "the platform is shut", remedy="Start it again", retry_after_s=DRAIN_WAIT_S)


def may_enter_phase(phase: Phase, *, done: Sequence[Phase]) -> Decision:
    """`done`: the phases that have ended, in the order they did."""
    due = list(Phase)[len(done)] if len(done) < len(Phase) else None
    if phase is due and list(done) == list(Phase)[: len(done)]:
        return allow(PHASES, f"{phase.sign} {phase} is due")
    due_text = f"{due.sign} {due} is due" if due else "all phases are done"
    return refuse(PHASES, f"{phase.sign} {phase} is not due: {due_text}")
