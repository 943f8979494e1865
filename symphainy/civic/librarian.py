"""Librarian: what describes an artifact, what matches a question, what can be done with it next?

matches_text(artifact, text)           every word of the text stands in type, descriptor or payload
eligible(artifact, accepts)            may an intent that accepts these artifact types work on it?

A refusal only means: leave it out of the list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from symphainy.model import Artifact, Decision, LifecycleState, allow, refuse

MATCH = "librarian.match"
ELIGIBILITY = "librarian.eligibility"

_WORD = re.compile(r"\w+")


def matches_text(artifact: Artifact, text: str) -> Decision:
    """Upper and lower case are one; a word matches where a word of the artifact begins with it."""
    asked = dict.fromkeys(_WORD.findall(text.casefold()))
    if not asked:
        return refuse(MATCH, f"{text!r} holds no word to look for")
    missing = set(asked)
    for word in _words(artifact):
        missing -= {each for each in missing if word.startswith(each)}
        if not missing:
            return allow(MATCH, f"{artifact.artifact_id} holds {', '.join(asked)}")
    return refuse(MATCH, f"{artifact.artifact_id} does not hold {', '.join(sorted(missing))}")


def eligible(artifact: Artifact, accepts: Collection[str]) -> Decision:
    """Its type is accepted, and it stands: READY, or PENDING where the intent is what makes it READY."""
    if artifact.artifact_type not in accepts:
        wanted = ", ".join(sorted(accepts)) or "no artifact"
        return refuse(ELIGIBILITY, f"{artifact.artifact_id} is a {artifact.artifact_type}; accepted is {wanted}")
    if artifact.lifecycle_state not in (LifecycleState.READY, LifecycleState.PENDING):
        return refuse(ELIGIBILITY, f"{artifact.artifact_id} is {artifact.lifecycle_state}")
    return allow(ELIGIBILITY, f"{artifact.artifact_id} is a {artifact.lifecycle_state} {artifact.artifact_type}")


def _words(artifact: Artifact) -> Iterator[str]:
    ahead: list[Any] = [artifact.artifact_type, artifact.semantic_descriptor, artifact.semantic_payload]
    while ahead:
        value = ahead.pop()
        if isinstance(value, dict):
            ahead += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            ahead += value
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, (str, int, float)):
            text = str(value).casefold()
            # "bank_statement" is found by itself and by "statement".
            yield from _WORD.findall(text)
            yield from _WORD.findall(text.replace("_", " "))
