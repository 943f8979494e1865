"""Φ2: one typed, validated configuration. This module alone reads the environment and the settings file.

    settings = load(overrides={"port": 9001})
    settings.port, settings.origin("port")

Sources, each over the one before: defaults of the profile, the file (TOML; `SYMPHAINY_CONFIG`, or `symphainy.toml` in
the working folder), the environment (`SYMPHAINY_` and the name in capitals; `REDIS_URL`, `HOST`, `PORT` and
`SYMPHAINY_DATA` besides), the command line. A name that no setting has is an error, as is a value that does not fit.
"""

from __future__ import annotations

import difflib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from symphainy.errors import StartupFailed
from symphainy.wire.callers import is_loopback

SERVICE = "configuration"
PREFIX = "SYMPHAINY_"
CONFIG_VARIABLE = "SYMPHAINY_CONFIG"
DEFAULT_FILE = "symphainy.toml"
#: Variables of the command line's own, which are no settings of the platform.
CLIENT_VARIABLES = frozenset({CONFIG_VARIABLE, "SYMPHAINY_URL", "SYMPHAINY_TOKEN", "SYMPHAINY_TENANT"})
REDACTED = "***"

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
DAY_S = 24 * 3600


class Profile(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class StoreKind(StrEnum):
    SQLITE = "sqlite"
    MEMORY = "memory"


def _listed(value: object) -> object:
    """Text from the environment: `a, b`."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|kB|MB|GB)?")
_UNITS = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


def _sized(value: object) -> object:
    """Text such as `64 MiB` or `1000`."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _UNITS[match[2] or "B"]
    return value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Bytes = Annotated[int, BeforeValidator(_sized)]

_UNSET: Any = object()


def _setting(
    default: Any,
    text: str,
    *,
    production: Any = _UNSET,
    unit: str = "",
    also: tuple[str, ...] = (),
    secret: bool = False,
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """One setting: its default in development, and in production where that differs."""
    extra: dict[str, Any] = {"unit": unit, "also": list(also), "secret": secret}
    if production is not _UNSET:
        extra["production"] = production
    return Field(default, description=text, ge=ge, le=le, repr=not secret, json_schema_extra=extra)


class Settings(BaseModel):
    """Everything that can be set. Development's limits are wide enough for a load test; production's are its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    profile: Profile = _setting(
        Profile.DEVELOPMENT,
        "development serves loopback callers without a token and mints tokens; production does neither",
    )

    # Where it listens.
    host: str = _setting("127.0.0.1", "address on which Experience listens")
    port: int = _setting(8001, "port of Experience, the public base URL; 0 takes a free one", ge=0, le=65535)
    runtime_host: str = _setting("127.0.0.1", "address on which the Runtime listens", also=("HOST",))
    runtime_port: int = _setting(
        8000, "port of the Runtime, which is internal; 0 takes a free one", also=("PORT",), ge=0, le=65535
    )
    cors_origins: Listed = _setting((), "origins whose pages may call Experience from a browser")

    # What it keeps.
    data_dir: Path = _setting(
        Path(".symphainy"),
        "folder of everything the embedded default keeps: symphainy.db, search/, blobs/, keys/",
        also=("SYMPHAINY_DATA",),
    )
    store: StoreKind = _setting(
        StoreKind.SQLITE, "sqlite keeps what was acknowledged on disk; memory forgets everything at exit"
    )
    redis_url: str | None = _setting(
        None,
        "Redis or Valkey for the hot state (redis://, rediss:// or unix://); without it the process itself",
        also=("REDIS_URL",),
        secret=True,
    )

    # How much at once.
    workers: int = _setting(256, "executions this process runs at once", unit="executions", ge=1, le=10_000)
    running_max: int = _setting(
        1000,
        "executions of one tenant that run at once; further ones wait",
        production=64,
        unit="executions",
        ge=1,
        le=100_000,
    )
    requests_per_minute: int = _setting(
        600_000, "requests of one user", production=600, unit="requests/min", ge=1, le=100_000_000
    )
    anonymous_requests_per_minute: int = _setting(
        60_000, "requests of one anonymous session", production=60, unit="requests/min", ge=1, le=100_000_000
    )
    anonymous_sessions_per_minute: int = _setting(
        6_000,
        "anonymous sessions opened from one address",
        production=10,
        unit="sessions/min",
        ge=1,
        le=100_000_000,
    )

    # How large.
    upload_bytes_max: Bytes = _setting(GIB, "one uploaded file", production=256 * MIB, unit="bytes", ge=1, le=1 << 50)
    body_bytes_max: Bytes = _setting(4 * MIB, "one request body that is no upload", unit="bytes", ge=1024, le=GIB)
    step_inline_bytes_max: Bytes = _setting(
        64 * KIB,
        "result of a step that stays in the log; a larger one moves to a blob",
        unit="bytes",
        ge=0,
        le=16 * MIB,
    )

    result_bytes_max: Bytes = _setting(
        4 * MIB, "result of an intent; more belongs into an artifact", unit="bytes", ge=1024, le=64 * MIB
    )

    # How long.
    session_ttl_s: int = _setting(DAY_S, "life of a session", unit="s", ge=1, le=3650 * DAY_S)
    lease_s: float = _setting(
        30.0, "how long an execution of a worker that died waits for another", unit="s", ge=1, le=3600
    )
    idempotency_ttl_s: int = _setting(
        DAY_S, "how long an idempotency key is remembered", unit="s", ge=1, le=365 * DAY_S
    )
    retention_days: int = _setting(
        30, "how long a boundary contract lets content be kept", unit="days", ge=1, le=36_500
    )
    startup_timeout_s: float = _setting(10.0, "each store must answer within it", unit="s", ge=0.1, le=600)
    health_timeout_s: float = _setting(2.0, "each probe of /health must answer within it", unit="s", ge=0.05, le=60)
    drain_timeout_s: float = _setting(
        10.0, "how long running executions may finish at shutdown before they are handed back", unit="s", ge=0, le=3600
    )

    # What it runs and whom it lets in.
    capability: Listed = _setting((), "further capabilities, as module:Class")
    allowed_file_roots: Listed = _setting(
        (tempfile.gettempdir(), "."),
        "folders under which the loopback Runtime reads a file_path in development",
        production=(),
    )

    # What it says.
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "the least that is logged")
    log_format: Literal["console", "json"] = _setting("console", "for people or for machines", production="json")
    otel_endpoint: str | None = _setting(
        None, "base URL of an OTLP collector (http/protobuf); without it nothing is exported"
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_profile(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("profile") == Profile.PRODUCTION:
            return {**_production_defaults(), **data}
        return data

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("allowed_file_roots")
    @classmethod
    def _resolved(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(Path(root).expanduser().resolve()) for root in value))

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("otel_endpoint")
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).netloc):
            raise ValueError("must begin with http:// or https:// and name a host")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _whole_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                raise ValueError(f"{origin!r} is no origin: write https://host or https://host:port")
        return value

    @field_validator("capability")
    @classmethod
    def _module_and_class(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", each):
                raise ValueError(f"{each!r} is not of the form module:Class")
        return value

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        self._origins = dict(info.context or {})
        if self.profile is Profile.DEVELOPMENT:
            for name in ("host", "runtime_host"):
                if not is_loopback(getattr(self, name)):
                    raise StartupFailed(
                        f"{name} is {getattr(self, name)!r} ({self.origin(name)}), which is beyond loopback; the "
                        "profile development serves callers without a token",
                        service=SERVICE,
                        remedy="Listen on 127.0.0.1, or set SYMPHAINY_PROFILE=production",
                        setting=name,
                    )
        if self.port == self.runtime_port != 0 and self.host == self.runtime_host:
            raise StartupFailed(
                f"port and runtime_port are both {self.port}",
                service=SERVICE,
                remedy="Set SYMPHAINY_PORT or SYMPHAINY_RUNTIME_PORT to another",
                setting="port",
            )
        return self

    def origin(self, name: str) -> str:
        """Where the value comes from: `default of development`, `file …`, `environment …`, `command line`."""
        return self._origins.get(name, f"default of {self.profile}")

    def rows(self) -> tuple[SettingRow, ...]:
        """Every setting, in order, for people: values as text, secrets redacted."""
        return tuple(_row(self, name, info) for name, info in type(self).model_fields.items())


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `symphainy config`. `bounds` is text such as `1 to 65535`, or empty."""

    name: str
    value: str
    origin: str
    unit: str
    bounds: str
    development: str
    production: str
    environment: tuple[str, ...]
    description: str


def redacted_url(url: str) -> str:
    """Without user and password, and without the query, where some clients take a password too."""
    address, mark, _ = url.partition("?")
    scheme, slashes, rest = address.partition("://")
    if "@" in rest:
        rest = f"{REDACTED}@{rest.rpartition('@')[2]}"
    return f"{scheme}{slashes}{rest}{mark and mark + REDACTED}"


def load(
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Read every source and validate. `overrides` are the command line's; None in them means not given.

    `environ` and `directory` default to those of the process. Raises `StartupFailed` naming each setting that is wrong.
    """
    environ = os.environ if environ is None else environ
    directory = Path.cwd() if directory is None else directory
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source, found in (
        _file(environ, directory),
        _environment(environ),
        (dict.fromkeys(overrides or {}, "command line"), overrides or {}),
    ):
        for name, value in found.items():
            if value is not None:
                values[name] = value
                origins[name] = source[name]
    unknown = [name for name in values if name not in Settings.model_fields]
    if unknown:
        raise _unknown(unknown, origins, list(Settings.model_fields))
    try:
        return Settings.model_validate(values, context=origins)
    except ValidationError as error:
        raise _misfit(error, origins) from None


Source = tuple[Mapping[str, str], Mapping[str, Any]]


def _file(environ: Mapping[str, str], directory: Path) -> Source:
    named = environ.get(CONFIG_VARIABLE)
    path = directory / (named or DEFAULT_FILE)
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if not named:
            return {}, {}
        raise StartupFailed(
            f"{CONFIG_VARIABLE} names {named}, which does not exist",
            service=SERVICE,
            remedy="Write the file, or unset the variable",
        ) from None
    except OSError as error:
        raise StartupFailed(
            f"the settings file {path} cannot be read: {error.strerror}",
            service=SERVICE,
            remedy="Make it readable for this user",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StartupFailed(
            f"the settings file {path} is not TOML: {error}", service=SERVICE, remedy="Correct it"
        ) from None
    return dict.fromkeys(found, f"file {path}"), found


def _environment(environ: Mapping[str, str]) -> Source:
    # An empty variable is how shells and compose files say that it is not set.
    given = {name: value for name, value in environ.items() if value != ""}
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, variables in _variables().items():
        for variable in reversed(variables):  # the one with the prefix last: it wins
            if variable in given:
                values[name], origins[name] = given[variable], f"environment {variable}"
    known = {variable for variables in _variables().values() for variable in variables} | CLIENT_VARIABLES
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise _unknown(unknown, dict.fromkeys(unknown, "environment"), sorted(known))
    return origins, values


def _variables() -> dict[str, tuple[str, ...]]:
    """Setting → the variables that set it, the one with the prefix first."""
    return {name: (f"{PREFIX}{name.upper()}", *_extra(info)["also"]) for name, info in Settings.model_fields.items()}


def _extra(info: FieldInfo) -> dict[str, Any]:
    extra = info.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _production_defaults() -> dict[str, Any]:
    found = {name: _extra(info) for name, info in Settings.model_fields.items()}
    return {name: extra["production"] for name, extra in found.items() if "production" in extra}


def _unknown(names: list[str], origins: Mapping[str, str], known: list[str]) -> StartupFailed:
    told = []
    for name in names:
        near = difflib.get_close_matches(name, known, n=3)
        told.append(f"{name} ({origins[name]}); did you mean {', '.join(near) or '… nothing is close'}?")
    return StartupFailed(
        f"no such setting: {' '.join(told)}",
        service=SERVICE,
        remedy="Correct or remove it; `symphainy config` lists every setting",
        settings=names,
    )


def _misfit(error: ValidationError, origins: Mapping[str, str]) -> StartupFailed:
    told, names = [], []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else "the settings"
        info = Settings.model_fields.get(name)
        secret = info is not None and _extra(info)["secret"]
        value = REDACTED if secret else repr(problem["input"])
        message = problem["msg"].removeprefix("Value error, ")
        told.append(f"{name} is {value} ({origins.get(name, 'default')}): {message}")
        names.append(name)
    return StartupFailed(
        f"the configuration does not fit: {'; '.join(told)}",
        service=SERVICE,
        remedy="Correct it; `symphainy config` lists every setting with its bounds",
        settings=names,
    )


def _row(settings: Settings, name: str, info: FieldInfo) -> SettingRow:
    extra = _extra(info)
    return SettingRow(
        name=name,
        value=_text(getattr(settings, name), secret=extra["secret"]),
        origin=settings.origin(name),
        unit=extra["unit"],
        bounds=_bounds(info),
        development=_text(info.default, secret=False),
        production=_text(extra.get("production", info.default), secret=False),
        environment=_variables()[name],
        description=info.description or "",
    )


def _text(value: Any, *, secret: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    if secret:
        return redacted_url(value)
    return str(value)


def _bounds(info: FieldInfo) -> str:
    low = next((bound.ge for bound in info.metadata if getattr(bound, "ge", None) is not None), None)
    high = next((bound.le for bound in info.metadata if getattr(bound, "le", None) is not None), None)
    if low is not None and high is not None:
        return f"{low} to {high}"
    return ""
