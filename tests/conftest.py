"""Fixtures that every test may use: real servers, a hive name of one's own on them, and hives that hived runs."""

from __future__ import annotations

import asyncio
import compileall
import faulthandler
import importlib.util
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import hivemind
from hivemind.supervisor.arrival import arrivals
from hivemind.supervisor.lifecycle import reload

from .cli_kit import Place, place
from .clock_kit import NO_COMPILER, TurnedClock, shim
from .clusters import Cluster
from .disk_kit import SlowDisk
from .disk_kit import slow_disk as disk_of
from .hive_kit import Hive, hive_in, well
from .machine_kit import NO_SYSTEMD
from .servers import HOW_TO_INSTALL, Kind, RedisServer, find_server, installed, version
from .waiting import eventually

_numbers = itertools.count(1)

#: files whose tests run for long, most of them because a whole hive starts in each
HIVES = ("test_control", "test_foreground", "test_hived", "test_releases")
LONG = (*HIVES, "test_drill", "test_examples", "test_failing", "test_packaging")
#: files of tests marked alone in the order in which workers take them: the longest first, but short ones as fourth and
#: fifth, which three workers take together with the first and the second
ALONE = ("soak", "accept", "drill", "bench", "failing", "bus_faults", "hang", "bus_outages", "bus_doors", "primary")
PACKAGE = Path(hivemind.__file__).parent
TEAR_DOWN = 150.0  #: seconds for which what a test used may take to end
REAL_STDERR = pytest.StashKey[int]()

# How long an example takes says nothing where other tests run beside it. Profile "many" is for `make drills`.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("many", settings.get_profile("busy"), max_examples=1000)

MakeServer = Callable[..., RedisServer]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        choices=["auto", "all", *Kind],
        default="auto",
        help="the Redis server to test on; auto: Valkey, and for tests marked every_server each that is installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes that tests start hear Ctrl-C, also where these run in the background of a shell; and let
    hypothesis be patient.
    """
    config.stash[REAL_STDERR] = os.dup(2)  # before what tests print is captured
    if not hasattr(config, "workerinput"):  # once for all: a process that compiles what it imports takes twice as long
        compileall.compile_dir(PACKAGE, quiet=1)
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("busy")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # of those that were chosen
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, each begins with long ones: or the last of them runs all alone."""
    if all(each.get_closest_marker("alone") for each in items):
        items.sort(key=_turn)
        return
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    pages = [each for each in items if each.path.stem == "test_docs"]  # which share nothing
    long = [each for each in items if each.path.name.startswith(LONG)]
    short = [each for each in items if each.path.stem != "test_docs" and not each.path.name.startswith(LONG)]
    shares = [pages[number::workers] + part for number, part in enumerate(_shared(long, workers))]
    for number, share in enumerate(shares):
        room = (len(items) - sum(map(len, shares[:number]))) // (workers - number) - len(share)
        share.extend(short[: max(0, room)])
        del short[: max(0, room)]
    items[:] = [*itertools.chain(*shares), *short]


def _turn(item: pytest.Item) -> int:
    name = item.path.stem.removeprefix("test_")
    return [*ALONE, name].index(name)


def _shared(items: list[pytest.Item], workers: int) -> list[list[pytest.Item]]:
    """The items for each of so many workers: those of a file stay together, and with them what they share."""
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    done = 0
    for _, of_file in itertools.groupby(items, key=lambda each: each.path):
        file = list(of_file)
        shares[(2 * done + len(file)) * workers // (2 * len(items))] += file
        done += len(file)
    return shares


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        every = metafunc.definition.get_closest_marker("every_server") is not None
        metafunc.parametrize("server_kind", _kinds(metafunc.config, every), scope="session")


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests marked every_loop run on asyncio's loop and on uvloop, where that is installed; others on asyncio's."""
    plain = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("every_loop") is None or importlib.util.find_spec("uvloop") is None:
        return plain
    return plain | {"uvloop": importlib.import_module("uvloop").new_event_loop}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked root_only are skipped where we may make no network of our own."""
    if item.get_closest_marker("root_only") is not None and not may_make_namespaces():
        pytest.skip("not root, or no right to make namespaces")


@cache
def may_make_namespaces() -> bool:
    """Whether this process may make networks and process tables of its own, as root on an ordinary Linux may."""
    try:
        return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "-p", "-f", "true"], check=False).returncode == 0
    except (AttributeError, OSError):
        return False


def _kinds(config: pytest.Config, every: bool) -> list[Kind]:
    wanted = config.getoption("--server")
    if wanted == "all" or (wanted == "auto" and every):
        return list(Kind)
    return (installed() or [Kind.VALKEY])[:1] if wanted == "auto" else [Kind(wanted)]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """A test that failed for its time has used that up: if its tear-down hangs too, that ends the process."""
    faulthandler.dump_traceback_later(TEAR_DOWN, file=item.config.stash[REAL_STDERR], exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    have = [f"{kind} {version(binary)}" for kind in Kind if (binary := find_server(kind))]
    terminalreporter.write_line(f"Redis servers here: {', '.join(have) or 'none'}")
    for kind in Kind:
        if find_server(kind) is None:
            terminalreporter.write_line(f"!!! NOT TESTED on {kind}: {HOW_TO_INSTALL[kind]}", red=True, bold=True)

    every = [str(one.longrepr) for one in terminalreporter.stats.get("skipped", [])]
    for reason, what in (
        ("no right to make namespaces", "root"),
        (NO_COMPILER, "a C compiler"),
        (NO_SYSTEMD, "systemd"),
    ):
        if skipped := sum(reason in one for one in every):
            terminalreporter.write_line(f"!!! NOT TESTED without {what}: {skipped} test(s)", red=True, bold=True)


@pytest.fixture(scope="session")
def server_program(server_kind: Kind) -> Path:
    """The server program that this test runs on; skips where it is not installed."""
    found = find_server(server_kind)
    if found is None:
        pytest.skip(f"{server_kind} is not installed: {HOW_TO_INSTALL[server_kind]}")
    return found


@pytest.fixture(scope="session")
def server(server_program: Path) -> Iterator[RedisServer]:
    """A server that the tests share: use a hive name of your own (``hive_name``), and do it no harm."""
    with RedisServer(server_program) as started:
        yield started


@pytest.fixture
def own_server(server_program: Path) -> Iterator[RedisServer]:
    """A server for this test alone, on a unix socket: it may be killed, frozen, emptied and reconfigured."""
    with RedisServer(server_program) as started:
        yield started


@pytest.fixture
def make_server(server_program: Path) -> Iterator[MakeServer]:
    """``make_server(tcp=True, lines=["maxmemory 10mb"])`` starts one more server for this test alone."""
    made: list[RedisServer] = []

    def make(*, tcp: bool = False, lines: tuple[str, ...] = (), program: Path | None = None) -> RedisServer:
        made.append(RedisServer(program or server_program, tcp=tcp, lines=lines))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


@pytest.fixture
def turned(tmp_path: Path) -> TurnedClock:
    """A wall clock that the test turns, for processes that are started with its ``environment``."""
    library = shim()
    if library is None:
        pytest.skip(NO_COMPILER)
    return TurnedClock(library, tmp_path / "offset")


@pytest.fixture
def slow_disk(tmp_path: Path) -> SlowDisk:
    """A disk that the test slows down, for the Redis that is started with its ``environment``."""
    found = disk_of(tmp_path)
    if found is None:
        pytest.skip(NO_COMPILER)
    return found


@pytest.fixture
def turned_server(server_program: Path, turned: TurnedClock) -> Iterator[RedisServer]:
    """A server of this test's own that goes by the clock ``turned``."""
    with RedisServer(server_program, environment=turned.environment) as started:
        yield started


@pytest.fixture(scope="module")
def cluster(server_program: Path) -> Iterator[Cluster]:
    """A Redis Cluster that the tests of a file share: slots may be moved, nobody may be killed."""
    with Cluster(server_program) as started:
        yield started


@pytest.fixture
def hive_name(request: pytest.FixtureRequest) -> str:
    """A hive that no other test uses."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", request.node.originalname)[:40]
    return f"{words}-{next(_numbers)}"


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    """A folder in which commands run, with the test's own hive on the shared server."""
    with place(tmp_path, HIVEMIND_REDIS_URL=server.url, HIVEMIND_HIVE_NAME=hive_name) as made:
        yield made


@pytest.fixture
def gotham(tmp_path: Path) -> Iterator[Hive]:
    """A hive without nodes for this test alone; nothing of it runs yet."""
    with hive_in(tmp_path / "gotham") as made:
        yield made


@pytest.fixture(scope="module")
def shared_hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    """One running hive for the tests of a file that leave it well; use ``running``."""
    with hive_in(tmp_path_factory.mktemp("shared") / "gotham") as made:
        made.node("batman")
        made.node("robin")
        made.start()
        yield made


@pytest.fixture
def running(shared_hive: Hive) -> Iterator[Hive]:
    """A hive that runs batman and robin; its files are put back afterwards."""
    eventually(lambda: well(shared_hive), within=20)
    files = [shared_hive.folder / "config/hive.py", shared_hive.folder / "nodes/__init__.py"]
    before = [file.read_text() for file in files]
    yield shared_hive
    is_changed = shared_hive.environ.pop("HIVEMIND_HIVE_KEY_FILE", None) is not None
    for file, text in zip(files, before, strict=True):
        is_changed |= file.read_text() != text
        file.write_text(text)
    if is_changed:
        done = reload(shared_hive.engine, in_turn=False)
        arrivals(shared_hive.engine, {*done.added, *done.changed})
