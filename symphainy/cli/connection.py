"""A client command's way to the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from symphainy.cli.credentials import token_for
from symphainy.cli.terminal import say

if TYPE_CHECKING:
    from symphainy.sdk import ExperienceSDK

T = TypeVar("T")

#: How long work that is under way waits for a platform that went away.
PATIENCE_S = 120.0
#: A wait of so long is worth a word, and so often.
TOLD_S_MIN = 1.0
TOLD_EACH_S = 5.0


def asked(
    work: Callable[[ExperienceSDK], Awaitable[T]],
    *,
    url: str,
    token: str | None,
    data: Path | None = None,
    tenant_id: str | None = None,
    patient: bool = False,
) -> T:
    """What `work` returns, on an event loop of its own. `patient` work outlives a restart of the platform."""
    from symphainy.errors import Invalid
    from symphainy.sdk import ExperienceSDK, Retry

    quick, patience = Retry(attempts_max=4), Retry(attempts_max=30, total_s_max=PATIENCE_S, sleep=_Waiting())

    async def main() -> T:
        async with ExperienceSDK.connect(url, token=bearer, tenant_id=tenant_id, retry=quick) as sdk:
            if not patient:
                return await work(sdk)
            # Nobody there is told at once; somebody who goes away in the middle is waited for.
            await sdk.health()
        async with ExperienceSDK.connect(url, token=bearer, tenant_id=tenant_id, retry=patience) as sdk:
            return await work(sdk)

    try:
        ExperienceSDK.connect(url)
    except Invalid as error:
        raise typer.BadParameter(str(error), param_hint="--url") from None
    bearer = token_for(url, token, data=data, tenant_id=tenant_id)
    return asyncio.run(main())


class _Waiting:
    """Waits, and says so when it takes long."""

    def __init__(self) -> None:
        self._told_s = 0.0

    async def __call__(self, seconds: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if seconds >= TOLD_S_MIN and now_s >= self._told_s + TOLD_EACH_S:
            self._told_s = now_s
            say("the platform does not answer; trying again")
        await asyncio.sleep(seconds)
