"""The configuration takes each source over the one before, refuses what it does not know, and hides secrets."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from symphainy.boot.config import (
    DAY_S,
    GIB,
    MIB,
    PREFIX,
    Profile,
    Settings,
    StoreKind,
    load,
    redacted_url,
)
from symphainy.errors import StartupFailed


def settings(directory: Path, *, environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return load(overrides=overrides, environ=environ or {}, directory=directory)


def refusal(directory: Path, *, environ: dict[str, str] | None = None, **overrides: Any) -> StartupFailed:
    with pytest.raises(StartupFailed) as caught:
        settings(directory, environ=environ, **overrides)
    assert caught.value.service == "configuration"
    return caught.value


def test_without_any_source_the_defaults_of_development_stand(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert found == Settings()
    assert found.model_dump(exclude={"data_dir", "allowed_file_roots"}) == {
        "profile": Profile.DEVELOPMENT,
        "host": "127.0.0.1",
        "port": 8001,
        "runtime_host": "127.0.0.1",
        "runtime_port": 8000,
        "cors_origins": (),
        "store": StoreKind.SQLITE,
        "redis_url": None,
        "workers": 256,
        "running_max": 1000,
        "requests_per_minute": 600_000,
        "anonymous_requests_per_minute": 60_000,
        "anonymous_sessions_per_minute": 6_000,
        "upload_bytes_max": GIB,
        "body_bytes_max": 4 * MIB,
        "step_inline_bytes_max": 65536,
        "result_bytes_max": 4 * MIB,
        "session_ttl_s": DAY_S,
        "lease_s": 30.0,
        "idempotency_ttl_s": DAY_S,
        "retention_days": 30,
        "startup_timeout_s": 10.0,
        "health_timeout_s": 2.0,
        "drain_timeout_s": 10.0,
        "capability": (),
        "log_level": "info",
        "log_format": "console",
        "otel_endpoint": None,
    }
    assert found.data_dir == Path(".symphainy").absolute()
    assert found.allowed_file_roots == (str(Path(tempfile.gettempdir()).resolve()), str(Path.cwd().resolve()))


def test_production_has_limits_of_its_own(tmp_path: Path) -> None:
    found = settings(tmp_path, profile="production")
    names = ("running_max", "requests_per_minute", "anonymous_requests_per_minute", "anonymous_sessions_per_minute")
    assert [getattr(found, name) for name in names] == [64, 600, 60, 10]
    assert (found.upload_bytes_max, found.allowed_file_roots, found.log_format) == (256 * MIB, (), "json")
    assert found.origin("running_max") == "default of production"


def test_each_source_stands_over_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "symphainy.toml").write_text("port = 1001\nrunning_max = 5\nworkers = 7\nlog_level = 'debug'\n")
    environ = {"SYMPHAINY_PORT": "1002", "SYMPHAINY_RUNNING_MAX": "6"}
    found = settings(tmp_path, environ=environ, port=1003, workers=None)
    assert (found.port, found.running_max, found.workers, found.log_level) == (1003, 6, 7, "debug")
    assert {name: found.origin(name) for name in ("port", "running_max", "workers", "store")} == {
        "port": "command line",
        "running_max": "environment SYMPHAINY_RUNNING_MAX",
        "workers": f"file {tmp_path}/symphainy.toml",
        "store": "default of development",
    }


def test_a_profile_from_any_source_brings_its_defaults(tmp_path: Path) -> None:
    (tmp_path / "symphainy.toml").write_text("profile = 'production'\n")
    assert settings(tmp_path).running_max == 64
    assert settings(tmp_path, environ={"SYMPHAINY_PROFILE": "production"}).running_max == 64


def test_a_file_can_be_named(tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text("port = 1001\ncapability = ['words:Words']\n")
    (tmp_path / "symphainy.toml").write_text("port = 1002\n")
    found = settings(tmp_path, environ={"SYMPHAINY_CONFIG": str(named)})
    assert (found.port, found.capability) == (1001, ("words:Words",))


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    error = refusal(tmp_path, environ={"SYMPHAINY_CONFIG": "gone.toml"})
    assert error.message == (
        "SYMPHAINY_CONFIG names gone.toml, which does not exist. Write the file, or unset the variable"
    )


@pytest.mark.parametrize("content", [b"port = ", b"\xff", b"port = 1\nport = 2"])
def test_a_file_that_is_not_toml_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "symphainy.toml").write_bytes(content)
    assert f"the settings file {tmp_path}/symphainy.toml is not TOML" in refusal(tmp_path).message


@pytest.mark.parametrize(
    ("variables", "name", "value"),
    [
        ({"REDIS_URL": "redis://r:1/0"}, "redis_url", "redis://r:1/0"),
        ({"HOST": "::1"}, "runtime_host", "::1"),
        ({"PORT": "9000"}, "runtime_port", 9000),
        ({"PORT": "9000", "SYMPHAINY_RUNTIME_PORT": "9001"}, "runtime_port", 9001),
        ({"SYMPHAINY_DATA": "/var/lib/symphainy"}, "data_dir", Path("/var/lib/symphainy")),
        ({"REDIS_URL": ""}, "redis_url", None),
        ({"SYMPHAINY_CAPABILITY": "a:B, c.d:E"}, "capability", ("a:B", "c.d:E")),
        ({"SYMPHAINY_UPLOAD_BYTES_MAX": "64 MiB"}, "upload_bytes_max", 64 * MIB),
        ({"SYMPHAINY_UPLOAD_BYTES_MAX": "5MB"}, "upload_bytes_max", 5_000_000),
        ({"SYMPHAINY_STORE": "memory"}, "store", StoreKind.MEMORY),
        ({"PATH": "/bin", "SYMPHAINYX": "1"}, "port", 8001),
    ],
)
def test_the_environment_is_read(tmp_path: Path, variables: dict[str, str], name: str, value: Any) -> None:
    assert getattr(settings(tmp_path, environ=variables), name) == value


def test_every_setting_can_be_set_from_the_environment(tmp_path: Path) -> None:
    for row in settings(tmp_path).rows():
        assert row.environment[0] == f"{PREFIX}{row.name.upper()}"
        if row.value:
            found = settings(tmp_path, environ={row.environment[0]: row.value})
            assert found.model_dump() == settings(tmp_path).model_dump(), row.name


@pytest.mark.parametrize("variable", ["SYMPHAINY_PROT", "SYMPHAINY_", "SYMPHAINY_NONSENSE"])
def test_an_unknown_variable_is_an_error_that_names_it(tmp_path: Path, variable: str) -> None:
    error = refusal(tmp_path, environ={variable: "1"})
    assert error.details["settings"] == [variable]
    assert error.message.startswith(f"no such setting: {variable} (environment); did you mean ")


def test_a_close_name_is_offered(tmp_path: Path) -> None:
    assert "did you mean SYMPHAINY_PORT" in refusal(tmp_path, environ={"SYMPHAINY_PROT": "1"}).message


def test_an_unknown_key_in_the_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "symphainy.toml").write_text("runing_max = 5\n")
    error = refusal(tmp_path)
    assert error.message == (
        f"no such setting: runing_max (file {tmp_path}/symphainy.toml); did you mean running_max?. "
        "Correct or remove it; `symphainy config` lists every setting"
    )


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("SYMPHAINY_PORT", "99999", "port is '99999' (environment SYMPHAINY_PORT): Input should be less than or equal"),
        ("SYMPHAINY_PORT", "http", "port is 'http' (environment SYMPHAINY_PORT): Input should be a valid integer"),
        ("SYMPHAINY_STORE", "postgres", "store is 'postgres' (environment SYMPHAINY_STORE): Input should be 'sqlite'"),
        ("SYMPHAINY_CAPABILITY", "words", "'words' is not of the form module:Class"),
        ("SYMPHAINY_CORS_ORIGINS", "*", "'*' is no origin"),
        ("SYMPHAINY_OTEL_ENDPOINT", "collector:4318", "must begin with http:// or https://"),
        ("REDIS_URL", "http://x", "redis_url is *** (environment REDIS_URL): must begin with redis://"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_its_origin(
    tmp_path: Path, variable: str, value: str, complaint: str
) -> None:
    assert complaint in refusal(tmp_path, environ={variable: value}).message


def test_every_misfit_is_told_at_once(tmp_path: Path) -> None:
    error = refusal(tmp_path, environ={"SYMPHAINY_PORT": "-1", "SYMPHAINY_LEASE_S": "0"})
    assert error.details["settings"] == ["port", "lease_s"]


@pytest.mark.parametrize("variable", ["HOST", "SYMPHAINY_RUNTIME_HOST", "SYMPHAINY_HOST"])
@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org", "127.0.0.1.example.org"])
def test_beyond_loopback_is_refused_in_development_with_the_remedy(tmp_path: Path, variable: str, host: str) -> None:
    error = refusal(tmp_path, environ={variable: host})
    assert f"is {host!r} (environment {variable}), which is beyond loopback" in error.message
    assert error.remedy == "Listen on 127.0.0.1, or set SYMPHAINY_PROFILE=production"


def test_beyond_loopback_is_allowed_in_production(tmp_path: Path) -> None:
    assert settings(tmp_path, profile="production", host="0.0.0.0").host == "0.0.0.0"


def test_two_services_cannot_share_a_port(tmp_path: Path) -> None:
    assert "port and runtime_port are both 8001" in refusal(tmp_path, runtime_port=8001).message
    assert settings(tmp_path, port=0, runtime_port=0).port == 0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:hunter2@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://user:hunter2@host", "rediss://***@host"),
        ("redis://user:p@ss@host", "redis://***@host"),
        ("redis://user:hunter2/ss@host", "redis://***@host"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock?***"),
    ],
)
def test_a_secret_is_never_shown(tmp_path: Path, url: str, shown: str) -> None:
    found = settings(tmp_path, redis_url=url)
    assert redacted_url(url) == shown
    row = next(row for row in found.rows() if row.name == "redis_url")
    assert (row.value, row.origin) == (shown, "command line")
    assert "hunter2" not in f"{found!r}{found}{found.rows()}"


def test_every_setting_says_what_it_is(tmp_path: Path) -> None:
    rows = settings(tmp_path).rows()
    assert [row.name for row in rows] == list(Settings.model_fields)
    assert [row.name for row in rows if not row.description] == []
    numbers = [row for row in rows if isinstance(Settings.model_fields[row.name].default, int | float)]
    assert [row.name for row in numbers if not row.bounds] == []
    assert [row.name for row in numbers if not row.unit and "port" not in row.name] == []


def test_settings_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings(tmp_path).port = 1  # type: ignore[misc]
