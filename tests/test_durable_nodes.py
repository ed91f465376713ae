"""Durable delivery between nodes in processes of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cli_kit import Place
from .node_kit import Workshop, workshop
from .servers import RedisServer
from .waiting import eventually

SENDER = """
    from hivemind import Node, service

    class Orders(Node):
        @service("order-new", durable=True)
        def sell(self, service):
            for number in range(COUNT):
                service.send(number)
            service.flush()
            print("sold", flush=True)
            return 1
"""
SHOP = """
    import os, time
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("order-*", durable=True, since="all", retries=2, backoff=(0.05, 0.2))
        ASYNC def pack(self, payload, message):
            BODY
            print("packed", payload, message.deliveries, flush=True)
"""


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        yield made


def packer(body: str = "pass", is_async: bool = True) -> str:
    return SHOP.replace("BODY", body).replace("ASYNC ", "async " if is_async else "")


@pytest.mark.parametrize("is_async", [True, False])
def test_what_was_sent_while_nobody_was_there_is_handled_once(shop: Workshop, is_async: bool) -> None:
    shop.write("orders.py", SENDER.replace("COUNT", "200"))
    shop.write("shop.py", packer(is_async=is_async))
    shop.run("orders.py").says("sold")
    first = shop.run("shop.py")
    output = first.says("packed 199 1")
    assert [line for line in output.splitlines() if line.startswith("packed")] == [
        f"packed {number} 1" for number in range(200)
    ]
    first.signal(signal.SIGTERM)
    assert first.ends() == 0
    shop.run("shop.py").says("running")
    shop.run("orders.py").says("sold")


def test_what_a_killed_node_held_is_handled_by_its_copy(shop: Workshop) -> None:
    shop.write("orders.py", SENDER.replace("COUNT", "20"))
    dies = "payload == 5 and not os.path.exists('killed')"
    shop.write("shop.py", packer(f"(open('killed', 'x').close(), os.kill(os.getpid(), 9)) if {dies} else None"))
    first = shop.run("shop.py", "--number", "0")
    second = shop.run("shop.py", "--number", "1")
    first.says("running")
    second.says("running")
    shop.run("orders.py").says("sold")

    def packed() -> set[int]:
        text = first.output + second.output
        return {int(line.split()[1]) for line in text.splitlines() if line.startswith("packed")}

    eventually(lambda: packed() == set(range(20)), within=15)


POISON = """
    import os
    from hivemind import Node, subscription

    class Shop(Node):
        @subscription("order-*", durable=True, since="all", retries=1, workers=3)
        def pack(self, payload):
            if payload == 7:
                os.kill(os.getpid(), 9)
            print("packed", payload, flush=True)
"""


def test_a_message_that_kills_its_process_takes_no_other_with_it_whatever_workers_says(shop: Workshop) -> None:
    shop.write("orders.py", SENDER.replace("COUNT", "30"))
    shop.write("shop.py", POISON)
    shop.run("orders.py").says("sold")
    packed: set[int] = set()
    for _ in range(3):
        ended = shop.run("shop.py")
        assert ended.ends() == -9
        packed |= {int(line.split()[1]) for line in ended.output.splitlines() if line.startswith("packed")}
    last = shop.run("shop.py")
    missing = set(range(30)) - packed - {7}
    eventually(lambda: all(f"packed {number}\n" in last.output for number in missing), within=10)
    last.signal(signal.SIGTERM)
    assert last.ends() == 0


def test_what_cannot_be_bound_is_one_line_in_hm_run(here: Place) -> None:
    here.write(
        "odd.py",
        """
from hivemind import Node, subscription
class Odd(Node):
    @subscription("order", durable=True, timeout=3)
    def pack(self, payload): ...
""",
    )
    done = here.run("run", "odd.py")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    assert "odd.py:4: Odd.pack: timeout= needs an async def" in said
