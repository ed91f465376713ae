"""Actors and those of the real compactor, each in its own process: they cannot tell each other from their like.

compactor 0.3.0 runs on Python 3.11 and none later; where it is not installed all of this is skipped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from hivemind.actors import PID, Context, install
from hivemind.actors.testing import ephemeral_context

from .test_actors import Client, Ear
from .waiting import eventually

pytestmark = pytest.mark.skipif(
    find_spec("compactor") is None, reason="!!! NOT TRIED WITH COMPACTOR: pip install compactor==0.3.0, on Python 3.11"
)

PEER = """
import sys
from compactor import Context, Process, install


class Peer(Process):
    @install("echo")
    def echo(self, from_pid, body):
        self.send(from_pid, "heard", body)

    @install("watch")
    def watch(self, from_pid, body):
        self.send(from_pid, "heard", b"watching")
        self.link(from_pid)

    def exited(self, pid):
        print("exited", pid, flush=True)


context = Context(ip="127.0.0.1")
context.start()
peer = Peer("peer(1)")
context.spawn(peer)
print(peer.pid, flush=True)
sys.stdin.read()
"""


class Listener(Ear):
    @install("heard")
    def heard_back(self, from_pid: PID, body: bytes) -> None:
        self.heard.append(body)


@dataclass
class Peer:
    process: subprocess.Popen[str]
    pid: PID


@pytest.fixture
def peer() -> Iterator[Peer]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PEER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield Peer(process, PID.from_string(process.stdout.readline().strip()))
        process.kill()


@pytest.fixture
def here() -> Iterator[Context]:
    with ephemeral_context() as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, 1024, 1024 * 1024])
def test_what_is_sent_to_compactor_comes_back(here: Context, peer: Peer, size: int) -> None:
    ear = Listener()
    here.spawn(ear)
    ear.send(peer.pid, "echo", b"x" * size)
    eventually(lambda: ear.heard == [b"x" * size])


def test_five_hundred_come_and_go_in_their_order(here: Context, peer: Peer) -> None:
    ear = Listener()
    here.spawn(ear)
    for number in range(500):
        ear.send(peer.pid, "echo", b"%d" % number)
    eventually(lambda: len(ear.heard) == 500, within=20)
    assert ear.heard == [b"%d" % number for number in range(500)]


def test_a_link_tells_of_a_compactor_that_is_killed(here: Context, peer: Peer) -> None:
    ear = Listener()
    here.spawn(ear)
    ear.link(peer.pid)
    ear.send(peer.pid, "echo", b"up")
    eventually(lambda: ear.heard == [b"up"])
    peer.process.kill()
    eventually(lambda: [pid for pid, _ in ear.ends] == [peer.pid], within=1.0)


def test_a_compactor_that_is_linked_is_told_when_this_side_stops(peer: Peer) -> None:
    with ephemeral_context() as context:
        ear, client = Listener(), Client()
        context.spawn(ear)
        context.spawn(client)
        ear.send(peer.pid, "watch")
        eventually(lambda: ear.heard == [b"watching"])
    assert peer.process.stdout is not None
    assert peer.process.stdout.readline().startswith("exited ear@127.0.0.1:")
