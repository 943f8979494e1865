"""From a file to what can be found in it, as one run of governed intents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from symphainy.capability import SagaDeclaration, Submission
from symphainy.model import JsonObject

Mapping = Callable[[JsonObject, JsonObject], JsonObject]
"""`(parameters of the first submission, results by step)` to the parameters of a step."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """`SagaStep`: a step called as its intent."""

    intent_type: str
    parameters: Mapping
    required: bool = True
    undo: Callable[[JsonObject], Submission | None] = lambda results: None

    @property
    def name(self) -> str:
        return self.intent_type

    def execute(self, context: JsonObject) -> Submission:
        return Submission(
            intent_type=self.intent_type, parameters=self.parameters(context["parameters"], context["results"])
        )

    def compensate(self, context: JsonObject) -> Submission | None:
        return self.undo(context["results"])


def _keep(parameters: JsonObject, results: JsonObject) -> JsonObject:
    options = parameters.get("ingestion_options") or {}
    asked = {name: options.get(name) for name in ("parse_profile", "materialization_type", "ttl_days")}
    found = results["ingest_file"]
    return {
        "file_id": found["file_id"],
        "boundary_contract_id": found["boundary_contract_id"],
        **{name: value for name, value in asked.items() if value is not None},
    }


def _archive_file(results: JsonObject) -> Submission | None:
    # A file that was here before this run is not this run's to put away.
    if results["ingest_file"]["duplicate_of"] is not None:
        return None
    return Submission(
        intent_type="archive_file",
        parameters={"artifact_id": results["ingest_file"]["file_id"], "reason": "its saga could not be completed"},
    )


INGEST_TO_SEARCH = SagaDeclaration(
    name="ingest_to_search",
    steps=(
        Step(intent_type="ingest_file", parameters=lambda parameters, results: parameters),
        Step(intent_type="save_materialization", parameters=_keep, undo=_archive_file),
        Step(
            intent_type="parse_content",
            parameters=lambda parameters, results: {"file_id": results["ingest_file"]["file_id"]},
        ),
        Step(
            intent_type="create_deterministic_embeddings",
            parameters=lambda parameters, results: {"parsed_file_id": results["parse_content"]["parsed_file_id"]},
        ),
        Step(
            intent_type="extract_embeddings",
            parameters=lambda parameters, results: {
                "parsed_file_id": results["parse_content"]["parsed_file_id"],
                "deterministic_embedding_id": results["create_deterministic_embeddings"]["deterministic_embedding_id"],
            },
            required=False,
        ),
    ),
)
