"""Nodes as processes: signals, time limits, numbers and lives, Redis that is away or has forgotten."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest

from hivemind.node.runner import wait_for_socket
from tests.bus_kit import on_bus
from tests.node_kit import NodeProcess, Workshop, registered, workshop
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.waiting import eventually, eventually_async

TICKER = """
    from hivemind import Node, service

    class Ticker(Node):
        @service("tick", every=0.1)
        def tick(self, service):
            service.send(1)
"""
LISTENER = """
    from hivemind import Node, subscription

    class Listener(Node):
        @subscription("tick")
        def hear(self, payload, message):
            print("heard", message.sequence, flush=True)
"""


def test_a_socket_that_comes_a_little_later_is_waited_for_and_no_other_redis(tmp_path: Path) -> None:
    late = tmp_path / "redis one.sock"
    threading.Timer(0.1, late.touch).start()
    wait_for_socket(f"unix://{quote(str(late))}?db=0", limit=10.0)
    assert late.exists()
    began = time.monotonic()
    wait_for_socket("redis://127.0.0.1:1", limit=60.0)
    wait_for_socket(f"unix://{tmp_path}/never.sock", limit=0.1)
    assert time.monotonic() - began < 10.0


@pytest.fixture
def shop(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, server, hive_name) as made:
        yield made


@pytest.fixture
def own_shop(tmp_path: Path, own_server: RedisServer, hive_name: str) -> Iterator[Workshop]:
    with workshop(tmp_path, own_server, hive_name) as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_politely(shop: Workshop, server: RedisServer, number: int) -> None:
    shop.write("ticker.py", TICKER)
    node = shop.run("ticker.py")
    node.says("running: sends tick")
    node.signal(number)
    assert node.ends(within=5) == 0
    assert registered(server, shop.hive, "ticker.0") is None


def test_a_node_started_with_interrupts_ignored_can_be_interrupted(shop: Workshop) -> None:
    shop.write("ticker.py", TICKER)
    shop.write(
        "start.py",
        "import os, signal, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'hivemind.node', 'ticker.py'])\n",
    )
    node = shop.python("start.py")
    node.says("running")
    node.signal(signal.SIGINT)
    assert node.ends(within=5) == 0


def test_a_service_that_sleeps_in_time_sleep_is_named_and_does_not_hold_up_the_stop(shop: Workshop) -> None:
    shop.write(
        "sleeper.py",
        """
        import time
        from hivemind import Node, service

        class Sleeper(Node):
            @service("tick")
            def doze(self):
                print("asleep", flush=True)
                time.sleep(600)
    """,
    )
    node = shop.run("sleeper.py", HIVEMIND_STOP_TIMEOUT="3")
    node.says("asleep")
    began = time.monotonic()
    node.signal(signal.SIGTERM)
    assert node.ends(within=6) == 0
    assert time.monotonic() - began < 5
    assert "use service.sleep_for" in node.output
    assert "time.sleep(600)" in node.output


def test_a_second_interrupt_ends_a_node_at_once(shop: Workshop) -> None:
    shop.write(
        "stuck.py",
        """
        import threading
        from hivemind import Node, service

        class Stuck(Node):
            @service("tick")
            def hang(self):
                print("stuck", flush=True)
                threading.Event().wait()
    """,
    )
    node = shop.run("stuck.py", HIVEMIND_STOP_TIMEOUT="60")
    node.says("stuck")
    node.signal(signal.SIGINT)
    node.says("stopping; once more ends it at once")
    node.signal(signal.SIGINT)
    assert node.ends(within=3) == 130


def test_a_node_waits_for_redis_and_says_so(own_shop: Workshop, own_server: RedisServer) -> None:
    own_server.stop()
    own_shop.write("ticker.py", TICKER)
    node = own_shop.run("ticker.py")
    node.says("waiting for Redis")
    own_server.start()
    node.says("running: sends tick")


def test_a_node_that_waits_for_redis_can_be_stopped(own_shop: Workshop, own_server: RedisServer) -> None:
    own_server.stop()
    own_shop.write("ticker.py", TICKER)
    node = own_shop.run("ticker.py")
    node.says("waiting for Redis")
    node.signal(signal.SIGTERM)
    assert node.ends(within=6) == 0


def test_copies_started_by_hand_take_the_lowest_free_numbers(shop: Workshop, server: RedisServer) -> None:
    shop.write("ticker.py", TICKER)
    first, second = shop.run("ticker.py"), shop.run("ticker.py")
    for node in (first, second):
        node.says("running")
    assert registered(server, shop.hive, "ticker.0") is not None
    assert registered(server, shop.hive, "ticker.1") is not None


def test_a_program_whose_number_is_held_stands_by_and_takes_over(shop: Workshop, server: RedisServer) -> None:
    shop.write("ticker.py", TICKER)
    holder = shop.run("ticker.py", "--number", "0")
    holder.says("running")
    standby = shop.run("ticker.py", "--number", "0")
    standby.says(f"standing by: ticker.0 is held by process {holder.pid} on ")
    holder.signal(signal.SIGTERM)
    assert holder.ends() == 0
    standby.says("running")
    entry = registered(server, shop.hive, "ticker.0")
    assert entry is not None
    assert entry["pid"] == standby.pid


def test_a_killed_node_is_replaced_at_once_on_the_same_machine(shop: Workshop) -> None:
    shop.write("ticker.py", TICKER)
    killed = shop.run("ticker.py", "--number", "0", HIVEMIND_LEASE="600")
    killed.says("running")
    killed.signal(signal.SIGKILL)
    killed.ends()
    shop.run("ticker.py", "--number", "0").says("running", within=5)


def test_a_node_whose_start_fails_says_why_and_exits_with_1(shop: Workshop, server: RedisServer) -> None:
    shop.write(
        "bad.py",
        """
        from hivemind import Node

        class Bad(Node):
            def on_start(self):
                raise OSError("no camera")
    """,
    )
    node = shop.run("bad.py")
    assert node.ends() == 1
    assert "no camera" in node.output
    assert registered(server, shop.hive, "bad.0") is None


def test_a_node_of_hived_that_cannot_be_loaded_says_why_in_its_log_and_nowhere_else(shop: Workshop) -> None:
    shop.write("bad.py", "def x(")
    logs = shop.folder / "logs"
    arguments = ("bad.py", "--name", "bad", "--number", "1")
    node = shop.run(*arguments, HIVEMIND_SUPERVISED="1", HIVEMIND_LOG_LOCATION=str(logs))
    assert node.ends() == 1
    assert node.output == ""
    assert "bad.py:1: SyntaxError" in (logs / "bad-1.log").read_text()


async def test_a_node_that_is_stopped_before_it_knows_that_it_is_registered_leaves_nothing_behind(
    shop: Workshop, server: RedisServer
) -> None:
    shop.write("ticker.py", TICKER)
    async with Proxy(server.socket, latency=0.4) as proxy:
        node = shop.run("ticker.py", HIVEMIND_REDIS_URL=f"redis://127.0.0.1:{proxy.port}")
        await eventually_async(lambda: registered(server, shop.hive, "ticker.0"), within=15)
        node.signal(signal.SIGINT)
        await eventually_async(lambda: node.process.poll() == 0, within=15)
    assert "running" not in node.output
    assert server.command("SMEMBERS", f"hm:{{{shop.hive}}}:nodes") == []


def test_redis_losing_all_its_data_heals_within_a_beat(own_shop: Workshop, own_server: RedisServer) -> None:
    own_shop.write("ticker.py", TICKER)
    node = own_shop.run("ticker.py")
    node.says("running")
    before = eventually(lambda: registered(own_server, own_shop.hive, "ticker.0"))
    assert before is not None
    own_server.command("FLUSHALL")
    own_server.command("FUNCTION", "FLUSH")
    after = eventually(lambda: registered(own_server, own_shop.hive, "ticker.0"), within=2)
    assert after is not None
    assert (after["incarnation"], after["pid"]) == (before["incarnation"], node.pid)


async def test_who_registers_again_says_what_it_sends_so_that_receivers_watch_it(
    own_shop: Workshop, own_server: RedisServer
) -> None:
    own_shop.write("ticker.py", TICKER)
    notices: list[dict[str, object]] = []
    async with on_bus(own_server.url, "alfred.0", own_shop.hive) as bus:
        bus.live.listen(bus.names.control("node"), lambda body: notices.append(orjson.loads(body)))

        def joined() -> list[dict[str, object]]:
            return [each for each in notices if each["event"] == "joined"]

        await bus.live.confirmed()
        own_shop.run("ticker.py")
        await eventually_async(lambda: len(joined()) == 1, within=15)
        own_server.command("FLUSHALL")
        await eventually_async(lambda: len(joined()) == 2, within=5)
    first, again = joined()
    assert again == first
    assert first["topics"] == ["tick"]


def test_a_receiver_goes_on_where_it_was_when_redis_has_forgotten_everything(
    own_shop: Workshop, own_server: RedisServer
) -> None:
    own_shop.write("ticker.py", TICKER)
    own_shop.write("listener.py", LISTENER)
    listener = own_shop.run("listener.py")
    listener.says("running")
    own_shop.run("ticker.py")
    listener.says("heard 5\n")
    own_server.restart(keep_data=False, kill=True)
    listener.says("heard 30\n", within=20)
    heard = [int(line.split()[1]) for line in listener.output.splitlines() if line.startswith("heard ")]
    assert heard == list(range(heard[0], heard[-1] + 1))


def test_a_thawed_left_over_is_fenced_and_says_nothing(shop: Workshop, server: RedisServer) -> None:
    shop.write("ticker.py", TICKER)
    zombie = shop.run("ticker.py", "--number", "0")
    zombie.says("running")
    zombie.signal(signal.SIGSTOP)
    eventually(lambda: registered(server, shop.hive, "ticker.0") is None, within=5)
    successor = shop.run("ticker.py", "--number", "0")
    successor.says("running")
    zombie.signal(signal.SIGCONT)
    assert zombie.ends(within=10) == 0
    assert "this left-over stops" in zombie.output
    entry = registered(server, shop.hive, "ticker.0")
    assert entry is not None
    assert entry["pid"] == successor.pid


def test_a_node_under_a_debugger_has_an_hours_lease_and_is_not_watched(shop: Workshop, server: RedisServer) -> None:
    shop.write("ticker.py", TICKER)
    code = """
        import runpy, sys
        sys.argv = ["node", "ticker.py"]
        sys.settrace(lambda frame, event, argument: None)  # what a debugger does
        runpy.run_module("hivemind.node", run_name="__main__")
    """
    shop.write("debug.py", code)
    shop.python("debug.py").says("running", within=30)
    entry = registered(server, shop.hive, "ticker.0")
    assert entry is not None
    assert (entry["lease"], entry["watched"]) == (3600.0, False)


def test_a_node_that_pdb_runs_is_under_a_debugger_also_while_it_is_not_stepping(shop: Workshop) -> None:
    shop.write("look.py", "from hivemind.node.life import is_under_debugger\nprint('debugged', is_under_debugger())")
    command = [sys.executable, "-m", "pdb", "-c", "continue", "-c", "quit", str(shop.folder / "look.py")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert "debugged True" in done.stdout


def test_sigusr1_writes_the_stacks_of_all_threads(shop: Workshop) -> None:
    shop.write("ticker.py", TICKER)
    node = shop.run("ticker.py")
    node.says("running")
    node.signal(signal.SIGUSR1)
    assert "most recent call first" in node.says("_run_thread")


def test_a_module_of_decorated_functions_is_a_node(shop: Workshop) -> None:
    shop.write(
        "greeter.py",
        """
        from hivemind import service, subscription

        @service("greeting", every=0.1)
        def greet(service):
            service.send("hello")

        @subscription("greeting")
        async def hear(payload: str, message, node):
            print(node.name, message.sender, payload, flush=True)
    """,
    )
    shop.run("greeter.py").says("greeter greeter.0 hello")


def test_importing_node_loads_neither_the_web_nor_the_command_line() -> None:
    heavy = "{'starlette', 'uvicorn', 'click', 'rich', 'jinja2'}"
    command = [sys.executable, "-c", f"import sys, hivemind; hivemind.Node; print({heavy} & set(sys.modules))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_instance_silent_for_a_day_is_forgotten_when_somebody_registers(shop: Workshop, server: RedisServer) -> None:
    nodes = f"hm:{{{shop.hive}}}:nodes"
    server.command("SADD", nodes, "gone.0", "resting.0")
    server.command("SET", f"hm:{{{shop.hive}}}:epoch:resting.0", 1)
    shop.write("ticker.py", TICKER)
    shop.run("ticker.py").says("running")
    assert set(server.command("SMEMBERS", nodes)) == {"resting.0", "ticker.0"}


def test_a_receiver_learns_of_a_sender_before_its_first_message(shop: Workshop, server: RedisServer) -> None:
    shop.write("listener.py", LISTENER)
    shop.write("ticker.py", TICKER.replace("every=0.1", "every=600").replace("service.send(1)", "pass"))
    shop.run("listener.py").says("running")
    shop.run("ticker.py").says("running")
    beat = f"hm:{shop.hive}:b:ticker.0"
    eventually(lambda: server.command("PUBSUB", "NUMSUB", beat)[1] == 2)  # it hears itself, too


BLOCKED = """
    from hivemind import Node, subscription

    class Blocked(Node):
        @subscription("go")
        async def spin(self, payload):
            print("spinning", flush=True)
            while True:
                pass
"""


@pytest.fixture
def blocked(shop: Workshop, server: RedisServer) -> NodeProcess:
    """A node whose event loop does not turn any more."""
    shop.write("blocked.py", BLOCKED)
    node = shop.run("blocked.py", HIVEMIND_STOP_TIMEOUT="2")
    node.says("running")
    server.command("PUBLISH", f"hm:{shop.hive}:t:go", "1")
    node.says("spinning")
    return node


def test_a_node_whose_loop_is_blocked_ends_itself_and_shows_where_it_was(blocked: NodeProcess) -> None:
    blocked.signal(signal.SIGTERM)
    assert blocked.ends(within=6) == 1
    assert "did not stop in time" in blocked.output
    assert "in spin" in blocked.output


def test_a_node_whose_loop_is_blocked_ends_at_once_when_told_twice(blocked: NodeProcess) -> None:
    blocked.signal(signal.SIGINT)
    blocked.signal(signal.SIGTERM)
    assert blocked.ends(within=1.5) == 130


def test_an_error_that_is_no_utf8_does_not_stop_the_heart(shop: Workshop, server: RedisServer) -> None:
    shop.write(
        "odd.py",
        """
        from hivemind import Node, service

        class Odd(Node):
            @service("tick", every=0.1)
            def tick(self, service):
                service.send(1)
                raise ValueError("cannot read caf\\udce9")
    """,
    )
    shop.run("odd.py").says("cannot read caf")
    eventually(lambda: "cannot read" in str(registered(server, shop.hive, "odd.0")))


def test_what_a_node_prints_is_seen_at_once_also_where_it_goes_to_a_file(shop: Workshop) -> None:
    shop.write("listener.py", LISTENER.replace(", flush=True", ""))
    shop.write("ticker.py", TICKER)
    listener = shop.run("listener.py", PYTHONUNBUFFERED="")
    listener.says("running")
    shop.run("ticker.py")
    listener.says("heard 3")
