"""symphainy search: passages that answer a question."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from symphainy.cli.options import URL, AsJson, Data, Session, Token, Url
from symphainy.cli.terminal import plain, say, show, show_json

if TYPE_CHECKING:
    from symphainy.model import Execution, JsonObject
    from symphainy.sdk import ExperienceSDK

ASKS = "query_data"
WIDTH = 100


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A question, or words to look for.")],
    top: Annotated[int, typer.Option("--top", min=1, max=100, help="Passages at most.")] = 5,
    within: Annotated[
        list[str] | None, typer.Option("--in", metavar="ID", help="Only in this parsed file (art_...).")
    ] = None,
    session: Session = None,
    url: Url = URL,
    token: Token = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Find passages that answer a question.

    Each comes with its score and its place in the source: file, page or row, and characters from and to.

    \b
    Example: symphainy search "what was agreed on delivery?"
    """
    from symphainy.cli.connection import asked

    parameters: dict[str, Any] = {"query": text, "top_k": top}
    if within:
        parameters["parsed_file_ids"] = within

    async def work(sdk: ExperienceSDK) -> Execution:
        session_id = session or (await sdk.create_session(context={"surface": "cli"})).session_id
        return await sdk.run(ASKS, parameters, session_id=session_id)

    result = asked(work, url=url, token=token, data=data).result
    if as_json:
        show_json(result)
        return
    for number, passage in enumerate(result["passages"], 1):
        show(f"{number}. {passage['score']:.4f}  {plain(passage['filename'])}, {_place(passage['position'])}")
        show(textwrap.indent(textwrap.fill(plain(passage["text"]), WIDTH), "   "))
        show("")
    _tell(result)


def _place(position: JsonObject) -> str:
    """`page 3, characters 120 to 480`: in the words of whoever looks for it in the source."""
    told = []
    for name in ("page", "row", "line"):
        first, last = position.get(name), position.get(f"{name}_end")
        if first is None and last is not None:
            told.append(f"{name}s up to {last}")
        elif first is not None:
            told.append(f"{name} {first}" if last in (None, first) else f"{name}s {first} to {last}")
    if section := position.get("section"):
        told.append(plain(" > ".join(section) if isinstance(section, list) else section))
    if pointer := position.get("pointer"):
        told.append(plain(pointer))
    return ", ".join([*told, f"characters {position['char_start']} to {position['char_end']}"])


def _tell(result: JsonObject) -> None:
    how = f"by words and meaning ({result['model']})" if result["model"] else "by words"
    say(f"{len(result['passages'])} passages, found {how}")
    if result["note"]:
        say(plain(result["note"]))
    if result["mismatches"]:
        say(f"{result['mismatches']} were left out, because their source does not say so any more")
    if not result["passages"]:
        say("try: symphainy process FILE..., or other words")
