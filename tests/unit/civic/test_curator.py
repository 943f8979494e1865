"""The Curator lets nothing join twice, under a bad name, or with a handler that does not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capability import IntentDeclaration
from symphainy.civic import curator
from symphainy.model import Decision, IntentInfo

PARSE = IntentDeclaration(intent_type="parse_content", aliases=("content.parse",), artifacts=("parsed_content",))


def test_a_new_intent_joins() -> None:
    assert curator.may_register({}, PARSE) == Decision(
        policy="curator.registration", allowed=True, reason="'parse_content' version 1 with 1 aliases"
    )


@pytest.mark.parametrize("taken", ["parse_content", "content.parse"])
def test_a_name_or_alias_that_is_held_already_is_refused_with_its_holder(taken: str) -> None:
    assert curator.may_register({taken: "capability legacy, version 2"}, PARSE) == Decision(
        policy="curator.registration",
        allowed=False,
        reason=f"{taken!r} is registered already, by capability legacy, version 2",
        remedy="Change the declaration of 'parse_content'",
    )


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (
            IntentDeclaration(intent_type="Parse"),
            "'Parse' is no intent type: a-z, 0-9 and _, the first a letter, at most 100 characters",
        ),
        (
            IntentDeclaration(intent_type="content.parse"),
            "'content.parse' is no intent type: a-z, 0-9 and _, the first a letter, at most 100 characters",
        ),
        (
            IntentDeclaration(intent_type="parse", aliases=("Content/Parse",)),
            "'Content/Parse' is no alias: a-z, 0-9 and _, the first a letter, in words joined by dots, "
            "at most 100 characters",
        ),
        (IntentDeclaration(intent_type="parse", aliases=("a.b", "a.b")), "'parse' declares a.b twice"),
        (IntentDeclaration(intent_type="parse", aliases=("parse",)), "'parse' declares parse twice"),
        (
            IntentDeclaration(intent_type="parse", version="latest"),
            "'latest' is no version: write 1, 1.2 or 1.2.3",
        ),
        (
            IntentDeclaration(intent_type="parse", read_only=True, artifacts=("report",)),
            "'parse' only reads, and yet produces report",
        ),
        (
            IntentDeclaration(intent_type="parse", accepts=("A File",)),
            "'A File' is no artifact type: a-z, 0-9 and _, the first a letter, at most 100 characters",
        ),
        (
            IntentDeclaration(intent_type="parse", events=("execution_completed",)),
            "'parse': 'execution_completed' is an event that the runtime alone writes",
        ),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused_with_the_reason(declared: IntentDeclaration, reason: str) -> None:
    decision = curator.may_register({}, declared)
    assert (decision.allowed, decision.reason) == (False, reason)
    assert decision.remedy


@pytest.mark.parametrize("name", ["", "_a", "1a", "a-b", "a b", "é", "a" * 101, "a\n"])
def test_an_intent_type_of_another_form_is_refused(name: str) -> None:
    assert not curator.may_register({}, IntentDeclaration(intent_type=name)).allowed


@pytest.mark.parametrize(
    ("is_async", "parameters", "reason"),
    [
        (
            False,
            ("ctx", "params"),
            "the handler of 'parse_content' is no async function that takes ctx, params",
        ),
        (True, ("ctx",), "the handler of 'parse_content' is an async function that takes ctx"),
        (True, (), "the handler of 'parse_content' is an async function that takes nothing"),
    ],
)
def test_a_handler_that_cannot_be_called_as_handlers_are_is_refused(
    is_async: bool, parameters: tuple[str, ...], reason: str
) -> None:
    decision = curator.may_register({}, PARSE, handler_is_async=is_async, handler_parameters=parameters)
    assert (decision.allowed, decision.reason) == (False, reason)


@pytest.mark.parametrize(("name", "allowed"), [("words", True), ("content", False), ("My Words", False), ("", False)])
def test_a_capability_joins_once_under_a_good_name(name: str, allowed: bool) -> None:
    assert curator.may_offer(name, known=["content"]).allowed is allowed


@pytest.mark.parametrize(
    ("event_type", "allowed"),
    [
        ("file_parsed", True),
        ("content.file_parsed", True),
        ("stream.gap", False),
        ("intent_received", False),
        ("A", False),
    ],
)
def test_handlers_emit_under_names_of_their_own(event_type: str, allowed: bool) -> None:
    assert curator.may_emit(event_type).allowed is allowed


def test_an_alias_resolves_to_its_intent_type() -> None:
    names = dict.fromkeys(curator.names_of(PARSE), PARSE.intent_type)
    assert curator.resolve("content.parse", names) == "parse_content"
    assert curator.resolve("parse_content", names) == "parse_content"
    assert curator.resolve("nothing", names) is None


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("parse_contnet", "parse_content"),
        ("ParseContent", "parse_content"),
        ("content.parse", "parse_content"),
        ("ingest-file", "ingest_file"),
        ("query", "query_data"),
    ],
)
def test_what_may_have_been_meant_is_offered(asked: str, first: str) -> None:
    assert curator.close_names(asked, ["parse_content", "ingest_file", "query_data"])[:1] == (first,)


def test_nothing_close_is_nothing_offered() -> None:
    assert curator.close_names("zzz", ["parse_content", "ingest_file"]) == ()


@given(st.lists(st.text(max_size=10), max_size=8), st.text(max_size=10))
def test_only_known_names_are_offered_and_at_most_three(known: list[str], name: str) -> None:
    near = curator.close_names(name, known)
    assert set(near) <= set(known)
    assert len(near) <= 3


def test_a_catalogue_row_is_the_declaration_and_where_it_comes_from() -> None:
    row = curator.catalogue_row(
        PARSE,
        capability="content",
        handler_name="parse",
        description="Parse a file.",
        parameters_schema={"type": "object"},
        result_schema=None,
    )
    assert row == IntentInfo(
        intent_type="parse_content",
        capability="content",
        handler_name="parse",
        description="Parse a file.",
        read_only=False,
        parameters_schema={"type": "object"},
        result_schema=None,
        artifacts=("parsed_content",),
        aliases=("content.parse",),
        version="1",
    )
