"""`/docs`: the OpenAPI document as one page. No script and nothing from elsewhere, so it works offline."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from typing import Any

from symphainy.model import JsonObject

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 62%, transparent); --fill: color-mix(in srgb, currentColor 5%, transparent); }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 6rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; text-transform: capitalize; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, dt small { color: var(--soft); }
code, pre { font: .86rem/1.5 ui-monospace, monospace; }
pre { background: var(--fill); border-radius: .4rem; padding: .8rem 1rem; overflow-x: auto; margin: .5rem 0; }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
details > :not(summary) { margin-left: 1rem; margin-right: 1rem; }
summary { cursor: pointer; padding: .6rem .9rem; display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
summary:focus-visible { outline: 2px solid; outline-offset: 2px; border-radius: .5rem; }
summary b { font: 600 .78rem ui-monospace, monospace; min-width: 3.6rem; }
summary span { color: var(--soft); }
h3 { font-size: .8rem; margin: 1.1rem 0 .3rem; color: var(--soft); font-weight: 600; }
dl { margin: .3rem 0 1rem; }
dt { margin-top: .45rem; }
dd { margin: 0 0 0 1.25rem; }
nav { margin: 1rem 0; display: flex; gap: .4rem 1rem; flex-wrap: wrap; }
a { color: inherit; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()


def docs_page(document: JsonObject) -> bytes:
    """The whole page in UTF-8."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(document, method, path, operation))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>{_text(info['title'])}</title><style>{STYLE}</style><main>",
        f"<h1>{_text(info['title'])}</h1><p class=soft>Version {_text(info['version'])} · ",
        "<a href=/openapi.json>openapi.json</a></p>",
        _prose(info["description"]),
        "<nav>",
        *(f'<a href="#{_text(_anchor(tag))}">{_text(tag)}</a>' for tag in by_tag),
        "<a href=#schemas>schemas</a></nav>",
    ]
    for tag, operations in by_tag.items():
        parts += [f'<h2 id="{_text(_anchor(tag))}">{_text(tag)}</h2>', *operations]
    parts.append("<h2 id=schemas>Schemas</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts += [
            f'<details id="schema-{_text(name)}"><summary><code>{_text(name)}</code>',
            f"<span>{_text(schema.get('description', ''))}</span></summary>{_json(schema)}</details>",
        ]
    parts.append("</main></html>")
    return "".join(parts).encode()


def _operation(document: JsonObject, method: str, path: str, operation: JsonObject) -> str:
    out = [
        f'<details id="{_text(operation["operationId"])}"><summary><b>{method.upper()}</b>',
        f"<code>{_text(path)}</code><span>{_text(operation['summary'])}</span></summary>",
        _prose(operation.get("description", "")),
    ]
    if parameters := operation.get("parameters"):
        out += ["<h3>Parameters</h3><dl>", *(_parameter(each) for each in parameters), "</dl>"]
    for media_type, media in operation.get("requestBody", {}).get("content", {}).items():
        out += [f"<h3>Body · {_text(media_type)}</h3>", _media(media)]
    out.append("<h3>Answers</h3><dl>")
    for status, response in operation["responses"].items():
        response = _resolved(document, response)
        out.append(f"<dt><code>{_text(status)}</code> {_inline(response['description'])}</dt>")
        if not response["description"].startswith("Refused"):
            out += [f"<dd>{_media(media)}</dd>" for media in response.get("content", {}).values() if media]
    out.append("</dl></details>")
    return "".join(out)


def _parameter(parameter: JsonObject) -> str:
    schema = parameter["schema"]
    facts = [parameter["in"], schema.get("type", ""), "required" if parameter["required"] else ""]
    if "default" in schema:
        facts.append(f"default {json.dumps(schema['default'])}")
    shown = " · ".join(_text(fact) for fact in facts if fact)
    return (
        f"<dt><code>{_text(parameter['name'])}</code> <small>{shown}</small></dt>"
        f"<dd>{_inline(parameter.get('description', ''))}</dd>"
    )


def _media(media: JsonObject) -> str:
    out = []
    for name in _references(media.get("schema", {})):
        out.append(f'<p>Schema <a href="#schema-{_text(name)}"><code>{_text(name)}</code></a></p>')
    out += [_json(example["value"]) for example in media.get("examples", {}).values()]
    return "".join(out) or _json(media.get("schema", {}))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _resolved(document: JsonObject, response: JsonObject) -> JsonObject:
    if "$ref" not in response:
        return response
    found: JsonObject = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return found


def _prose(text: str) -> str:
    return f"<p>{_inline(text)}</p>" if text else ""


def _inline(text: str) -> str:
    """Text in which `backticks` mark code."""
    pieces = _text(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def _json(value: Any) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _text(value: str) -> str:
    return html.escape(value)


def _anchor(tag: str) -> str:
    return tag.replace(" ", "-")
