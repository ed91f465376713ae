"""`hm run` and `hm root`: one process in this terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cli_kit import RECEIVER, SENDER, Place, place
from .servers import RedisServer

HIVE = 'HIVE_NAME = "gotham"\nLOG_LOCATION = "logs"\nNODES = {"robin": {"target": "heroes:Robin"}}\n'
HEROES = SENDER.replace("Sender", "Robin").replace("numbers", "birds") + SENDER.replace("Sender", "Batgirl")


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    with place(tmp_path, HIVEMIND_REDIS_URL=server.url, HIVEMIND_HIVE_NAME=hive_name) as made:
        made.write("sender.py", SENDER)
        yield made


@pytest.fixture
def hive(here: Place) -> Place:
    here.write("config/hive.py", HIVE)
    here.write("nodes/__init__.py", "from .sender import sender\nfrom . import broken\n")
    here.write("nodes/sender/sender.py", SENDER)
    here.write("nodes/broken.py", "import nothing_of_that_name\n")
    here.write("heroes.py", HEROES)
    return here


def test_who_still_needs_the_hives_own_redis_is_named_when_it_is_stopped(tmp_path: Path, server_program: Path) -> None:
    with place(tmp_path, HIVEMIND_REDIS_SERVER=str(server_program)) as here:
        here.write("sender.py", SENDER)
        here.hm("run", "sender.py").says("running")
        done = here.run("redis", "stop")
        assert done.stdout == "stopped\n"
        assert "still running, and waiting for it from now on: sender.0; `hm run`" in done.stderr


@pytest.mark.parametrize("target", ["sender.py", "./sender.py", "sender", "sender:Sender", "sender.py:Sender"])
def test_a_node_runs_from_a_file_or_a_module_with_class_or_without(here: Place, target: str) -> None:
    node = here.hm("run", target)
    node.says("sender.0  running: sends numbers")
    assert node.end() == 0


def test_it_says_first_which_hive_on_which_redis(here: Place, server: RedisServer, hive_name: str) -> None:
    node = here.hm("run", "sender.py")
    node.says("running")
    assert node.stderr.splitlines()[0] == f"hive {hive_name} on {server.url}"


@pytest.mark.parametrize(
    ("target", "says"), [("sender", "sender.1  "), ("robin", "robin.1  "), ("heroes:Robin", "robin.1  ")]
)
def test_a_node_of_the_hive_is_known_by_its_name_and_comes_after_those_of_hived(
    hive: Place, target: str, says: str
) -> None:
    node = hive.hm("run", target)
    node.says(f"{says}running")
    assert node.end() == 0


def test_what_a_node_prints_is_on_standard_output_alone(here: Place) -> None:
    here.write("receiver.py", RECEIVER)
    sender, receiver = here.hm("run", "sender.py"), here.hm("run", "receiver.py")
    sender.says("running")
    receiver.says("\n1")
    assert all(line.isdigit() for line in receiver.stdout.split())


def test_verbose_shows_debug_lines(here: Place) -> None:
    here.write("chatty.py", SENDER.replace("service.send", "self.log_debug('psst'); service.send"))
    quiet, verbose = here.hm("run", "chatty.py"), here.hm("run", "-v", "chatty.py")
    verbose.says("DEBUG    sender")
    quiet.says("running")
    assert "psst" not in quiet.stderr


def test_a_mistyped_node_is_answered_with_what_was_meant_and_what_there_is(hive: Place) -> None:
    done = hive.run("run", "sendr")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "error: there is no node, module or file called 'sendr', did you mean sender? "
        "The nodes are: broken, robin, sender\n"
    )


def test_a_mistyped_file_is_answered_with_the_file_that_was_meant(here: Place) -> None:
    done = here.run("run", "./sendr.py")
    assert (done.returncode, done.stderr.endswith(", did you mean sender.py?\n")) == (2, True)


def test_a_mistyped_class_is_answered_with_those_of_the_file(hive: Place) -> None:
    done = hive.run("run", "heroes.py:Robbin")
    assert (done.returncode, "has no node class 'Robbin'; it has Robin, Batgirl" in done.stderr) == (1, True)


def test_a_node_that_cannot_be_loaded_is_one_line_with_file_and_line(hive: Place) -> None:
    done = hive.run("run", "broken")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 2
    assert f"{hive.folder}/nodes/broken.py:1: ModuleNotFoundError" in done.stderr
    assert "Traceback" in hive.run("run", "-v", "broken").stderr


def test_several_nodes_in_one_file_ask_for_a_class(hive: Place) -> None:
    done = hive.run("run", "heroes.py")
    assert (done.returncode, "name one: heroes.py:Class" in done.stderr) == (1, True)


def test_a_node_waits_for_a_redis_that_is_away_and_still_ends_on_ctrl_c(here: Place) -> None:
    node = here.hm("run", "sender.py", HIVEMIND_REDIS_URL="redis://127.0.0.1:1")
    node.says("waiting for Redis")
    assert node.end() == 0


def test_the_root_serves_the_page_of_the_hive_one_is_in(hive: Place, hive_name: str) -> None:
    root = hive.hm("root", HIVEMIND_HIVE_DEFAULT_PORT="0")
    root.says("the page of")
    root.says("running")
    assert root.stderr.startswith(f"hive {hive_name} on ")
    assert root.end() == 0


UNBOUND = {
    "two responders are called 'sum'": """
class Bad(Node):
    @responder("sum")
    def one(self, payload): ...
    @responder("sum")
    def two(self, payload): ...
""",
    "two durable subscriptions to 'a' in group 'bad'": """
class Bad(Node):
    @subscription("a", durable=True)
    def one(self, payload): ...
    @subscription("a", durable=True)
    def two(self, payload): ...
""",
    "a service function takes nothing or the service": """
class Bad(Node):
    def services(self):
        self.add_service(
            "a", lambda one, two: 0)
""",
    "'a b' cannot be the name of a pattern": """
class Bad(Node):
    def subscriptions(self):

        self.add_subscription("a b", print)
""",
    "resource 'two' takes other": """
class Bad(Node):
    @resource
    def one(self): ...
    @resource
    def two(self, other): ...
""",
    "OSError: no camera": """
class Bad(Node):
    def __init__(self):
        super().__init__("bad")
        raise OSError("no camera")
""",
}


def test_in_no_hive_one_is_told_so_and_what_fails_leaves_no_redis_behind(tmp_path: Path, server_program: Path) -> None:
    with place(tmp_path, HIVEMIND_REDIS_SERVER=str(server_program)) as here:
        here.write("bad.py", SENDER.replace("(self, service)", "(self, one, two)"))
        for command in (("run", "oven"), ("why", "oven"), ("status",)):
            done = here.run(*command)
            assert "you are in no hive" in done.stderr + done.stdout
        assert "bad.py:4: " in here.run("run", "bad.py").stderr
        assert "not running" in here.run("redis", "status").stdout
        assert not [*tmp_path.rglob("redis.sock"), *tmp_path.rglob("redis.conf")]


@pytest.mark.parametrize("says", UNBOUND, ids=lambda says: says[:20])
def test_what_cannot_be_bound_is_one_line_with_the_line_that_is_to_blame(here: Place, says: str) -> None:
    head = "from hivemind import Node, resource, responder, service, subscription\n"
    file = here.write("bad.py", head + UNBOUND[says])
    done = here.run("run", "bad.py")
    error = [line for line in done.stderr.splitlines() if says in line]
    assert (done.returncode, len(error)) == (1, 1)
    assert re.search(rf"{file}:[5-7]: ", error[0]), error
    assert "Traceback" not in done.stderr


def test_of_a_start_that_fails_one_sees_ones_own_code_alone(here: Place) -> None:
    code = "    def on_start(self):\n        self.open()\n    def open(self):\n        raise OSError('no camera')\n"
    here.write("bad.py", f"from hivemind import Node\nclass Bad(Node):\n{code}")
    done = here.run("run", "bad.py")
    assert done.returncode == 1
    assert "bad cannot start: OSError: no camera\nTraceback" in done.stderr
    assert [line.split()[-1] for line in done.stderr.splitlines() if "  File " in line] == ["on_start", "open"]
