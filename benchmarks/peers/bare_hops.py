"""The floor of requests: two bare pub/sub hops, there and back, over blocking sockets, each process with one connection
to publish and one to listen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import hiredis
import orjson

from ..asking import take_number
from ..task import Task
from . import roles
from .bare import Envelopes, connect, pack

REPLIES = "replies"


class Hops:
    """One process: what it publishes on ``there`` and hears on ``here``."""

    def __init__(self, url: str, here: str, there: str) -> None:
        self._out, self._in, self._there = connect(url), connect(url), there
        self._answers, self._pushes = hiredis.Reader(), hiredis.Reader()
        self._envelopes = Envelopes()
        self._in.sendall(pack("SUBSCRIBE", here))

    def send(self, payload: Any) -> None:
        """Publish, without waiting for an answer; what answers there are is read later."""
        (body,) = self._envelopes.of([payload])
        self._out.sendall(pack("PUBLISH", self._there, body))

    def skip_answer(self) -> int:
        """Wait for the answer to what was published: to how many it went."""
        while (answer := self._answers.gets()) is False:
            self._answers.feed(self._out.recv(65_536))
        return int(answer)

    def heard(self) -> Iterator[Any]:
        """Payloads, as they come."""
        while True:
            while (push := self._pushes.gets()) is not False:
                if push[0] == b"message":
                    yield orjson.loads(push[2])["d"]
            self._pushes.feed(self._in.recv(65_536))


def ask(task: Task) -> None:
    """One after the other."""
    hops, window = Hops(task.url, REPLIES, task.topic), task.open()
    replies = hops.heard()
    while not _is_heard(hops):
        time.sleep(0.02)
    next(replies)
    window.begin()
    while not window.is_over:
        payload = {"i": take_number(window), "unit": "C"}
        began = time.perf_counter_ns()
        hops.send(payload)
        reply = next(replies)
        window.sample(time.perf_counter_ns() - began)
        assert reply == payload
        hops.skip_answer()
        window.handled[0] += 1
        if task.gap:
            time.sleep(task.gap)


def _is_heard(hops: Hops) -> bool:
    hops.send({"i": -1})
    return hops.skip_answer() > 0


def respond(task: Task) -> None:
    """Send back what comes."""
    hops = Hops(task.url, task.topic, REPLIES)
    for payload in hops.heard():
        hops.send(payload)
        hops.skip_answer()


if __name__ == "__main__":
    roles.run(ask=ask, respond=respond)
