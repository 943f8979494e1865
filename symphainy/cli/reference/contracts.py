"""docs/intent_contracts/: a page an intent, their index, their obligations, and the catalogue beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from symphainy.capability import BoundIntent, Capability, IntentDeclaration, RetryPolicy
from symphainy.cli.reference.catalogue import Catalogue, PlannedIntent
from symphainy.cli.reference.markdown import anchor, code, codes, paragraphs, table
from symphainy.cli.reference.schema import Schema, fields
from symphainy.model import Role

FOLDER = Path("docs/intent_contracts")
GENERATED = "<!-- Written by `symphainy docs`. Do not edit: change the code, then run it again. -->"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """A registered intent with its capability and, where there is a catalogue that has it, its plan."""

    capability: Capability
    bound: BoundIntent
    plan: PlannedIntent | None

    @property
    def intent_type(self) -> str:
        return self.bound.declaration.intent_type

    @property
    def purpose(self) -> str:
        """The first paragraph of what the author says of it."""
        return self.bound.description.partition("\n\n")[0].replace("\n", " ")

    @property
    def handler(self) -> str:
        return f"{type(self.capability).__name__}.{getattr(self.bound.handler, '__name__', self.intent_type)}"

    @property
    def surface(self) -> str:
        return self.plan.experience if self.plan else ""

    @property
    def parameters(self) -> Schema:
        return self.bound.parameters.model_json_schema()

    @property
    def result(self) -> Schema | None:
        model = self.bound.declaration.result
        return None if model is None else model.model_json_schema(mode="serialization")


def contracts(capabilities: Sequence[Capability], catalogue: Catalogue | None) -> tuple[Contract, ...]:
    """Every registered intent, by capability in the order given and then by name."""
    return tuple(
        Contract(
            capability=capability,
            bound=bound,
            plan=catalogue.planned(bound.declaration.intent_type) if catalogue else None,
        )
        for capability in capabilities
        for bound in sorted(capability.intents(), key=lambda bound: bound.declaration.intent_type)
    )


def contract_pages(capabilities: Sequence[Capability], catalogue: Catalogue | None) -> Iterator[tuple[Path, str]]:
    registered = contracts(capabilities, catalogue)
    yield FOLDER / "README.md", _index(capabilities, registered, catalogue)
    yield FOLDER / "RUNTIME_OBLIGATIONS_INDEX.md", _obligations(registered, catalogue)
    if catalogue:
        yield FOLDER / "VISION_ALIGNMENT_SUMMARY.md", _alignment(registered, catalogue)
    for contract in registered:
        yield FOLDER / f"{contract.intent_type}.md", _page(contract)


def page_link(intent_type: str) -> str:
    return f"[{code(intent_type)}]({intent_type}.md)"


# --- one intent ---------------------------------------------------------------------------------------------


def _page(contract: Contract) -> str:
    declared = contract.bound.declaration
    facts = [
        ("capability", f"[{contract.capability.name}](README.md#{anchor(contract.capability.name)})"),
        ("experience surface", contract.surface),
        ("handler", code(contract.handler)),
        ("version", declared.version),
        ("older names that resolve", codes(declared.aliases)),
        ("read-only", "yes: it registers no artifact" if declared.read_only else "no"),
        ("who may submit it", _who(declared)),
    ]
    return paragraphs(
        GENERATED,
        f"# {contract.intent_type}",
        contract.bound.description,
        table(["", ""], [fact for fact in facts if fact[1]]),
        "## Parameters",
        _parameters(contract.parameters),
        "## Results",
        _results(contract.result),
        "## Artifacts",
        _artifacts(contract),
        "## Events",
        _events(contract),
        "## Errors",
        _errors(declared.errors),
        "## Idempotency",
        _idempotency(declared.idempotency),
        "## Obligations",
        table(["", ""], _page_obligations(contract)),
        "What holds for every intent: [obligations](RUNTIME_OBLIGATIONS_INDEX.md#every-intent).",
    )


def _parameters(schema: Schema) -> str:
    rows = [
        (
            code(row.name),
            row.type,
            "yes" if row.required else "",
            row.default and code(row.default),
            row.description,
        )
        for row in fields(schema)
    ]
    return table(["parameter", "type", "required", "default", "meaning"], rows)


def _results(schema: Schema | None) -> str:
    if schema is None:
        return "No declared shape."
    rows = [(code(row.name), row.type, row.description) for row in fields(schema)]
    return table(["field", "type", "meaning"], rows) if rows else "An empty object."


def _artifacts(contract: Contract) -> str:
    types = contract.bound.declaration.artifacts
    planned = "; ".join(contract.plan.artifacts) if contract.plan else ""
    asked = f" The catalogue asks for: {planned}." if planned else ""
    return f"Registers {codes(types) or 'none'}.{asked}"


def _events(contract: Contract) -> str:
    own = contract.bound.declaration.events
    sentence = f"The handler emits {codes(own)}." if own else "The handler emits none of its own."
    return f"{sentence} The runtime adds [those of every execution](../reference/events.md)."


def _errors(errors: Mapping[str, str]) -> str:
    everywhere = "What any intent can be refused with stands in [errors](../reference/errors.md)."
    if not errors:
        return f"The handler declares none of its own. {everywhere}"
    return paragraphs(table(["code", "when"], [(code(name), text) for name, text in errors.items()]), everywhere)


def _idempotency(words: str) -> str:
    own = (
        f"The same work is: {words}."
        if words
        else "The handler names nothing that makes two submissions the same work."
    )
    return f"{own} With an `Idempotency-Key`, the same request answers the same execution."


def _page_obligations(contract: Contract) -> list[tuple[str, str]]:
    return [
        ("registration", _registration(contract)),
        ("execution", _execution(contract)),
        ("state", _state(contract)),
        ("artifacts", _artifact_duty(contract)),
    ]


def _registration(contract: Contract) -> str:
    declared = contract.bound.declaration
    return (
        f"{code(contract.intent_type)} → {code(contract.handler)}, version {declared.version};"
        f" parameters {code(contract.bound.parameters.__name__)}"
    )


def _execution(contract: Contract) -> str:
    declared = contract.bound.declaration
    limit = "no time limit of its own" if declared.timeout_s is None else f"at most {declared.timeout_s:g} s"
    return f"{_retries(declared.retry)}; {limit}; for {_who(declared)}"


def _who(declared: IntentDeclaration) -> str:
    if declared.required_role is not Role.ANONYMOUS:
        return f"{declared.required_role} and higher"
    return f"anonymous callers, and {Role.VIEWER if declared.read_only else Role.MEMBER} and higher"


def _retries(policy: RetryPolicy) -> str:
    if policy.attempts_max <= 1:
        return "one attempt"
    return (
        f"up to {policy.attempts_max} attempts, the first pause {policy.first_delay_s:g} s,"
        f" each {policy.factor:g} times the one before, at most {policy.delay_max_s:g} s"
    )


def _state(contract: Contract) -> str:
    declared = contract.bound.declaration
    parts = [f"reads {codes(declared.state_reads)}"] if declared.state_reads else []
    parts += [f"writes {codes(declared.state_writes)}"] if declared.state_writes else []
    return "; ".join(parts) or "reads and writes none"


def _artifact_duty(contract: Contract) -> str:
    declared = contract.bound.declaration
    parts = [f"works on {codes(declared.accepts)}"] if declared.accepts else []
    parts += [f"registers {codes(declared.artifacts)}"] if declared.artifacts else []
    return "; ".join(parts) or "registers none"


# --- the index ----------------------------------------------------------------------------------------------


def _beside(catalogue: Catalogue | None) -> Iterator[tuple[str, str, str]]:
    what = "registration, execution, state and artifacts of each intent"
    yield "Runtime obligations", "RUNTIME_OBLIGATIONS_INDEX.md", what
    if catalogue:
        what = "every intent of the catalogue, and where older names went"
        yield "Vision alignment", "VISION_ALIGNMENT_SUMMARY.md", what
        what = "what a handler is given and what it owes"
        yield "Runtime contracts", "../architecture/RUNTIME_CONTRACTS.md", what


def _index(capabilities: Sequence[Capability], registered: Sequence[Contract], catalogue: Catalogue | None) -> str:
    parts = [
        GENERATED,
        "# Intent contracts",
        "One page for each intent that is registered, written from its declaration, its models and its"
        " docstring. A running platform gives the same at `GET /api/intents`.",
        "\n".join(f"- [{name}]({path}): {what}" for name, path, what in _beside(catalogue)),
    ]
    for capability in capabilities:
        own = [contract for contract in registered if contract.capability is capability]
        parts += [
            f"## {capability.name}",
            capability.description,
            table(
                ["intent", "purpose", "read-only"],
                [
                    (
                        page_link(each.intent_type),
                        each.purpose,
                        "yes" if each.bound.declaration.read_only else "",
                    )
                    for each in own
                ],
            ),
        ]
    sagas = [(capability, saga) for capability in capabilities for saga in capability.sagas]
    if sagas:
        parts += [
            "## Sagas",
            'Submit the first intent with `metadata: {"saga": "<name>"}`, and the runtime submits the others.',
            table(
                ["saga", "capability", "steps"],
                [
                    (code(saga.name), capability.name, " → ".join(page_link(step.intent_type) for step in saga.steps))
                    for capability, saga in sagas
                ],
            ),
        ]
    if catalogue:
        parts += ["## Not registered yet", _planned_list(registered, catalogue)]
    return paragraphs(*parts)


def _unregistered(registered: Sequence[Contract], catalogue: Catalogue) -> list[PlannedIntent]:
    names = {contract.intent_type for contract in registered}
    return [plan for plan in catalogue.intents if plan.intent_type not in names]


def _planned_list(registered: Sequence[Contract], catalogue: Catalogue) -> str:
    planned = _unregistered(registered, catalogue)
    if not planned:
        return "None: the whole catalogue is registered."
    rows = [
        (
            capability.capability,
            codes(plan.intent_type for plan in planned if plan.capability == capability.capability),
        )
        for capability in catalogue.capabilities
    ]
    return paragraphs(
        f"{len(planned)} of the {len(catalogue.intents)} intents of the catalogue."
        " Submitting one answers `unknown_intent`.",
        table(["capability", "intents"], [row for row in rows if row[1]]),
    )


# --- obligations --------------------------------------------------------------------------------------------

_EVERY_INTENT = (
    (
        "registration",
        "registers it at boot under its `intent_type`, or fails the boot; publishes both schemas; resolves older names",
        "has the signature `async def name(self, ctx: ExecutionContext, params: Model) -> IntentResult`",
    ),
    (
        "execution",
        "makes tenant, session, role and parameters certain, records the intent, then calls the handler"
        " with a"
        " validated `ExecutionContext`; owns the lifecycle created → running → completed, failed or"
        " cancelled; runs"
        " the handler again from the top after a crash, with the results of finished steps",
        "does what must happen once inside `ctx.step`; creates no execution records and sets no status;"
        " says no"
        " with `IntentRefused`",
    ),
    (
        "state",
        "gives `ctx.state_surface`, bound to the tenant; commits what is written with the step or the"
        " outcome; keeps"
        " session state as long as the session and execution state as long as the execution. Hot copies:"
        " `session:{tenant_id}:{session_id}` 24 hours, `execution:{tenant_id}:{execution_id}` 1 hour",
        "reaches state in no other way; keeps none in itself between executions",
    ),
    (
        "artifacts",
        "fills in `produced_by` and the tenant; shows an artifact as PENDING while the execution runs, in"
        " its own"
        " state once it is completed, as FAILED if it did not complete",
        "registers what it made with `register_artifact`, names every parent, stores bytes with `ctx.blobs`",
    ),
)


def _obligations(registered: Sequence[Contract], catalogue: Catalogue | None) -> str:
    def rows(say: Callable[[Contract], str]) -> list[tuple[str, str]]:
        return [(page_link(contract.intent_type), say(contract)) for contract in registered]

    parts = [
        GENERATED,
        "# Runtime obligations",
        "What the runtime owes each intent and what each intent owes the runtime."
        " The contracts behind it: [runtime contracts](../architecture/RUNTIME_CONTRACTS.md).",
        "## Every intent",
        table(["", "the runtime", "the handler"], _EVERY_INTENT),
        "## Registration",
        table(["intent", "registered as"], rows(_registration)),
        "## Execution",
        table(["intent", "runs under"], rows(_execution)),
        "## State",
        table(["intent", "reads and writes"], rows(_state)),
        "## Artifacts",
        table(["intent", "artifacts"], rows(_artifact_duty)),
    ]
    planned = _unregistered(registered, catalogue) if catalogue else []
    if planned:
        parts += [
            "## Not registered yet",
            "From the catalogue. Each falls under what stands above for every intent; its own obligations are"
            " fixed when it is registered.",
            table(
                ["intent", "parameters", "artifacts", "events", "the same work is"],
                [
                    (
                        code(plan.intent_type),
                        "; ".join(plan.parameters),
                        "; ".join(plan.artifacts),
                        codes(plan.events),
                        plan.idempotency,
                    )
                    for plan in planned
                ],
            ),
        ]
    return paragraphs(*parts)


# --- the plan against what is registered --------------------------------------------------------------------


def _alignment(registered: Sequence[Contract], catalogue: Catalogue) -> str:
    by_name = {contract.intent_type: contract for contract in registered}
    done = [plan for plan in catalogue.intents if plan.intent_type in by_name]
    beyond = [contract for contract in registered if contract.plan is None]
    return paragraphs(
        GENERATED,
        "# Vision alignment",
        "Every intent of the catalogue with its capability and experience surface, what it was called before,"
        f" and whether it is registered: {len(done)} of {len(catalogue.intents)} are. Contracts:"
        f" [index](README.md)."
        " Documents, modules and endpoints: [where it went](../where_it_went.md).",
        "A capability is what the platform can do; it registers intents and knows no interface. A surface"
        " is how"
        " people reach it; it knows the SDK and nothing else.",
        "## Capabilities and surfaces",
        table(
            ["capability", "does", "surfaces", "registered"],
            [
                (
                    row.capability,
                    row.does,
                    ", ".join(row.experience),
                    _share([p for p in catalogue.intents if p.capability == row.capability], by_name),
                )
                for row in catalogue.capabilities
            ],
        ),
        "## Every intent",
        table(
            ["intent", "capability", "surface", "registered", "older names"],
            [
                (
                    page_link(plan.intent_type) if plan.intent_type in by_name else code(plan.intent_type),
                    plan.capability,
                    plan.experience,
                    "yes" if plan.intent_type in by_name else "not yet",
                    _older(plan),
                )
                for plan in catalogue.intents
            ],
        ),
        _beyond(beyond),
        "## Folders",
        "Where the contracts of an earlier folder belong now. The source documents name the patterns; the"
        " folders stood in groups, and each group goes as one.",
        table(
            ["folder", "from", "capability", "surface", ""],
            [
                (
                    code(row.folder) if row.named else row.folder,
                    "pattern in the sources" if row.named else "group",
                    row.capability,
                    row.experience,
                    row.note,
                )
                for row in catalogue.folders
            ],
        ),
        "## Words that changed",
        table(["word", "then", "now"], [(row.word, row.then, row.now) for row in catalogue.words]),
        "These names were made in the old sense of a word, and mean the new one:",
        table(["older name", "word", "now"], _old_senses(catalogue)),
        "## Older names",
        "An alias resolves when it is submitted; the other names are only explained here.",
        table(
            ["older name", "now", "alias"],
            sorted(
                (
                    code(older.name) + (f" ({older.note})" if older.note else ""),
                    code(plan.intent_type),
                    "yes" if _is_alias(older.name, by_name.get(plan.intent_type)) else "",
                )
                for plan in catalogue.intents
                for older in plan.replaces
            ),
        ),
        "## Not intents",
        table(["older name", "is"], [(code(row.name), row.is_) for row in catalogue.not_intents]),
        "## Gaps",
        _planned_list(registered, catalogue),
    )


def _share(plans: Sequence[PlannedIntent], by_name: Mapping[str, Contract]) -> str:
    return f"{sum(plan.intent_type in by_name for plan in plans)} of {len(plans)}"


def _older(plan: PlannedIntent) -> str:
    return codes(dict.fromkeys(older.name for older in plan.replaces))


def _is_alias(name: str, contract: Contract | None) -> bool:
    return contract is not None and name in contract.bound.declaration.aliases


def _old_senses(catalogue: Catalogue) -> list[tuple[str, str, str]]:
    words = [row.word for row in catalogue.words]
    return [
        (code(older.name), word, code(plan.intent_type))
        for plan in catalogue.intents
        for older in plan.replaces
        for word in words
        if word in older.name
    ]


def _beyond(beyond: Sequence[Contract]) -> str:
    if not beyond:
        return ""
    return paragraphs(
        "Registered, and not of the catalogue:",
        table(
            ["intent", "capability"],
            [(page_link(contract.intent_type), contract.capability.name) for contract in beyond],
        ),
    )
