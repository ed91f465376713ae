"""Subscribers that cost next to nothing: one process, many sockets, bytes are counted and thrown away, as in C."""

from __future__ import annotations

import selectors
import socket

from ..task import Task
from . import roles
from .bare import connect, pack

MARK = b"*3\r\n$7\r\nmessage\r\n"


def subscribe(task: Task) -> None:
    """``count`` connections, the first of which is slot 0."""
    handled, selector = task.open().handled, selectors.DefaultSelector()
    tails = [b""] * task.count
    for slot in range(task.count):
        connection = connect(task.url)
        connection.sendall(pack("SUBSCRIBE", task.topic))
        selector.register(connection, selectors.EVENT_READ, slot)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = tails[key.data] + key.fileobj.recv(262_144)
            handled[key.data] += data.count(MARK)
            tails[key.data] = data[1 - len(MARK) :]


if __name__ == "__main__":
    roles.run(subscribe=subscribe)
