"""Instances that exist only in the registry, written as docs/wire.md describes it, with their beats."""

from __future__ import annotations

import socket
import time

import orjson
from redis import Redis

from ..task import Task
from . import roles

HEARTBEAT, LEASE = 2.0, 6.0
PARTS = 20  #: portions in which a heartbeat's work is done
_SERVICE = {"name": "simulated", "state": "running", "sent": 0, "restarts": 0, "error": ""}
_SUBSCRIPTION = {"pattern": "simulated", "handler": "handle", "workers": 1, "received": 0, "handled": 0}


def beat(task: Task) -> None:
    """Register ``count`` instances and beat for them until ended."""
    life = time.time_ns() // 1_000_000
    with Redis.from_url(task.url) as redis:
        names = [f"simulated.{number}" for number in range(task.count)]
        register(redis, names, life)
        task.open().handled[task.slot] = len(names)
        turn = 0
        while True:
            turn += 1
            report(redis, names[turn % PARTS :: PARTS], life, turn)
            time.sleep(HEARTBEAT / PARTS)


def register(redis: Redis, names: list[str], life: int) -> None:
    """Enter them."""
    about = {"host": socket.gethostname(), "pid": 1, "started": time.time(), "lease": LEASE, "watched": False}
    about |= {"version": "0", "python": "3", "metadata": {}, "process": None}
    pipe = redis.pipeline(transaction=False)
    for name in names:
        described = orjson.dumps({"node": "simulated", **about})
        pipe.hset(key(name), items=["incarnation", life, "about", described, "stats", stats(0)])
        pipe.sadd("hm:{default}:nodes", name)
        pipe.pexpire(key(name), 60_000)  # until the first beat
    pipe.execute()


def report(redis: Redis, names: list[str], life: int, turn: int) -> None:
    """One beat for each of ``names``."""
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.pexpire(key(name), int(LEASE * 1000))
        beat = {"n": name, "e": life, "t": time.time(), "last": {"simulated": turn}}
        pipe.publish(f"hm:default:b:{name}", orjson.dumps(beat))
        pipe.hset(key(name), "stats", stats(turn))
    pipe.execute()


def key(name: str) -> str:
    """The hash of an instance."""
    return f"hm:{{default}}:node:{name}"


def stats(count: int) -> bytes:
    """What an instance says of itself."""
    service, subscription = _SERVICE | {"sent": count}, _SUBSCRIPTION | {"received": count, "handled": count}
    return orjson.dumps({"state": "running", "services": [service], "subscriptions": [subscription], "outbox": 0})


if __name__ == "__main__":
    roles.run(beat=beat)
