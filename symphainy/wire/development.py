"""Parameters that only the development profile's own machine may send, such as the path of a local file.

An intent marks such a parameter in its schema: `"x-development-only": true`. Everywhere else it is refused at the edge.
"""

from __future__ import annotations

import asyncio

from symphainy.door import Door
from symphainy.errors import FieldError, Invalid
from symphainy.model import IntentInfo, JsonObject

MARK = "x-development-only"
#: A catalogue changes only when the Runtime starts anew.
CATALOGUE_S = 60.0


class DevelopmentOnly:
    """Refuses marked parameters. The catalogue is asked for once, and again after a while."""

    def __init__(self) -> None:
        self._marked: dict[str, frozenset[str]] = {}
        self._until = 0.0

    async def refuse(self, door: Door, intent_type: str, parameters: JsonObject | None, *, at: str) -> None:
        """`at` is a JSON pointer to `parameters`. Raises `Invalid` for the first marked one."""
        if parameters:
            marked = await self._marks(door)
            _refuse(marked.get(intent_type, frozenset()), parameters, at)

    async def refuse_any(self, door: Door, parameters: JsonObject | None, *, at: str) -> None:
        """The same where the intent is for the platform to say: whatever is marked anywhere is refused."""
        if parameters:
            marked = await self._marks(door)
            _refuse(frozenset().union(*marked.values()), parameters, at)

    async def _marks(self, door: Door) -> dict[str, frozenset[str]]:
        now = asyncio.get_running_loop().time()
        if now >= self._until:
            self._marked = _marked_in(await door.list_intents())
            self._until = now + CATALOGUE_S
        return self._marked


def _refuse(marked: frozenset[str], parameters: JsonObject, at: str) -> None:
    for name in sorted(marked & parameters.keys()):
        detail = "only a Runtime in the development profile takes this, on its own machine; upload the content instead"
        raise Invalid(f"{name} is not accepted here: {detail}", errors=[FieldError(f"{at}/{name}", detail)])


def _marked_in(catalogue: tuple[IntentInfo, ...]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for info in catalogue:
        properties = info.parameters_schema.get("properties", {})
        marked = frozenset(name for name, schema in properties.items() if schema.get(MARK) is True)
        if marked:
            found |= dict.fromkeys((info.intent_type, *info.aliases), marked)
    return found
