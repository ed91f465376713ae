"""A hive inside a test, on a real Redis of the test's own, with a clock that the test turns, and faults.

::

    def test_batman_answers(hive):
        hive.start(Batman)
        hive.send("bat-signal-main", "Batman! We need help!")
        assert hive.expect("alert.*", timeout=2).payload == "saved"

The pytest plug-in that comes with the library gives the fixture ``hive``.
"""

from __future__ import annotations

from .hive import HiveTest
from .server import TestServer

__all__ = ["HiveTest", "TestServer"]
