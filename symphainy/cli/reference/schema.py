"""JSON Schema as table rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any, NamedTuple

from symphainy.cli.reference.markdown import anchor

Schema = dict[str, Any]
DEPTH_MAX = 4


class Field(NamedTuple):
    """One field. Those of nested objects have dotted names, those of lists of objects `name[].field`."""

    name: str
    type: str
    required: bool
    nullable: bool
    default: str
    description: str


def fields(schema: Schema, *, linked: Set[str] = frozenset()) -> tuple[Field, ...]:
    """The fields of an object schema, nested ones after the one that holds them.

    `linked` names definitions that have a heading of their own: they are linked to, and not unfolded.
    """
    return tuple(_Reader(schema.get("$defs", {}), linked).fields(schema, prefix="", depth=0))


def name_of(reference: str) -> str:
    """`#/$defs/Name` → `Name`."""
    return reference.rsplit("/", 1)[-1]


class _Reader:
    def __init__(self, defs: Schema, linked: Set[str]) -> None:
        self._defs = defs
        self._linked = linked

    def fields(self, schema: Schema, *, prefix: str, depth: int) -> Iterator[Field]:
        required = set(schema.get("required", ()))
        for name, declared in schema.get("properties", {}).items():
            found = self._resolved(declared)
            default = found.get("default")
            yield Field(
                name=prefix + name,
                type=self._type(found),
                required=name in required,
                nullable=_allows_null(declared),
                default="" if default is None else json.dumps(default, ensure_ascii=False),
                description=found.get("description", ""),
            )
            nested, suffix = self._nested(found)
            if nested is not None and depth < DEPTH_MAX:
                yield from self.fields(nested, prefix=f"{prefix}{name}{suffix}.", depth=depth + 1)

    def _resolved(self, schema: Schema) -> Schema:
        """The schema with its reference followed, and without the null of an optional field."""
        if "$ref" in schema and name_of(schema["$ref"]) not in self._linked:
            followed = self._resolved(self._defs[name_of(schema["$ref"])])
            return followed | {key: value for key, value in schema.items() if key != "$ref"}
        choices = schema.get("anyOf", ())
        present = [choice for choice in choices if choice.get("type") != "null"]
        if len(choices) > 1 and len(present) == 1:
            rest = {key: value for key, value in schema.items() if key != "anyOf"}
            return self._resolved(present[0]) | rest
        return schema

    def _nested(self, schema: Schema) -> tuple[Schema | None, str]:
        if "properties" in schema:
            return schema, ""
        items = self._resolved(schema.get("items") or {})
        return (items, "[]") if "properties" in items else (None, "")

    def _type(self, schema: Schema) -> str:
        if "$ref" in schema:
            name = name_of(schema["$ref"])
            return f"[{name}](#{anchor(name)})"
        if "const" in schema:
            return f"`{json.dumps(schema['const'])}`"
        if "enum" in schema:
            return " | ".join(f"`{value}`" for value in schema["enum"])
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            kinds = (self._type(self._resolved(choice)) for choice in choices if choice.get("type") != "null")
            return " or ".join(dict.fromkeys(kinds))
        kind = schema.get("type")
        if kind == "array":
            items = self._resolved(schema.get("items") or {})
            return f"array of {self._type(items)}" if items else "array"
        if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._type(self._resolved(schema['additionalProperties']))}"
        if isinstance(kind, list):
            return " or ".join(each for each in kind if each != "null")
        return " ".join(filter(None, [kind or "any", _bounds(schema)]))


def _allows_null(schema: Schema) -> bool:
    kind = schema.get("type")
    return (isinstance(kind, list) and "null" in kind) or any(
        _allows_null(choice) or choice.get("type") == "null" for choice in schema.get("anyOf", ())
    )


def _bounds(schema: Schema) -> str:
    low = schema.get("minimum", schema.get("minLength"))
    high = schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if "minLength" in schema or "maxLength" in schema else ""
    match (low, high):
        case (None, None):
            above = schema.get("exclusiveMinimum")
            return "" if above is None else f"(more than {above})"
        case (None, _):
            return f"(at most {high}{unit})"
        case (_, None):
            return f"(at least {low}{unit})"
    return f"({low} to {high}{unit})"
