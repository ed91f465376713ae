"""A process that a node forks: nothing of the node runs there, and that is said."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from hivemind import HivemindError, Node, Service, service
from hivemind.testing import HiveTest


class Forking(Node):
    """Sends a message, and has a child say what becomes of what it does."""

    @service("out", every=60.0)
    def go(self, service: Service) -> None:
        service.send({"children": [_said_by_a_child(word) for word in (self._sends, self._flushes, self._asks)]})

    def _sends(self) -> Any:
        self.send("out", "from a child")

    def _flushes(self) -> Any:
        self.flush(30.0)

    def _asks(self) -> Any:
        self.request("nobody", timeout=30.0)


def _said_by_a_child(what: Callable[[], Any]) -> str:
    reading, writing = os.pipe()
    if not (child := os.fork()):
        try:
            what()
            said = "nothing was raised"
        except HivemindError as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.timeout(60)
def test_in_a_forked_process_a_node_neither_sends_nor_hangs_and_its_own_goes_on(hive: HiveTest) -> None:
    hive.start(Forking)
    said = hive.expect("out", timeout=30).payload["children"]
    assert len(said) == 3
    assert all("does not run in this process" in one and "hivemind.connect()" in one for one in said)
    hive.send("out", "it goes on")
    assert hive.expect("out", timeout=30).payload == "it goes on"
