"""A session of one caller, and the ways from a file to what can be found in it."""

import base64
from dataclasses import dataclass
from typing import Any

from symphainy.boot.phases import Platform
from symphainy.capabilities.content import ContentCapability
from symphainy.capabilities.insights import InsightsCapability
from symphainy.capability import Capability
from symphainy.errors import SymphainyError
from symphainy.model import Artifact, Caller, Event, JsonObject, Saga
from symphainy.sdk import ExperienceSDK
from symphainy.testing.platform import caller

CAPABILITIES: tuple[type[Capability], ...] = (ContentCapability, InsightsCapability)


@dataclass(frozen=True, kw_only=True)
class Desk:
    platform: Platform
    sdk: ExperienceSDK
    session_id: str
    tenant_id: str

    async def run(self, intent_type: str, /, **parameters: Any) -> JsonObject:
        """The result of the intent."""
        execution = await self.sdk.run(intent_type, parameters, session_id=self.session_id)
        result: JsonObject = execution.result
        return result

    async def refused(self, intent_type: str, /, **parameters: Any) -> SymphainyError:
        """What the intent failed with."""
        try:
            result = await self.run(intent_type, **parameters)
        except SymphainyError as error:
            return error
        raise AssertionError(f"{intent_type} was not refused: {result}")

    async def ingest(self, data: bytes, filename: str = "notes.txt", **parameters: Any) -> JsonObject:
        content = base64.b64encode(data).decode()
        return await self.run(
            "ingest_file", ui_name=filename[:255], filename=filename, content_ref_or_base64=content, **parameters
        )

    async def keep(self, data: bytes, filename: str = "notes.txt", **parameters: Any) -> str:
        """The id of a file that is READY."""
        file = await self.ingest(data, filename)
        saved = await self.run(
            "save_materialization",
            file_id=file["file_id"],
            boundary_contract_id=file["boundary_contract_id"],
            **parameters,
        )
        return str(saved["file_id"])

    async def parse(self, data: bytes, filename: str = "notes.txt", **parameters: Any) -> JsonObject:
        return await self.run("parse_content", file_id=await self.keep(data, filename), **parameters)

    async def embed(self, parsed_file_id: str) -> JsonObject:
        fingerprints = await self.run("create_deterministic_embeddings", parsed_file_id=parsed_file_id)
        return await self.run(
            "extract_embeddings",
            parsed_file_id=parsed_file_id,
            deterministic_embedding_id=fingerprints["deterministic_embedding_id"],
        )

    async def found(self, query: str, **parameters: Any) -> list[str]:
        """The texts that answer."""
        answer = await self.run("query_data", query=query, **parameters)
        return [passage["text"] for passage in answer["passages"]]

    async def artifact(self, artifact_id: str) -> Artifact:
        return await self.sdk.resolve_artifact(artifact_id)

    async def content(self, artifact_id: str) -> bytes:
        opened = await self.sdk.open_artifact(artifact_id)
        return b"".join([piece async for piece in opened.chunks])

    async def follow(self, execution_id: str) -> list[Event]:
        return [event async for event in self.sdk.subscribe(execution_id)]

    async def saga(self, data: bytes, filename: str) -> tuple[list[str], Saga]:
        """`ingest_to_search` to its end: the events of it that were seen, and its record."""
        content = base64.b64encode(data).decode()
        submitted = await self.sdk.invoke_intent(
            "ingest_file",
            {"ui_name": filename, "filename": filename, "content_ref_or_base64": content},
            session_id=self.session_id,
            metadata={"saga": "ingest_to_search"},
        )
        told: list[str] = []
        execution_id: str | None = submitted.execution_id
        saga_id = ""
        while execution_id is not None:
            following = None
            for event in await self.follow(execution_id):
                if event.event_type.startswith("saga_"):
                    saga_id = event.payload["saga_id"]
                    told.append(f"{event.event_type} {event.payload.get('step', '')}".strip())
                    following = event.payload.get("next") or following
            execution_id = None if following is None else following["execution_id"]
        found = await self.platform.infrastructure.store.tenant(self.tenant_id).saga(saga_id)
        assert found is not None
        return told, found


async def desk(platform: Platform, who: Caller | None = None) -> Desk:
    who = who or caller()
    sdk = platform.sdk_for(who)
    session = await sdk.create_session()
    return Desk(platform=platform, sdk=sdk, session_id=session.session_id, tenant_id=who.tenant_id)
