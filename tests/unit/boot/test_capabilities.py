"""A capability that cannot be found, made or started stops the boot and is named."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from symphainy.boot import capabilities
from symphainy.boot.capabilities import discover, make, start
from symphainy.capability import Capability, StateSurface
from symphainy.errors import StartupFailed
from symphainy.ports import PublicWorks
from symphainy.public_works.offload import LocalOffload

#: These capabilities use nothing of the outside world.
NOTHING = cast("PublicWorks", None)

WORDS = """
from symphainy.capability import Capability

class Words(Capability):
    name = "words"
"""


@pytest.fixture
async def offload() -> AsyncIterator[LocalOffload]:
    made = LocalOffload()
    yield made
    await made.close()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that can be imported from, with nothing built in."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(capabilities, "BUILT_IN", ())
    return tmp_path


def write(folder: Path, name: str, source: str) -> None:
    (folder / f"{name}.py").write_text(source)
    sys.modules.pop(name, None)


def install(folder: Path, distribution: str, entry: str) -> None:
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{capabilities.ENTRY_POINTS}]\n{entry}\n")


async def test_a_named_class_is_found(modules: Path, offload: LocalOffload) -> None:
    write(modules, "words_named", WORDS)
    found = await discover(named=["words_named:Words"], offload=offload)
    assert [each.name for each in found] == ["words"]


async def test_an_installed_distribution_brings_its_capability(modules: Path, offload: LocalOffload) -> None:
    write(modules, "words_installed", WORDS)
    install(modules, "acme_words", "words = words_installed:Words")
    found = await discover(named=["words_installed:Words"], offload=offload)
    assert [each.name for each in found] == ["words"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise RuntimeError('out of order')", "RuntimeError: out of order"),
        ("def (", "SyntaxError: "),
        ("class Other: ...", "AttributeError: "),
    ],
)
async def test_one_that_cannot_be_imported_stops_the_boot(
    modules: Path, offload: LocalOffload, source: str, said: str
) -> None:
    write(modules, "broken_words", source)
    with pytest.raises(StartupFailed) as caught:
        await discover(named=["broken_words:Words"], offload=offload)
    assert caught.value.service == "broken_words:Words"
    assert f"the capability broken_words:Words cannot be imported: {said}" in caught.value.message


async def test_an_entry_point_that_cannot_be_imported_is_named(modules: Path, offload: LocalOffload) -> None:
    install(modules, "acme_broken", "broken = nothing_of_this_name:Words")
    with pytest.raises(StartupFailed, match=r"the entry point 'broken' \(symphainy\.capabilities\) cannot be imported"):
        await discover(named=[], offload=offload)


async def test_something_that_is_no_capability_is_refused(modules: Path, offload: LocalOffload) -> None:
    write(modules, "no_words", "Words = 42")
    with pytest.raises(StartupFailed, match=r"is 42, not a subclass of symphainy\.capability\.Capability"):
        await discover(named=["no_words:Words"], offload=offload)


class Fragile(Capability):
    name = "fragile"

    def __init__(self, *, public_works: PublicWorks, state_surface: StateSurface | None) -> None:
        raise KeyError("model")


class Sleepy(Capability):
    name = "sleepy"

    async def start(self) -> None:
        raise OSError("the model file is gone")


async def test_one_whose_constructor_fails_stops_the_boot() -> None:
    with pytest.raises(StartupFailed, match="the capability Fragile cannot be made: KeyError: 'model'"):
        await make(Fragile, public_works=NOTHING)


async def test_one_that_does_not_start_stops_the_boot() -> None:
    made = await make(Sleepy, public_works=NOTHING)
    with pytest.raises(StartupFailed) as caught:
        await start(made, timeout_s=1)
    assert caught.value.service == "sleepy"
    assert "the capability 'sleepy' did not start: OSError: the model file is gone" in caught.value.message
