"""symphainy artifacts: what came out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from symphainy.cli.options import URL, AsJson, Data, Limit, Token, Url
from symphainy.cli.terminal import plain, say, show, show_facts, show_json, show_table, sized

if TYPE_CHECKING:
    from symphainy.model import Artifact, JsonObject, Page
    from symphainy.sdk import ExperienceSDK

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Artifact id (art_...).")]


@app.callback()
def artifacts() -> None:
    """Artifacts: what executions produced, with where it came from."""


@app.command("list")
def list_(
    artifact_type: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only PENDING, READY, FAILED, ARCHIVED or DELETED ones.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="ID", help="Only of this session.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="ID", help="Only made from this artifact.")] = None,
    eligible_for: Annotated[
        str | None, typer.Option("--eligible-for", metavar="INTENT", help="Only what this intent can work on.")
    ] = None,
    limit: Limit = 50,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """List artifacts, newest first.

    \b
    Example: symphainy artifacts list --type parsed_content
    """
    from symphainy.cli.connection import asked
    from symphainy.door import artifact_to_wire

    async def work(sdk: ExperienceSDK) -> Page[Artifact]:
        return await sdk.list_artifacts(
            artifact_type=artifact_type,
            lifecycle_state=state,
            session_id=session,
            parent_artifact_id=parent,
            eligible_for=eligible_for,
            limit=limit,
        )

    page = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json({"artifacts": [artifact_to_wire(each) for each in page.items], "next_cursor": page.next_cursor})
        return
    show_table(
        ["artifact", "type", "state", "status", "created", "about"],
        [
            (each.artifact_id, each.artifact_type, each.lifecycle_state, each.status, each.created_at, about(each))
            for each in page.items
        ],
    )
    if page.next_cursor is not None:
        say(f"these are the newest {limit}; --limit shows more")


@app.command("show")
def show_one(artifact_id: Id, url: Url = URL, token: Token = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show one artifact's record.

    \b
    Example: symphainy artifacts show art_4k2j...
    """
    from symphainy.cli.connection import asked
    from symphainy.door import artifact_to_wire

    async def work(sdk: ExperienceSDK) -> Artifact:
        return await sdk.resolve_artifact(artifact_id)

    artifact = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json(artifact_to_wire(artifact))
        return
    show_facts(
        [
            ("artifact", artifact.artifact_id),
            ("type", artifact.artifact_type),
            ("state", artifact.lifecycle_state),
            ("status", f"{artifact.status}, version {artifact.version}"),
            ("session", artifact.session_id),
            ("produced by", f"{artifact.produced_by.intent} {artifact.produced_by.execution_id}"),
            ("made from", ", ".join(artifact.parent_artifacts)),
            ("created", artifact.created_at),
            ("updated", artifact.updated_at),
        ]
    )
    if artifact.materializations:
        show("")
        show_table(
            ["materialization", "storage", "format", "size", "sha256"],
            [
                (each.materialization_id, each.storage_type, each.format, sized(each.size_bytes), each.sha256[:16])
                for each in artifact.materializations
            ],
        )
    for part in (artifact.semantic_descriptor, artifact.semantic_payload):
        if part:
            show("")
            show_json(part)


@app.command("open")
def open_(
    artifact_id: Id,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", show_default="standard output", help="Where to write the bytes."
        ),
    ] = None,
    materialization: Annotated[
        str | None, typer.Option("--materialization", metavar="ID", help="Which stored form; the main one by default.")
    ] = None,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
) -> None:
    """Write out the bytes of an artifact.

    \b
    Example: symphainy artifacts open art_4k2j... --output report.pdf
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> int:
        content = await sdk.open_artifact(artifact_id, materialization_id=materialization)
        if output is None:
            return await _written(content.chunks, sys.stdout.buffer, for_people=sys.stdout.isatty())
        # Nothing half-written ever stands under the name that was asked for.
        draft = output.with_name(f".{output.name}.part")
        try:
            with draft.open("wb") as file:
                count = await _written(content.chunks, file, for_people=False)
            draft.replace(output)
        finally:
            draft.unlink(missing_ok=True)
        return count

    count = asked(work, url=url, token=token, data=data, patient=True)
    if output is not None:
        say(f"{sized(count)} written to {plain(output)}")


@app.command()
def lineage(
    artifact_id: Id,
    direction: Annotated[str, typer.Option("--direction", help="up to what it was made from, down, or both.")] = "both",
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what an artifact was made from, and what was made from it.

    \b
    Example: symphainy artifacts lineage art_4k2j... --direction down
    """
    from symphainy.cli.connection import asked

    async def work(sdk: ExperienceSDK) -> JsonObject:
        return await sdk.artifact_lineage(artifact_id, direction=direction)

    found = asked(work, url=url, token=token, data=data)
    if as_json:
        show_json(found)
    else:
        show("\n".join(lineage_lines(found, marked=artifact_id)))


async def _written(chunks: Any, file: Any, *, for_people: bool) -> int:
    """How many bytes. A terminal gets text that cannot drive it."""
    count = 0
    async for chunk in chunks:
        count += len(chunk)
        if for_people:
            show(chunk.decode("utf-8", "replace"))
        else:
            file.write(chunk)
    file.flush()
    return count


def about(artifact: Artifact) -> str:
    """A name for people: the file's, where the descriptor has one."""
    descriptor = artifact.semantic_descriptor
    names = (descriptor.get(key) for key in ("ui_name", "filename", "title", "name"))
    return next((str(name) for name in names if name), "")


def lineage_lines(found: JsonObject, *, marked: str | None = None) -> list[str]:
    """A tree from the oldest artifacts down. What stands under several parents is unfolded under the first."""
    nodes = {node["artifact_id"]: node for node in found["nodes"]}
    children: dict[str, list[str]] = {}
    for edge in found["edges"]:
        children.setdefault(edge["parent"], []).append(edge["child"])
    below = {edge["child"] for edge in found["edges"]}
    lines: list[str] = []
    unfolded: set[str] = set()
    # Without recursion: lineage may be as deep as it likes. Each entry is an id, what stands before it, and what stands
    # before its children.
    waiting = [(id_, "", "") for id_ in reversed(nodes) if id_ not in below]
    while waiting:
        id_, lead, indent = waiting.pop()
        node = nodes.get(id_, {})
        mark = "  <--" if id_ == marked else ""
        own = children.get(id_, []) if id_ not in unfolded else []
        if id_ in unfolded and children.get(id_):
            mark += "  (see above)"
        unfolded.add(id_)
        lines.append(f"{lead}{node.get('artifact_type', '?')}  {id_}  {node.get('lifecycle_state', '?')}{mark}")
        for place, child in reversed(list(enumerate(own))):
            is_last = place == len(own) - 1
            waiting.append((child, indent + ("└─ " if is_last else "├─ "), indent + ("   " if is_last else "│  ")))
    return lines
