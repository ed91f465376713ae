"""For tests of actors: contexts that are stopped whatever happens."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .context import Context


@contextmanager
def ephemeral_context(**how: Any) -> Iterator[Context]:
    """A started context on the loopback, on any port, unless ``how`` says otherwise."""
    with Context(**{"ip": "127.0.0.1", "port": 0, **how}) as context:
        yield context


class EphemeralContextTestCase(unittest.TestCase):
    """A test case with a context of its own for each test."""

    context: Context

    def setUp(self) -> None:
        """Start it."""
        self.context = Context(ip="127.0.0.1", port=0)
        self.context.start()

    def tearDown(self) -> None:
        """Stop it."""
        self.context.stop()
