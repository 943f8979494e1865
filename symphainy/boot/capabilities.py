"""Which capabilities a platform has: the built-in ones, those of installed distributions, and those named in a setting.

One that cannot be found, made or started fails the boot, by its name and with what it said.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from symphainy.capability import Capability, StateSurface
from symphainy.errors import StartupFailed
from symphainy.ports import Offload, PublicWorks
from symphainy.runtime.attempt import attempt

ENTRY_POINTS = "symphainy.capabilities"
BUILT_IN = ("symphainy.capabilities.content:ContentCapability", "symphainy.capabilities.insights:InsightsCapability")

T = TypeVar("T")


async def discover(*, named: Iterable[str], offload: Offload) -> tuple[type[Capability], ...]:
    """The classes, built-in ones first, each once. Raises `StartupFailed` naming the one that cannot be imported.

    `named` and entry points read `module:Class`.
    """
    installed = sorted(await offload.thread(_installed), key=lambda each: each.name)
    wanted = dict.fromkeys([*BUILT_IN, *(each.value for each in installed), *named])
    from_distributions = {each.value: f"the entry point {each.name!r} ({ENTRY_POINTS})" for each in installed}
    return tuple(
        [await _import(spec, from_distributions.get(spec, f"the capability {spec}"), offload) for spec in wanted]
    )


def _installed() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINTS))


async def _import(spec: str, what: str, offload: Offload) -> type[Capability]:
    # Importing somebody's module runs whatever stands in it, so whatever it raises is taken for an answer.
    found = await _expect(
        offload.thread(_load, spec),
        what=f"{what} cannot be imported",
        service=spec,
        remedy="Install or correct the module it stands in, or remove it",
    )
    if not (isinstance(found, type) and issubclass(found, Capability)):
        raise StartupFailed(
            f"{what} is {found!r}, not a subclass of symphainy.capability.Capability",
            service=spec,
            remedy="Name the class, as module:Class",
        )
    return found


def _load(spec: str) -> object:
    module, _, name = spec.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


async def make(
    kind: type[Capability], *, public_works: PublicWorks, state_surface: StateSurface | None = None
) -> Capability:
    """Raises `StartupFailed` with what its constructor said."""
    return await _expect(
        _construct(kind, public_works, state_surface),
        what=f"the capability {kind.__qualname__} cannot be made",
        service=kind.__qualname__,
        remedy="Correct its constructor",
    )


async def _construct(
    kind: type[Capability], public_works: PublicWorks, state_surface: StateSurface | None
) -> Capability:
    return kind(public_works=public_works, state_surface=state_surface)


async def start(capability: Capability, *, timeout_s: float) -> None:
    """Raises `StartupFailed` with what it said, or when it takes longer than `timeout_s`."""
    await _expect(
        capability.start(),
        what=f"the capability {capability.name!r} did not start",
        service=capability.name,
        remedy="Correct what it says, or remove the capability",
        timeout_s=timeout_s,
    )


async def _expect(work: Awaitable[T], *, what: str, service: str, remedy: str, timeout_s: float | None = None) -> T:
    outcome = await attempt(work, timeout_s=timeout_s, what=service)
    if isinstance(outcome.error, StartupFailed):
        raise outcome.error
    if outcome.error is not None:
        said = f"{type(outcome.error).__name__}: {outcome.error}"
        raise StartupFailed(f"{what}: {said}", service=service, remedy=remedy) from outcome.error
    # `attempt` answers with a value or an error; None is a value here too.
    return outcome.value  # type: ignore[return-value]
