"""The fixture ``hive``: what a user's own tests stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hivemind import Node, Service, service, subscription
from hivemind.testing import HiveTest


class Batman(Node):
    @subscription("bat-signal-*")
    async def save(self, payload: str) -> None:
        self.send("alert.saved", payload.upper())


class BatSignal(Node):
    @service("bat-signal-main", every=0.05)
    def signal(self, service: Service) -> None:
        service.send("help")


def test_a_node_answers_a_message(hive: HiveTest) -> None:
    hive.start(Batman)
    hive.send("bat-signal-main", "help")
    assert hive.expect("alert.*", timeout=5).payload == "HELP"


def test_nodes_talk_to_each_other(hive: HiveTest) -> None:
    hive.start(Batman)
    hive.start(BatSignal)
    alert = hive.expect("alert.*", timeout=5)
    assert (alert.payload, alert.sender) == ("HELP", "batman.0")


def test_expect_finds_what_came_before_it_was_called(hive: HiveTest) -> None:
    hive.send("one", 1)
    hive.send("two", 2)
    assert hive.expect("two", timeout=5).payload == 2
    assert hive.expect("one", timeout=5).payload == 1


def test_expect_says_what_was_seen_instead(hive: HiveTest) -> None:
    hive.send("something.else", 1)
    with pytest.raises(AssertionError, match=r"alert\.\*.*something\.else"):
        hive.expect("alert.*", timeout=0.3)


def test_a_stopped_node_receives_nothing(hive: HiveTest) -> None:
    batman = hive.start(Batman)
    hive.stop(batman)
    hive.send("bat-signal-main", "help")
    hive.expect_none("alert.*")


def test_two_copies_of_a_node_both_receive_a_live_message(hive: HiveTest) -> None:
    hive.start(Batman)
    hive.start(Batman)
    hive.send("bat-signal-main", "help")
    assert {hive.expect("alert.*", timeout=5).sender for _ in range(2)} == {"batman.0", "batman.1"}


def test_a_module_of_functions_can_be_started(hive: HiveTest) -> None:
    module = ModuleType("greeter")

    @subscription("greeting")
    async def answer(payload: str, node: Node) -> None:
        node.send("answer", payload.upper())

    answer.__module__ = module.__name__
    vars(module)["answer"] = answer
    hive.start(module)
    hive.send("greeting", "hello")
    assert hive.expect("answer", timeout=5).payload == "HELLO"


def test_in_a_hives_folder_its_nodes_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hive.py").write_text("HIVE_NAME = 'gotham'\n")
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "batman.py").write_text("NAME = 'batman'\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_batman.py").write_text("from nodes.batman import NAME\ndef test_it(): assert NAME\n")
    pytest_command = str(Path(sys.executable).with_name("pytest"))
    command = [pytest_command, "-q", "--rootdir", str(tmp_path), "-p", "no:valkey", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
