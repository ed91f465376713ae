"""A process that publishes at a steady rate: ``python -m tests.publisher SOCKET CHANNEL LIFE RATE SECONDS``."""

from __future__ import annotations

import socket
import sys
import threading
import time

TICK = 0.005


def publish(path: str, channel: str, life: int, rate: float, seconds: float) -> int:
    """Publish envelopes of the sender load.0 in its ``life``, numbered from 1, and return how many."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        threading.Thread(target=_swallow, args=(stream,), daemon=True).start()
        begun, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - begun) < seconds:
            due = int(elapsed * rate)
            stream.sendall(b"".join(_command(channel, life, number) for number in range(sent + 1, due + 1)))
            sent = max(sent, due)
            time.sleep(TICK)
        return sent


def _command(channel: str, life: int, sequence: int) -> bytes:
    body = f'{{"v":1,"n":"load.0","e":{life},"s":{sequence},"t":1.5,"d":{{"i":{sequence},"unit":"C"}}}}'
    return f"*3\r\n$7\r\nPUBLISH\r\n${len(channel)}\r\n{channel}\r\n${len(body)}\r\n{body}\r\n".encode()


def _swallow(stream: socket.socket) -> None:
    try:
        while stream.recv(65536):
            pass
    except OSError:
        pass  # the main thread has closed it


if __name__ == "__main__":
    publish(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
