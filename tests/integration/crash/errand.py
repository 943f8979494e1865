"""A capability whose handler does everything that becomes durable, so that a crash can be put between any two of them.

The sagas: `errands` runs to its end, `errands_undone` fails at its second step and is undone.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from symphainy.capability import (
    Capability,
    ExecutionContext,
    IntentResult,
    RetryPolicy,
    SagaDeclaration,
    Submission,
    intent,
)
from symphainy.errors import IntentRefused
from symphainy.model import Artifact, JsonObject

#: More than a step's result may be to stay in the log: it moves to a blob.
BULKY = 100_000


class Errand(BaseModel):
    word: str


class Undo(BaseModel):
    report_id: str


@dataclass(frozen=True)
class _Step:
    """One step of a saga: what it submits is made from the parameters of the first."""

    name: str
    intent_type: str
    undone_by: str | None = None
    required: bool = True

    def execute(self, context: JsonObject) -> Submission:
        return Submission(intent_type=self.intent_type, parameters=context["parameters"])

    def compensate(self, context: JsonObject) -> Submission | None:
        if self.undone_by is None:
            return None
        return Submission(
            intent_type=self.undone_by, parameters={"report_id": context["results"][self.name]["report_id"]}
        )


class Errands(Capability):
    name = "errands"
    folder: ClassVar[Path]
    """Where it remembers, outside of the platform, whom it has told to come again."""

    sagas = (
        SagaDeclaration(name="errands", steps=(_Step("run", "run_errand"), _Step("tell", "tell_errand"))),
        SagaDeclaration(
            name="errands_undone",
            steps=(_Step("run", "run_errand", undone_by="undo_errand"), _Step("refuse", "refuse_errand")),
        ),
    )

    @intent("run_errand", events=("errand_half_way", "errand_run"), artifacts=("errand_report",))
    async def run_errand(self, ctx: ExecutionContext, params: Errand) -> IntentResult:
        """Steps of every kind, and writes inside and outside of them."""
        letters = await ctx.step("count", len, params.word)
        bulky = await ctx.step("bytes", lambda: params.word.encode() * (BULKY // letters))
        await ctx.progress(0.5, "half")
        await ctx.emit("errand_half_way", {"bytes": len(bulky)})
        report = await ctx.step("report", self._report, ctx, params.word)
        tried = await ctx.step(
            "try", self._try, ctx.execution_id, retry=RetryPolicy(attempts_max=3, first_delay_s=0.01, jitter=0)
        )
        left, right = await asyncio.gather(ctx.step("side", _upper, params.word), ctx.step("side", _upper, tried))
        kept = await ctx.state_surface.register_artifact(artifact_type="errand_report", semantic_payload={"of": left})
        await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, {"last_errand": params.word})
        return IntentResult(
            result={"letters": letters, "report_id": report["id"], "sides": [left, right]},
            artifacts={"kept": kept},
            events=[("errand_run", {"word": params.word})],
        )

    async def _report(self, ctx: ExecutionContext, word: str) -> JsonObject:
        material = await ctx.blobs.put(word.encode(), format="text")
        report: Artifact = await ctx.state_surface.register_artifact(
            artifact_type="errand_report", semantic_payload={"word": word}, materializations=[material]
        )
        await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, {"reported": word})
        return {"id": report.artifact_id}

    def _try(self, execution_id: str) -> str:
        said = self.folder / execution_id
        if not said.exists():
            said.touch()
            raise IntentRefused("not_yet", "come again", retryable=True)
        return "tried"

    @intent("tell_errand")
    async def tell_errand(self, ctx: ExecutionContext, params: Errand) -> IntentResult:
        """Read what the errand before it has left."""
        state = await ctx.state_surface.get_session_state(ctx.session_id, ctx.tenant_id)
        return IntentResult(result={"told": await ctx.step("tell", _upper, state["last_errand"])})

    @intent("refuse_errand")
    async def refuse_errand(self, ctx: ExecutionContext, params: Errand) -> IntentResult:
        """Do something, then say no."""
        await ctx.step("look", _upper, params.word)
        raise IntentRefused("no_such_place", f"there is no place called {params.word}")

    @intent("undo_errand")
    async def undo_errand(self, ctx: ExecutionContext, params: Undo) -> IntentResult:
        """Archive the report."""
        await ctx.step("archive", self._archive, ctx, params.report_id)
        return IntentResult(result={"undone": params.report_id})

    async def _archive(self, ctx: ExecutionContext, report_id: str) -> JsonObject:
        archived = await ctx.state_surface.transition_artifact(report_id, "ARCHIVED", "the errand was undone")
        return {"lifecycle_state": archived.lifecycle_state}


async def _upper(word: str) -> str:
    return word.upper()
