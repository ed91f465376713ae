from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from hivemind.log_lines import parse_line
from hivemind.root.address import AddressFile, listen

from .servers import RedisServer, free_port
from .waiting import eventually

SENDER = """
from hivemind import Node
class Sender(Node):
    def services(self):
        self.count = 0
        self.numbers = self.add_service("numbers", self.send_one, every=0.01)
    def send_one(self, service):
        self.count += 1
        service.send(self.count)
Sender.exec_()
"""
RECEIVER = """
from hivemind import Node, subscription
class Receiver(Node):
    @subscription("num*")
    def take(self, payload: int):
        print(payload, flush=True)
Receiver.exec_()
"""
HIVE = 'HIVE_NAME = "gotham"\nHIVE_CONTROLLER = "root:GothamController"\nLOG_LOCATION = "logs"\n'
CONTROLLER = """
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from hivemind import RootController

class GothamController(RootController):
    def additional_routes(self):
        return [Route("/signal", lambda request: PlainTextResponse("lit"))]
    def base_context(self):
        raise ValueError("no such street")
"""

FAILING = """from hivemind import RootController

class GothamController(RootController):
    def __init__(self, settings):
        raise OSError('no light')
"""


@dataclass
class House:
    """Processes of one test in one folder, all on one server."""

    folder: Path
    server: RedisServer
    processes: list[subprocess.Popen[bytes]]
    hive: str = "default"

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start ``python arguments...``; what it prints goes to ``output``."""
        mine = {
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "HIVEMIND_REDIS_URL": self.server.url,
            "HIVEMIND_HIVE_DEFAULT_PORT": "0",
            "HIVEMIND_HEARTBEAT": "0.3",
            "HIVEMIND_LEASE": "1.2",
            **environ,
        }
        base = {name: value for name, value in os.environ.items() if not name.startswith(("HIVEMIND", "XDG"))}
        with self._output(len(self.processes)).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.folder, env=base | mine, stdout=output, stderr=output
            )
        self.processes.append(process)
        return process

    def script(self, name: str, text: str) -> subprocess.Popen[bytes]:
        """Write a Python file and start it."""
        (self.folder / name).write_text(text)
        return self.start(name)

    def root(self, **environ: str) -> tuple[subprocess.Popen[bytes], Page]:
        """Start a root and return it with its page when that is served."""
        process = self.start("-m", "hivemind.root", **environ)
        return process, Page(eventually(lambda: self.url_of(process), within=30))

    def url_of(self, process: subprocess.Popen[bytes]) -> str:
        """Where a root says that its page is; empty until it does."""
        assert process.poll() is None, self.output(process)
        lines = [line.split() for line in self.output(process).splitlines() if "the page of" in line]
        return lines[0][-1] if lines and Page(lines[0][-1]).answers() else ""

    def address(self) -> AddressFile:
        """The address file of the hive's first root."""
        return AddressFile(self.folder / "state" / "hivemind" / self.hive / "root.json")

    def output(self, process: subprocess.Popen[bytes]) -> str:
        """What a process printed so far."""
        return self._output(self.processes.index(process)).read_text()

    def _output(self, number: int) -> Path:
        return self.folder / f"output-{number}.txt"


@dataclass
class Page:
    """The page of a root, from outside."""

    url: str

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def answers(self) -> bool:
        try:
            return self.get("/healthz")[0] in (200, 503)
        except OSError:
            return False

    def nodes(self) -> dict[str, Any]:
        """State and facts of every instance, by name."""
        found = orjson.loads(self.get("/api/nodes")[1])
        return {one["instance"]: one for node in found["nodes"] for one in node["instances"]}

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.nodes().items()}


@pytest.fixture
def house(tmp_path: Path, own_server: RedisServer) -> Iterator[House]:
    made = House(tmp_path, own_server, [])
    yield made
    for process in made.processes:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def ended_in(process: subprocess.Popen[bytes], end: Callable[[], None]) -> float:
    """Seconds from ``end`` until the process has gone, politely."""
    begun = time.monotonic()
    end()
    assert process.wait(20) == 0
    return time.monotonic() - begun


def numbers(house: House, receiver: subprocess.Popen[bytes]) -> list[int]:
    return [int(line) for line in house.output(receiver).splitlines() if line.isdigit()]


def are_consecutive(found: Sequence[int]) -> bool:
    return list(found) == list(range(found[0], found[0] + len(found)))


def test_the_page_shows_who_joins_and_who_leaves(house: House) -> None:
    root, page = house.root()
    eventually(lambda: page.states() == {"root.0": "running"})
    sender = house.script("sender.py", SENDER)
    eventually(lambda: page.states().get("sender.0") == "running", within=10)
    assert page.nodes()["root.0"]["metadata"] == {"url": page.url}
    eventually(lambda: 50 < (page.nodes()["sender.0"]["services"][0]["rate"] or 0) < 110, within=10)
    html = page.get("/nodes/sender")[1]
    assert "sender.0" in html
    assert f">{sender.pid}<" in html
    assert "numbers" in html
    sender.terminate()
    eventually(lambda: "sender.0" not in page.states(), within=10)
    assert house.address().read() == page.url
    assert root.poll() is None


def test_a_killed_node_is_shown_as_lost_with_what_was_known_of_it(house: House) -> None:
    _, page = house.root()
    receiver = house.script("receiver.py", RECEIVER)
    eventually(lambda: page.states().get("receiver.0") == "running", within=10)
    receiver.kill()
    eventually(lambda: page.states()["receiver.0"] == "lost", within=10)
    assert page.nodes()["receiver.0"]["pid"] == receiver.pid
    assert "receiver.0 is lost" in page.get("/")[1]


def three_are_shown(page: Page) -> None:
    expected = dict.fromkeys(("receiver.0", "sender.0"), "running")
    eventually(lambda: expected.items() <= page.states().items(), within=10)


def a_hundred_more_arrive(house: House, receiver: subprocess.Popen[bytes]) -> None:
    before = numbers(house, receiver)[-1]
    eventually(lambda: numbers(house, receiver)[-1] > before + 100, within=10)


def test_a_killed_root_is_noticed_by_nobody(house: House) -> None:
    house.script("sender.py", SENDER)
    receiver = house.script("receiver.py", RECEIVER)
    eventually(lambda: numbers(house, receiver), within=10)
    for _ in range(2):
        root, page = house.root()
        three_are_shown(page)
        assert psutil.Process(root.pid).nice() > psutil.Process(receiver.pid).nice()
        root.kill()
        root.wait(5)
        a_hundred_more_arrive(house, receiver)
    assert are_consecutive(numbers(house, receiver))
    _, page = house.root()
    three_are_shown(page)
    ledger = page.nodes()["receiver.0"]["subscriptions"][0]
    assert (ledger["missed"], ledger["dropped"], ledger["duplicate"]) == (0, 0, 0)


def test_a_second_root_takes_the_next_port_and_leaves_the_first_ones_address_alone(house: House) -> None:
    port = str(free_port())
    _, first = house.root(HIVEMIND_HIVE_DEFAULT_PORT=port)
    second_process, second = house.root(HIVEMIND_HIVE_DEFAULT_PORT=port)
    assert first.url == f"http://127.0.0.1:{port}"
    assert int(port) < int(second.url.rpartition(":")[2]) <= int(port) + 20
    assert f"port {port} is taken" in house.output(second_process)
    eventually(lambda: sorted(second.states()) == ["root.0", "root.1"], within=10)
    second_process.terminate()
    second_process.wait(10)
    assert house.address().read() == first.url


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_root_stops_at_once_also_with_the_page_open(house: House, number: signal.Signals) -> None:
    root, page = house.root()
    eventually(lambda: page.states() == {"root.0": "running"})
    with urllib.request.urlopen(f"{page.url}/events/nodes", timeout=10) as stream:
        assert stream.readline() == b"event: snapshot\r\n"
        assert ended_in(root, lambda: root.send_signal(number)) < 5
    assert not house.address().path.exists()
    assert house.server.command("SMEMBERS", "hm:{default}:nodes") == []
    with listen(int(page.url.rpartition(":")[2])) as again:
        assert page.url.endswith(f":{again.getsockname()[1]}")


def test_the_page_lives_through_the_absence_of_redis(house: House) -> None:
    house.script("receiver.py", RECEIVER)
    _, page = house.root()
    eventually(lambda: page.states().get("receiver.0") == "running", within=10)
    house.server.stop()
    eventually(lambda: page.get("/healthz")[0] == 503, within=10)
    html = page.get("/nodes")[1]
    assert "Redis has not answered since" in html
    assert "receiver" in html
    house.server.start()
    eventually(lambda: page.get("/healthz")[0] == 200, within=10)
    eventually(lambda: page.states() == {"receiver.0": "running", "root.0": "running"}, within=10)


def test_the_page_is_there_before_redis_is_and_stops_without_it(house: House) -> None:
    house.server.stop()
    root, page = house.root()
    assert page.get("/healthz")[0] == 503
    assert page.get("/")[0] == 200
    with urllib.request.urlopen(f"{page.url}/events/nodes", timeout=10) as stream:
        assert stream.readline() == b"event: snapshot\r\n"
        assert ended_in(root, root.terminate) < 10
    assert not house.address().path.exists()


def test_a_frozen_redis_does_not_freeze_the_page(house: House) -> None:
    _, page = house.root()
    eventually(lambda: page.states() == {"root.0": "running"})
    house.server.freeze()
    eventually(lambda: "Redis has not answered since" in page.get("/")[1], within=6)
    house.server.thaw()
    eventually(lambda: page.get("/healthz")[0] == 200, within=15)


def test_rubbish_in_the_registry_harms_nobody(house: House) -> None:
    _, page = house.root()
    eventually(lambda: page.states() == {"root.0": "running"})
    evil = '{"services": [{"name": "<script>alert(1)</script>", "sent": "x"}, 3], "state": ["no"]}'
    about = '{"process": {"pid": "x"}, "metadata": {"a": {}}, "started": 1e400}'
    for name in ("joker.0", "no-number", "<script>.0", "a.99999999999999999999", "\udcff\udcfe.0"):
        raw = name.encode(errors="surrogateescape")
        house.server.command("SADD", "hm:{default}:nodes", raw)
        key = b"hm:{default}:node:" + raw
        house.server.command("HSET", key, "incarnation", "1", "about", about, "stats", evil)
        house.server.command("PEXPIRE", key, 60000)
    eventually(lambda: page.states().get("joker.0"), within=5)
    assert page.states()["root.0"] == "running"
    for path in ("/nodes", "/nodes/joker"):
        status, html = page.get(path)
        assert status == 200
        assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert page.get("/healthz")[0] == 200


def test_the_seeds_root_runs_by_itself(house: House) -> None:
    root = house.script(
        "root.py", "from hivemind import RootController\nif __name__ == '__main__':\n    RootController.exec_()\n"
    )
    url = eventually(lambda: house.url_of(root), within=15)
    eventually(lambda: Page(url).states() == {"root.0": "running"}, within=10)
    assert ended_in(root, root.terminate) < 5


def make_hive(house: House, controller: str) -> None:
    for name, text in {"config/hive.py": HIVE, "root/__init__.py": controller}.items():
        path = house.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_hives_own_controller_is_run_and_a_hook_that_fails_takes_nothing_else_away(house: House) -> None:
    make_hive(house, CONTROLLER)
    root, page = house.root()
    assert page.get("/signal") == (200, "lit")
    assert "gotham" in page.get("/")[1]
    assert "ValueError: no such street" in house.output(root)
    assert AddressFile(house.folder / "var" / "root.json").read() == page.url


@pytest.mark.parametrize(
    ("controller", "fault"),
    [
        ("import nothing_like_that\n", "root/__init__.py:1: ModuleNotFoundError"),
        ("\n\ndef broken(:\n", "root/__init__.py:3: SyntaxError"),
        ("raise SystemExit(3)\n", "root/__init__.py:1: SystemExit"),
        ("GothamController = 3\n", "root/__init__.py: has no class GothamController derived from RootController"),
        (
            FAILING,
            "root/__init__.py:5: OSError: no light",
        ),
    ],
)
def test_a_broken_controller_is_named_and_the_plain_page_is_served(house: House, controller: str, fault: str) -> None:
    make_hive(house, controller)
    root, page = house.root()
    assert page.get("/")[0] == 200
    assert fault in house.output(root)


def test_a_controller_file_run_by_itself_joins_its_own_hive(house: House) -> None:
    make_hive(house, f"{CONTROLLER}\nif __name__ == '__main__':\n    GothamController.exec_(logging='verbose')\n")
    root = house.start(str(house.folder / "root" / "__init__.py"))
    page = Page(eventually(lambda: house.url_of(root), within=30))
    assert page.get("/signal") == (200, "lit")
    assert orjson.loads(page.get("/api/nodes")[1])["hive"] == "gotham"


def test_the_page_is_there_though_the_hives_middleware_cannot_be_imported(house: House) -> None:
    root, page = house.root(HIVEMIND_MIDDLEWARE='["watching:Timing"]')
    eventually(lambda: page.states() == {"root.0": "running"}, within=10)
    assert "'watching:Timing' cannot be imported" in house.output(root)
    assert "the root goes on without middleware" in house.output(root)


def test_a_root_that_hived_started_is_number_0_and_writes_its_own_log(house: House) -> None:
    make_hive(house, CONTROLLER)
    root = house.start("-m", "hivemind.root", HIVEMIND_SUPERVISED="1")
    log = house.folder / "logs" / "root.log"
    address = AddressFile(house.folder / "var" / "root.json")
    page = Page(eventually(address.read, within=15) or "")
    eventually(lambda: page.states() == {"root.0": "running"}, within=10)
    assert ended_in(root, root.terminate) < 5
    assert house.output(root) == ""
    lines = [line for line in map(parse_line, log.read_text().splitlines()) if line]
    assert any(page.url in line.text for line in lines)
