"""What is declared, what is locked, and what may lie in the repository."""

import re
import subprocess
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.source import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements" / "dev.lock").read_text("utf-8")
# Written in two parts, so that this file does not hold what it looks for.
HOSTS = re.compile(r"py" r"pi\.org|registry\.npm" r"js|python" r"hosted|deb\.deb" r"ian")


def declared() -> list[Requirement]:
    project = PROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    lines = [line for group in [*groups, *PROJECT["dependency-groups"].values()] for line in group]
    return [required for line in lines if (required := Requirement(line)).name != project["name"]]


def pinned() -> dict[str, list[Version]]:
    """A package has two pins where one version does not serve every Python."""
    pins: dict[str, list[Version]] = {}
    for name, version in re.findall(r"(?m)^([a-z0-9][a-z0-9.-]*)==(\S+)", LOCK):
        pins.setdefault(name, []).append(Version(version))
    return pins


@pytest.mark.parametrize("required", declared(), ids=str)
def test_the_lock_satisfies_what_is_declared(required: Requirement) -> None:
    pins = pinned().get(required.name)
    assert pins, f"{required.name} is not locked; run ./dev lock"
    outside = [pin for pin in pins if pin not in required.specifier]
    assert outside == [], f"{required} is locked at {outside}; run ./dev lock"


def test_every_locked_package_has_hashes() -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9])", LOCK)
    assert [entry.split()[0] for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


def test_no_tracked_file_names_a_registry() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = [ROOT / name for name in listed.stdout.split("\0") if name]
    texts = {path: path.read_bytes().decode("utf-8", "ignore") for path in tracked if path.is_file()}
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if HOSTS.search(text)] == []
