"""Several nodes in one process: what they share, and what one of them cannot do to the others."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .node_kit import NodeProcess, Workshop, registered, workshop
from .servers import RedisServer
from .waiting import eventually

PENGUIN = """
    from hivemind import Node, service, subscription

    class Penguin(Node):
        @service("egg", every=0.1)
        def lay(self, service):
            service.send(self.instance)

        @subscription("egg")
        def hear(self, payload, message):
            print("penguin heard", payload, message.sequence, flush=True)

        def metadata(self):
            return {"home": "iceberg"}

        async def on_start(self):
            self.log_info(f"on_start in {self.settings.name}")

        def on_shutdown(self):
            self.log_info("on_shutdown")
"""
RIDDLER = """
    from hivemind import service, subscription

    @subscription("egg")
    async def riddle(payload, node):
        if not getattr(node, "asked", False):
            node.asked = True
            node.log_info(f"riddler heard {payload}")
        raise ValueError("riddle me this")
"""
TOGETHER = ("penguin=penguin.py", "riddler=riddler.py", "--name", "small")


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        made.write("penguin.py", PENGUIN)
        made.write("riddler.py", RIDDLER)
        yield made


def members(server: RedisServer, shop: Workshop) -> dict[str, str]:
    """State by member, as the registry has it."""
    found: dict[str, Any] = registered(server, shop.hive, "small.0") or {"members": []}
    return {each["name"]: each["state"] for each in found["members"]}


def running(shop: Workshop, *targets: str) -> NodeProcess:
    node = shop.run(*targets)
    node.says("small.0  running: ")
    return node


def test_members_are_one_instance_and_each_gets_every_message(shop: Workshop, server: RedisServer) -> None:
    node = running(shop, *TOGETHER)
    node.says("penguin heard small.0 2")
    node.says("riddler  riddler heard small.0")
    found = registered(server, shop.hive, "small.0")
    assert found is not None
    assert found["pid"] == node.pid
    assert members(server, shop) == {"penguin": "running", "riddler": "running"}
    assert [(each["name"], each["member"]) for each in found["services"]] == [("egg", "penguin")]
    assert [each["member"] for each in found["subscriptions"]] == ["penguin", "riddler"]
    assert found["metadata"] == {"penguin.home": "iceberg"}
    assert server.command("SMEMBERS", f"hm:{{{shop.hive}}}:nodes") == ["small.0"]


def test_members_share_the_connections_to_redis(shop: Workshop, server: RedisServer) -> None:
    running(shop, *TOGETHER).says("riddler heard")

    clients = server.command("CLIENT", "LIST").split()
    assert [clients.count(f"name=hm:small:{each}@{shop.hive}") for each in ("out", "live")] == [1, 1]


def test_hooks_and_logs_of_each_member_are_its_own(shop: Workshop, server: RedisServer) -> None:
    node = running(shop, *TOGETHER)
    node.says(f"penguin  on_start in {shop.hive}")
    node.says("riddler  riddle failed on a message of egg")
    node.signal(signal.SIGTERM)
    assert node.ends(within=5) == 0
    assert "penguin  on_shutdown" in node.output
    assert registered(server, shop.hive, "small.0") is None


def test_a_member_that_cannot_be_loaded_is_left_out_with_file_and_line(shop: Workshop, server: RedisServer) -> None:
    broken = shop.write("joker.py", "\nimport no_such_module\n")
    node = running(shop, "joker=joker.py", *TOGETHER)
    node.says(f"joker  left out, the others run: {broken}:2: ModuleNotFoundError")
    node.says("penguin heard")
    eventually(lambda: members(server, shop) == {"penguin": "running", "riddler": "running", "joker": "broken"})


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "def __init__(self): 1 / 0"])
def test_whatever_a_member_does_when_it_is_built_the_others_run(shop: Workshop, fault: str) -> None:
    shop.write("joker.py", f"from hivemind import Node\nclass Joker(Node):\n    {fault}\n")
    running(shop, "joker=joker.py", *TOGETHER).says("penguin heard")


def test_a_process_none_of_whose_members_can_be_loaded_ends(shop: Workshop) -> None:
    node = shop.run("joker=nowhere.py", "--name", "small")
    assert node.ends() == 1
    assert "none of joker can be loaded" in node.output


def test_a_member_whose_start_fails_is_tried_again_and_the_others_run(shop: Workshop, server: RedisServer) -> None:
    shop.write(
        "joker.py",
        """
        from pathlib import Path
        from hivemind import Node, service

        class Joker(Node):
            def on_start(self):
                Path("cards").read_text()

            @service("joke", every=60)
            def joke(self, service):
                service.send("ha")
        """,
    )
    node = running(shop, "joker=joker.py", *TOGETHER)
    node.says("joker  cannot start; it is tried again")
    node.says("penguin heard")
    eventually(lambda: members(server, shop)["joker"] == "starting")
    (shop.folder / "cards").write_text("52")
    node.says("joker  running: sends joke")
    eventually(lambda: members(server, shop)["joker"] == "running")


def test_a_member_whose_start_was_cancelled_by_itself_is_tried_again(shop: Workshop) -> None:
    shop.write(
        "joker.py",
        """
        import asyncio
        from hivemind import Node

        class Joker(Node):
            async def on_start(self):
                raise asyncio.CancelledError
        """,
    )
    node = running(shop, "joker=joker.py", *TOGETHER)
    node.says("joker  cannot start; it is tried again")
    node.says("penguin heard")


def test_a_process_whose_member_never_starts_can_be_stopped(shop: Workshop, server: RedisServer) -> None:
    shop.write("joker.py", "from hivemind import Node\nclass Joker(Node):\n    def on_start(self): 1 / 0\n")
    node = running(shop, "joker=joker.py", *TOGETHER)
    node.signal(signal.SIGTERM)
    assert node.ends(within=5) == 0
    assert registered(server, shop.hive, "small.0") is None


def test_the_process_stops_in_time_whatever_its_members_do(shop: Workshop, server: RedisServer) -> None:
    shop.write(
        "joker.py",
        """
        import asyncio
        from hivemind import Node

        class Joker(Node):
            async def on_shutdown(self):
                await asyncio.sleep(3600)
        """,
    )
    shop.write("sleepy.py", "from hivemind import Node\nclass Sleepy(Node):\n    def on_shutdown(self): 1 / 0\n")
    node = shop.run("joker=joker.py", "sleepy=sleepy.py", *TOGETHER, HIVEMIND_STOP_TIMEOUT="3")
    node.says("small.0  running: ")
    node.signal(signal.SIGTERM)
    assert node.ends(within=4) == 0
    assert "joker  on_shutdown did not end in time" in node.output
    assert "sleepy  on_shutdown failed" in node.output
    assert "penguin  on_shutdown" in node.output
    assert registered(server, shop.hive, "small.0") is None


@pytest.mark.parametrize("arguments", [("penguin.py", "riddler.py", "--name", "small"), ("penguin=penguin.py",)])
def test_several_nodes_need_names_and_the_process_does(shop: Workshop, arguments: tuple[str, ...]) -> None:
    node = shop.run(*arguments)
    assert node.ends() == 2
    assert "NAME=TARGET for each, and a --name for the process" in node.output


def test_a_member_that_waits_for_what_it_needs_delays_no_other(shop: Workshop, server: RedisServer) -> None:
    needs = '{"riddler": {"process": "small", "needs": ["joker"]}, "penguin": {"process": "small"}}'
    node = shop.run(*TOGETHER, HIVEMIND_NODES=needs)
    node.says("penguin heard")
    node.says("riddler  waits for joker: it begins when that consumes")
    eventually(lambda: members(server, shop) == {"penguin": "running", "riddler": "waiting"})
    shop.write("joker.py", "from hivemind import Node\nclass Joker(Node):\n    pass\n")
    shop.run("joker.py")
    node.says("riddler heard")
    eventually(lambda: members(server, shop) == {"penguin": "running", "riddler": "running"})
