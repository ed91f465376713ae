"""`needs` under hived: what is said of who waits, and what is not taken for a need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .hive_kit import Hive, hive_in, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)

SLOW = """
import asyncio, pathlib, time
from hivemind import Node, subscription

class {name}(Node):
    @subscription("wake")
    async def takes_two_leases(self, payload):
        await asyncio.sleep(3.0)
        pathlib.Path("slept-async").touch()

    @subscription("wake")
    def takes_two_leases_on_its_thread(self, payload):
        time.sleep(3.0)
        pathlib.Path("slept").touch()
"""
NEEDS = """NODES = {
    "batman": {"needs": ["alfred"]},
    "robin": {"needs": ["joker"], "process": "small"},
    "joker": {"needs": ["robin"], "process": "small"},
}"""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hive, str]]:
    """alfred is broken, and batman needs it; robin and joker, who takes long, need one another."""
    with hive_in(tmp_path_factory.mktemp("needs") / "gotham", more=NEEDS) as made:
        made.node("batman")
        made.node("robin")
        made.node("joker", SLOW)
        made.node("alfred", "import no_such_module\n")
        done = made.run("hived", "start", timeout=100)
        assert done.returncode == 0, done.stderr
        yield made, done.stderr


@pytest.fixture
def hive(started: tuple[Hive, str]) -> Hive:
    return started[0]


def test_who_needs_what_cannot_be_loaded_waits_alone_and_begins_when_that_does(started: tuple[Hive, str]) -> None:
    hive, said = started
    assert "joker and robin need one another: none of them waits for another" in said
    assert "batman.0 waits for alfred, which it needs" in said
    batman = hive.program("batman.0")
    assert (batman.state, batman.detail) == ("waiting", "waits for alfred")
    assert hive.program("small.0").state == "running"
    assert "it waits for alfred, and begins when that consumes" in hive.run("hm", "why", "batman").stdout
    assert "batman.0 waits for alfred" in hive.run("hm", "status").stdout
    nodes = hive.run("hm", "nodes").stdout
    assert "waiting" in nodes
    assert "waits for alfred" in nodes
    hive.node("alfred", enable=False)
    eventually(lambda: well(hive), within=30)
    assert "what it waited for is there" in hive.log("batman")
    assert hive.program("batman.0").pid == batman.pid


def test_a_handler_that_takes_longer_than_a_lease_is_not_taken_for_a_hang(hive: Hive) -> None:
    before = hive.program("small.0").pid
    assert hive.run("hm", "pub", "wake", "1").returncode == 0
    eventually(lambda: all((hive.folder / name).exists() for name in ("slept", "slept-async")), within=30)
    assert hive.program("small.0").pid == before
    assert "small.0 (process" not in hive.log("hived")


@pytest.mark.parametrize(
    ("need", "said"),
    [
        (
            "alfrd",
            "batman needs alfrd, but there is no such node, did you mean alfred? If a topic is meant, write",
        ),
        ("penguin", "batman needs penguin, but nothing enables it: uncomment `from .penguin import penguin`"),
        ("not a topic", "'not a topic'"),
    ],
)
def test_a_need_that_nobody_declares_is_an_error_and_nothing_is_touched(hive: Hive, need: str, said: str) -> None:
    hive.node("penguin", enable=False)
    before = hive.pids()
    hive.configure(NEEDS.replace("alfred", need))
    done = hive.run("hived", "reload")
    hive.configure(NEEDS)
    assert done.returncode != 0
    assert said in done.stderr
    assert hive.pids() == before


def test_a_topic_need_not_be_declared(hive: Hive) -> None:
    hive.configure(NEEDS.replace('"alfred"', '"alfred", "bat-signal-main", "topic:tea"'))
    done = hive.run("hived", "reload")
    hive.configure(NEEDS)
    assert done.returncode == 0, done.stderr
