"""The floor of durable delivery: as the bare loop, but XADD, and XREADGROUP with XACK, a batch in each write."""

from __future__ import annotations

from typing import Any

import hiredis
import orjson

from ..task import Task
from . import bare, roles
from .bare import connect, pack

GROUP, CONSUMER = "bare", "bare.0"
COUNT = 500  #: messages in one read at the most


def publish(task: Task) -> None:
    """As the bare loop does."""
    bare.publish(task, "XADD", task.topic, "*", "b")


def subscribe(task: Task) -> None:
    """Read, decode, count; acknowledge a batch together with asking for the next."""
    connection, reader, handle = connect(task.url), hiredis.Reader(), task.handler()
    read = pack("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", str(COUNT), "BLOCK", "0", "STREAMS", task.topic, ">")
    connection.sendall(pack("XGROUP", "CREATE", task.topic, GROUP, "$", "MKSTREAM") + read)
    while data := connection.recv(262_144):
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, list):
                connection.sendall(pack("XACK", task.topic, GROUP, *handled(reply[0][1], handle)) + read)


def handled(entries: list[Any], handle: Any) -> list[bytes]:
    """Handle all of them, and return their ids."""
    for _, fields in entries:
        handle(orjson.loads(fields[1])["d"])
    return [entry for entry, _ in entries]


if __name__ == "__main__":
    roles.run(publish=publish, subscribe=subscribe)
