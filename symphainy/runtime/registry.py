"""What can be asked for: intent type → handler, with its contract. Filled at boot, read ever after."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError

from symphainy.capability import (
    CONTENT,
    BoundIntent,
    Capability,
    ExecutionContext,
    Handler,
    IntentDeclaration,
    IntentResult,
    SagaDeclaration,
)
from symphainy.civic import curator
from symphainy.door import RealmInfo
from symphainy.errors import FieldError, IntentRefused, Invalid, NotFound, StartupFailed, UnknownIntent
from symphainy.model import IntentInfo, JsonObject


class IntentSpec:
    """One intent as it is registered. `parameters` refuses unknown fields."""

    def __init__(
        self,
        declaration: IntentDeclaration,
        *,
        capability: str,
        handler_name: str,
        handler: Handler,
        parameters: type[BaseModel],
        description: str,
    ) -> None:
        self.declaration = declaration
        self.intent_type = declaration.intent_type
        self.capability = capability
        self.handler_name = handler_name
        self.handler = handler
        self.parameters = _closed(parameters)
        self.content_fields = tuple(
            name
            for name, found in parameters.model_fields.items()
            if _carries_content(found.annotation, found.metadata)
        )
        self.info = curator.catalogue_row(
            declaration,
            capability=capability,
            handler_name=handler_name,
            description=description,
            parameters_schema=self.parameters.model_json_schema(),
            result_schema=None if declaration.result is None else declaration.result.model_json_schema(),
        )

    def parse(self, parameters: JsonObject) -> BaseModel:
        """The parameters as the handler gets them. Raises `Invalid`, with a pointer for each field that is wrong."""
        try:
            return self.parameters.model_validate(parameters)
        except ValidationError as error:
            wrong = [
                FieldError(_pointer("/parameters", found["loc"]), _said(found))
                for found in error.errors(include_url=False)
            ]
            what = "; ".join(f"{pointer}: {detail}" for pointer, detail in wrong[:5])
            raise Invalid(f"the parameters of {self.intent_type!r} are not valid: {what}", errors=wrong) from None


def _said(found: Any) -> str:
    given = found["input"]
    shown = "" if isinstance(given, (dict, list)) or found["type"] == "missing" else f" (given: {str(given)[:80]!r})"
    return f"{found['msg']}{shown}"


def _pointer(root: str, path: tuple[str | int, ...]) -> str:
    return root + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _closed(model: type[BaseModel]) -> type[BaseModel]:
    """The model, refusing unknown fields unless its author allowed them."""
    if model.model_config.get("extra") is not None:
        return model
    return type(
        model.__name__,
        (model,),
        {"model_config": ConfigDict(extra="forbid"), "__module__": model.__module__, "__doc__": model.__doc__},
    )


class AnyParameters(BaseModel):
    """For a handler that declares no model of its parameters: it takes what comes."""

    model_config = ConfigDict(extra="allow")


def _declared_parameters(handler: Handler) -> type[BaseModel]:
    names = list(inspect.signature(handler).parameters)
    hint = get_type_hints(handler).get(names[1]) if len(names) > 1 else None
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else AnyParameters


def _nobody(intent_type: str, handler_name: str) -> Handler:
    async def refuse(ctx: ExecutionContext, params: BaseModel) -> IntentResult:
        raise IntentRefused("handler_missing", f"{intent_type!r} is registered for {handler_name}, without a function")

    return refuse


_METADATA = {each.name for each in fields(IntentDeclaration)} - {"intent_type"} | {
    "parameters",
    "capability",
    "description",
}


def _carries_content(annotation: Any, metadata: list[Any]) -> bool:
    if any(mark is CONTENT for mark in metadata) or any(m is CONTENT for m in getattr(annotation, "__metadata__", ())):
        return True
    return any(_carries_content(part, []) for part in get_args(annotation))


class IntentRegistry:
    def __init__(self) -> None:
        self._specs: dict[str, IntentSpec] = {}
        self._names: dict[str, str] = {}
        self._capabilities: dict[str, Capability] = {}
        self.sagas: dict[str, SagaDeclaration] = {}

    def register_intent(
        self,
        intent_type: str,
        handler_name: str,
        handler_function: Handler | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> IntentSpec:
        """Add one intent. Without a function it is known by name, and refused by every execution of it.

        `metadata`: `parameters` (a pydantic model; by default what the handler's second parameter is annotated with,
        or anything), `capability`, `description`, and the fields of
        `IntentDeclaration`. Raises `StartupFailed` when the Curator says no.
        """
        rest = dict(metadata or {})
        unknown = rest.keys() - _METADATA
        if unknown:
            raise StartupFailed(
                f"the metadata of intent {intent_type!r} says {', '.join(sorted(unknown))}, which means nothing",
                service=handler_name,
                remedy=f"It may say {', '.join(sorted(_METADATA))}",
            )
        if handler_function is None:
            handler_function = _nobody(intent_type, handler_name)
        parameters = rest.pop("parameters", None) or _declared_parameters(handler_function)
        capability = str(rest.pop("capability", handler_name))
        description = str(rest.pop("description", ""))
        bound = BoundIntent(
            declaration=IntentDeclaration(intent_type=intent_type, **rest),
            handler=handler_function,
            parameters=parameters,
            description=description,
        )
        return self._add(bound, capability=capability, handler_name=handler_name)

    def register_capability(self, capability: Capability) -> None:
        """Add a capability with all its intents and sagas, or raise `StartupFailed`."""
        decision = curator.may_offer(capability.name, known=self._capabilities)
        owner = type(capability).__name__
        if not decision.allowed:
            raise StartupFailed(decision.reason, service=owner, remedy=decision.remedy)
        for bound in capability.intents():
            self._add(bound, capability=capability.name, handler_name=owner)
        for saga in capability.sagas:
            self._add_saga(saga, owner)
        self._capabilities[capability.name] = capability

    def _add(self, bound: BoundIntent, *, capability: str, handler_name: str) -> IntentSpec:
        declared = bound.declaration
        decision = curator.may_register(
            self._names_held(),
            declared,
            handler_is_async=inspect.iscoroutinefunction(bound.handler),
            handler_parameters=tuple(inspect.signature(bound.handler).parameters),
        )
        if not decision.allowed:
            raise StartupFailed(decision.reason, service=handler_name, remedy=decision.remedy)
        uploads = [spec.intent_type for spec in self._specs.values() if spec.declaration.from_upload]
        if declared.from_upload and uploads:
            raise StartupFailed(
                f"{declared.intent_type!r} takes uploads, and {uploads[0]!r} does already",
                service=handler_name,
                remedy="Leave from_upload out of one of them",
            )
        spec = IntentSpec(
            declared,
            capability=capability,
            handler_name=handler_name,
            handler=bound.handler,
            parameters=bound.parameters,
            description=bound.description,
        )
        self._specs[declared.intent_type] = spec
        self._names |= dict.fromkeys(curator.names_of(declared), declared.intent_type)
        return spec

    def _add_saga(self, saga: SagaDeclaration, owner: str) -> None:
        if saga.name in self.sagas:
            raise StartupFailed(f"a saga {saga.name!r} is registered already", service=owner, remedy="Rename one")
        names = [step.name for step in saga.steps]
        if not names or len(set(names)) < len(names):
            raise StartupFailed(
                f"saga {saga.name!r} has the steps {names}",
                service=owner,
                remedy="Give it at least one step, and each a name of its own",
            )
        for step in saga.steps:
            if step.intent_type not in self._specs:
                raise StartupFailed(
                    f"saga {saga.name!r} has a step for the unknown intent {step.intent_type!r}",
                    service=owner,
                    remedy="Register the capability of that intent first",
                )
        self.sagas[saga.name] = saga

    def _names_held(self) -> dict[str, str]:
        return {name: self._specs[intent_type].handler_name for name, intent_type in self._names.items()}

    def resolve(self, name: str) -> IntentSpec:
        """By intent type or alias. Raises `UnknownIntent`, with what may have been meant."""
        intent_type = curator.resolve(name, self._names)
        if intent_type is None:
            near = " or ".join(curator.close_names(name, self._names))
            near = f"did you mean {near}?" if near else "list the intents to see what there is"
            raise UnknownIntent(f"no intent named {name!r}; {near}", intent_type=name)
        return self._specs[intent_type]

    def knows(self, intent_type: str) -> bool:
        return intent_type in self._specs

    def saga(self, name: str) -> SagaDeclaration:
        """Raises `Invalid`."""
        if name not in self.sagas:
            known = ", ".join(sorted(self.sagas)) or "none"
            raise Invalid(
                f"no saga named {name!r}; there are: {known}", errors=[FieldError("/metadata/saga", "unknown saga")]
            )
        return self.sagas[name]

    def taking_uploads(self) -> IntentSpec:
        """The intent that takes uploads. Raises `NotFound` when no capability offers one."""
        for spec in self._specs.values():
            if spec.declaration.from_upload is not None:
                return spec
        raise NotFound("no capability of this platform takes uploads")

    def accepted_types(self, intent_type: str) -> tuple[str, ...]:
        return self.resolve(intent_type).declaration.accepts

    def catalogue(self) -> tuple[IntentInfo, ...]:
        return tuple(self._specs[name].info for name in sorted(self._specs))

    def realms(self) -> tuple[RealmInfo, ...]:
        return tuple(
            RealmInfo(
                realm=name,
                capability=name,
                description=capability.description,
                intents=tuple(sorted(s.intent_type for s in self._specs.values() if s.capability == name)),
                status="active",
            )
            for name, capability in sorted(self._capabilities.items())
        )

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        return self._capabilities
