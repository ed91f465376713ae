"""The pytest plug-in: the fixture ``hive``, a hive of the test's own.

Nothing of the library is imported before a test asks for the fixture.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import HiveTest


def pytest_configure(config: pytest.Config) -> None:
    """In a hive's folder, let tests import its nodes."""
    if (config.rootpath / "config" / "hive.py").is_file() and str(config.rootpath) not in sys.path:
        sys.path.insert(0, str(config.rootpath))


@pytest.fixture(scope="session")
def hive_server() -> Iterator[str]:
    """The URL of a Redis server that all hives of this test run share."""
    from .testing import TestServer  # noqa: PLC0415 - so that a test run without hives costs nothing

    with TestServer() as server:
        yield server.url


@pytest.fixture
def hive(hive_server: str) -> Iterator[HiveTest]:
    """A hive for one test: ``hive.start(Batman)``, ``hive.send(...)``, ``hive.expect("alert.*", timeout=2)``."""
    from .testing import HiveTest  # noqa: PLC0415 - see above

    with HiveTest(hive_server, f"test-{secrets.token_hex(4)}", owns_server=True) as hive:
        yield hive
