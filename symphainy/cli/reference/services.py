"""What the pages are written from: the capabilities a platform would offer, and the documents its services would show.

Nothing is opened and nothing runs: a page must be the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, NoReturn, cast

from symphainy.boot.capabilities import ENTRY_POINTS, discover, make
from symphainy.capability import Capability
from symphainy.experience import ExperienceService
from symphainy.ports import PublicWorks
from symphainy.public_works.offload import LocalOffload
from symphainy.runtime import IntentRegistry
from symphainy.runtime.service import RuntimeService


class _Unopened:
    """The outside world of a capability that is only asked what it declares."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a declaration needs no {name}")


async def offered(named: Sequence[str], *, built_in_only: bool) -> tuple[Capability, ...]:
    """Built-in ones first, then installed ones, then those `named`. Raises `StartupFailed` where boot would."""
    offload = LocalOffload()
    try:
        kinds = await discover(named=named, offload=offload)
    finally:
        await offload.close()
    if built_in_only:
        installed = [each.load() for each in entry_points(group=ENTRY_POINTS) if each.value not in named]
        kinds = tuple(kind for kind in kinds if kind not in installed)
    works = cast("PublicWorks", _Unopened())
    found = tuple([await make(kind, public_works=works) for kind in kinds])
    registry = IntentRegistry()
    for capability in found:
        registry.register_capability(capability)
    return found


def documents() -> dict[str, dict[str, Any]]:
    """The OpenAPI documents of both services in the development profile."""
    runtime = RuntimeService(
        door_for=_nobody, health=_nobody, verify=_nobody, development=True, metrics=_nobody, anonymous=_nobody
    )
    experience = ExperienceService(door_for=_nobody, health=_nobody, verify=_nobody, anonymous=_nobody)
    return {"runtime": runtime.create_app().openapi(), "experience": experience.create_app().openapi()}


def _nobody(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("nobody calls a service that only shows its document")
