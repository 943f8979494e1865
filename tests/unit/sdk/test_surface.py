"""What the SDK offers, and what importing it costs."""

import inspect
import json
import subprocess
import sys

import symphainy.sdk
from symphainy.door import Door
from symphainy.sdk import ExperienceSDK, HttpDoor, SyncExperienceSDK

OPERATIONS = {
    *("query_state", "invoke_intent", "subscribe", "run"),
    *("create_session", "create_anonymous_session", "get_session", "update_session", "close_session"),
    *("list_realms", "list_intents", "resolve_artifact", "list_artifacts", "open_artifact"),
    *("artifact_lineage", "upload", "list_executions", "cancel", "list_pending", "create_pending"),
}


def operations(kind: type) -> set[str]:
    """Public methods, without those that open, bind and close."""
    own = {name for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")}
    return own - {"connect", "with_token", "acting_for", "aclose", "close"}


def as_doors(sdk: ExperienceSDK, http: HttpDoor) -> list[Door]:
    """Checked by the type checker: both have the shape of a door."""
    return [sdk, http]


def test_every_operation_of_the_contract_is_there_and_each_of_the_door() -> None:
    assert operations(ExperienceSDK) >= OPERATIONS | operations(Door)


def test_nothing_stands_in_for_what_comes_later() -> None:
    later = {"trigger_journey", "signal", "decide_approval", "upgrade_session"}
    assert operations(ExperienceSDK) & later == set()


def test_the_plain_sdk_has_every_operation_with_the_same_signature() -> None:
    assert operations(SyncExperienceSDK) == operations(ExperienceSDK)
    for name in operations(ExperienceSDK) | {"connect"}:
        ours, theirs = getattr(ExperienceSDK, name), getattr(SyncExperienceSDK, name)
        assert inspect.signature(theirs).parameters.keys() == inspect.signature(ours).parameters.keys(), name
        assert not inspect.iscoroutinefunction(theirs), name
        assert theirs.__doc__ == ours.__doc__ or name == "connect", name


def test_what_is_exported_is_what_is_listed() -> None:
    listed = symphainy.sdk.__all__
    assert listed == sorted(listed, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(symphainy.sdk, name) for name in listed)


def imported_by(code: str) -> set[str]:
    """The top-level packages (our own one level deeper) that a fresh interpreter has after `code`."""
    program = f"import json, sys\n{code}\nprint(json.dumps(list(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = json.loads(ran.stdout)
    return {".".join(name.split(".")[: 2 if name.startswith("symphainy.") else 1]) for name in names}


def test_importing_the_sdk_pulls_in_no_server_code() -> None:
    names = imported_by("import symphainy.sdk")
    servers = {"fastapi", "starlette", "uvicorn", "apsw", "pydantic", "structlog", "typer", "joserfc"}
    ours = {name for name in names if name.startswith("symphainy.")}
    assert names & servers == set()
    assert ours == {"symphainy.door", "symphainy.errors", "symphainy.model", "symphainy.sdk"}
