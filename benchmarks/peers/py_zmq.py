"""pyzmq: blocking PUB and SUB sockets, without a high water mark, because at that they drop messages."""

from __future__ import annotations

import time

import orjson
import zmq

from ..task import Task
from . import roles


def publish(task: Task) -> None:
    """Topic and body in one multipart message."""
    sender, topic = task.sender(), task.topic.encode()
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.set_hwm(0)
        socket.bind(task.url)
        while not sender.is_over:
            for payload in sender.payloads():
                socket.send_multipart([topic, orjson.dumps(payload)])
            if sender.pause:
                time.sleep(sender.pause)
    # leaving the context waits until all is sent


def subscribe(task: Task) -> None:
    """A loop."""
    handle = task.handler()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.set_hwm(0)
        socket.subscribe(task.topic)
        socket.connect(task.url)
        while True:
            _, body = socket.recv_multipart()
            handle(orjson.loads(body))


if __name__ == "__main__":
    roles.run(publish=publish, subscribe=subscribe)
