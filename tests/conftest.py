"""Options and markers for every test: --deep, and `unit` or `integration` by folder."""

from pathlib import Path

import pytest
from hypothesis import settings

DEEP_TIMEOUT_S = 1800
FOLDER_MARKERS = ("unit", "integration")

settings.register_profile("quick", deadline=None, print_blob=True)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=5000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="also run the tests that take minutes")


@pytest.hookimpl(tryfirst=True)  # before pytest-timeout reads its option
def pytest_configure(config: pytest.Config) -> None:
    deep = config.getoption("--deep")
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("deep" if deep else "quick")
    if deep and config.getoption("--timeout") is None:
        config.option.timeout = DEEP_TIMEOUT_S


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(tests).parts[0] if item.path.is_relative_to(tests) else ""
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)
        if item.get_closest_marker("deep") and not config.getoption("--deep"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; --deep runs it"))
