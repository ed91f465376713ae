"""The floor: two processes, blocking sockets, hiredis, 200 commands a write, Hivemind's envelope through orjson."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

import hiredis
import orjson

from ..task import Task
from . import roles

MOST_UNANSWERED = 20_000


def connect(url: str) -> socket.socket:
    """A blocking connection to the server on a unix socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(url.removeprefix("unix://"))
    return connection


def pack(*words: str | bytes) -> bytes:
    """One command as it is written."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows one word only
    return packed


class Envelopes:
    """Bodies as Hivemind writes them."""

    def __init__(self) -> None:
        self._life, self._sequence = time.time_ns() // 1_000_000, 0

    def of(self, payloads: Iterable[Any]) -> Iterator[bytes]:
        """One for each payload."""
        for payload in payloads:
            self._sequence += 1
            envelope = {"v": 1, "n": "bare.0", "e": self._life, "s": self._sequence, "t": time.time(), "d": payload}
            yield orjson.dumps(envelope)


def publish(task: Task, *words: str) -> None:
    """Write batches of a command that ends with the body, PUBLISH if no other is named; read answers when there are
    any, and wait for them when too many are missing.
    """
    sender, connection, reader, envelopes = task.sender(), connect(task.url), hiredis.Reader(), Envelopes()
    command = words or ("PUBLISH", task.topic)
    sent = answered = 0
    while not sender.is_over:
        chunks = [pack(*command, body) for body in envelopes.of(sender.payloads())]
        if chunks:
            connection.sendall(b"".join(chunks))
            sent += len(chunks)
        answered += answers(connection, reader, is_urgent=sent - answered > MOST_UNANSWERED)
        if sender.pause:
            time.sleep(sender.pause)
    while answered < sent:  # a connection that is closed with answers unread loses what was written last
        answered += answers(connection, reader, is_urgent=True)


def answers(connection: socket.socket, reader: Any, *, is_urgent: bool) -> int:
    """How many answers there are; if it is urgent it waits for some."""
    try:
        reader.feed(connection.recv(65_536, 0 if is_urgent else socket.MSG_DONTWAIT))
    except BlockingIOError:
        return 0
    count = 0
    while reader.gets() is not False:
        count += 1
    return count


def subscribe(task: Task) -> None:
    """Read, parse, decode, count."""
    connection, reader, handle = connect(task.url), hiredis.Reader(), task.handler()
    connection.sendall(pack("SUBSCRIBE", task.topic))
    while data := connection.recv(262_144):
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if reply[0] == b"message":
                handle(orjson.loads(reply[2])["d"])


if __name__ == "__main__":
    roles.run(publish=publish, subscribe=subscribe)
