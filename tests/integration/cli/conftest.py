"""One platform for all tests of the command line."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from symphainy.cli.main import program
from tests.integration.cli.starting import Run, Started, Told, started


@pytest.fixture(scope="session")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("up")
    options = ["--port", "0", "--runtime-port", "0", "--data", str(folder / "data")]
    capability = ["--capability", "tests.integration.sdk.probing:Probing"]
    with started("-m", "symphainy", "up", *options, *capability, log=folder / "log") as platform:
        yield platform


@pytest.fixture
def run(up: Started, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in this process, as the developer of the platform that is up."""
    for name in [name for name in os.environ if name.startswith("SYMPHAINY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SYMPHAINY_URL", up.urls["experience"])
    monkeypatch.setenv("SYMPHAINY_DATA", str(up.data))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments: str) -> Told:
        capfd.readouterr()
        code = program(arguments)
        out, err = capfd.readouterr()
        return Told(code=code, out=out, err=err)

    return run
