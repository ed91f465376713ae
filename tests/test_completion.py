"""Tab, in real shells: names of the hive, quickly, and nothing at all where something is wrong."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hivemind.topics import Names

from .cli_kit import RECEIVER, SENDER, Place, place
from .servers import RedisServer, free_port
from .waiting import eventually

ABACUS = """
from hivemind import Node, responder
class Abacus(Node):
    @responder("sum")
    async def add(self, numbers: list[float]) -> float:
        return sum(numbers)
"""
HIVE = 'HIVE_NAME = "gotham"\nLOG_LOCATION = "logs"\nNODES = {"receiver": {"tags": ["heroes"]}}\n'
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  #: as it is for who uses it
SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(hm completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(hm completion zsh)"'),
}


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    environ = {"HIVEMIND_REDIS_URL": server.url, "HIVEMIND_HIVE_NAME": hive_name}
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with place(tmp_path, **environ, PATH=binaries, TERM="dumb", PS1="$ ") as made:
        made.write("config/hive.py", HIVE)
        made.write("nodes/__init__.py", "from . import sender\nfrom . import receiver\n")
        made.write("nodes/sender.py", SENDER)
        made.write("nodes/receiver.py", RECEIVER)
        made.write("abacus.py", ABACUS)
        yield made


def offered(here: Place, line: str, **environ: str) -> list[str]:
    """What Tab offers at the end of ``line``; it has to be silent otherwise."""
    more = {"_HM_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), **COMPILED}
    done = subprocess.run(
        [sys.executable, "-m", "hivemind.cli.hm"],
        cwd=here.folder,
        env=here._environ({**more, **environ}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return [one.removeprefix("plain,") for one in done.stdout.split()]


def pressed(here: Place, shell: str, line: str, wanted: str) -> str:
    """What stands in a real terminal after ``line`` and Tab, at the latest when ``wanted`` does."""
    command, setup = SETUP[shell]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(here.folder)
        os.execvpe(command[0], command, here._environ({}))
    try:
        os.write(terminal, f'{setup}; echo READY""NOW\n'.encode())
        shown(terminal, "READYNOW")
        os.write(terminal, f"{line}\t".encode())
        return shown(terminal, wanted)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)


def shown(terminal: int, wanted: str, within: float = 20.0) -> str:
    said, end = "", time.monotonic() + within
    while wanted not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")
    return said


def test_nodes_are_completed_from_the_files_of_the_hive_and_from_the_registry(here: Place) -> None:
    assert offered(here, "hm stop ") == ["receiver", "sender"]
    assert offered(here, "hm stop sender ") == ["receiver"]
    assert offered(here, "hm stop @") == ["@all", "@heroes"]
    assert offered(here, "hm why s") == ["sender"]
    assert offered(here, "hm why a") == []
    here.hm("run", "abacus.py").says("running")
    assert offered(here, "hm why a") == ["abacus"]
    assert offered(here, "hm why abacus.") == ["abacus.1"]
    assert offered(here, f"hm --hive {here.folder} logs se", HIVEMIND_HIVE="/nowhere") == ["sender"]


def test_topics_and_requests_are_completed_from_the_registry(here: Place) -> None:
    here.write("deaf.py", RECEIVER.replace("Receiver", "Deaf").replace("num*", "nubmers"))
    for file in ("sender", "receiver", "abacus.py", "deaf.py"):
        here.hm("run", file).says("running")
    assert offered(here, "hm tail nu") == ["nubmers", "numbers"]  # of patterns only those that are a topic's name
    assert offered(here, "hm pub x") == []
    assert offered(here, "hm request ") == ["sum"]
    assert offered(here, "hm graph --filter num") == ["numbers"]


def test_a_hostile_name_in_the_registry_is_never_offered(here: Place, server: RedisServer, hive_name: str) -> None:
    here.hm("run", "sender").says("running")
    key = Names(hive_name).node("sender.1")  # 0 is for hived
    stats = json.loads(eventually(lambda: server.command("HGET", key, "stats"), 5))
    names = ["$(touch seized)", "`touch seized`", "n;touch seized", "n\nplain,x", "n*"]
    stats["services"] += [{"name": name} for name in names]
    stats["members"] = [{"name": name} for name in names]
    server.command("SADD", Names(hive_name).nodes(), "other.0")
    server.command(
        "HSET", Names(hive_name).node("other.0"), "incarnation", "1", "stats", json.dumps(stats), "about", "{}"
    )
    assert offered(here, "hm tail ") == ["numbers"]
    assert offered(here, "hm why n") == []
    assert pressed(here, "bash", "hm tail n", "numbers ").endswith("hm tail numbers ")


@pytest.mark.parametrize("why", ["no Redis", "a silent Redis", "no hive", "broken settings"])
def test_where_something_is_wrong_tab_says_nothing(here: Place, why: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if why == "a silent Redis" else free_port()
        if why == "no hive":
            shutil.rmtree(here.folder / "config")
        if why == "broken settings":
            here.write("config/hive.py", 'print("hello")\n1 / 0\n')
        assert offered(here, "hm tail n", HIVEMIND_REDIS_URL=f"redis://127.0.0.1:{port}") == []


@pytest.mark.parametrize("shell", sorted(SETUP))
def test_tab_completes_in_a_real_terminal(here: Place, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its completion is not tested")
    here.hm("run", "sender").says("running")
    for line, wanted in [
        ("hm stat", "hm status "),
        ("hm stop se", "hm stop sender "),
        ("hm stop sender @h", "hm stop sender @heroes "),
        ("hm tail nu", "hm tail numbers "),
        ("hived roll", "hived rollback "),
    ]:
        assert wanted in pressed(here, shell, line, wanted)


def test_tab_completes_in_fish(here: Place) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed: its completion is not tested")
    here.hm("run", "sender").says("running")
    asked = ["hm stop se", "hm stop @h", "hm tail nu", "hived roll"]
    script = "; ".join(["hm completion fish | source", *(f'complete -C "{line}"' for line in asked)])
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=here.folder, env=here._environ({}), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["sender", "@heroes", "numbers", "rollback"]


def test_tab_takes_less_than_half_a_second_of_the_processor(here: Place) -> None:
    here.hm("run", "sender").says("running")
    assert offered(here, "hm tail n") == ["numbers"]
    for line in ("hm stop s", "hm tail n"):
        assert min(spent(here, line) for _ in range(5)) < 0.5, line


def spent(here: Place, line: str) -> float:
    """Seconds of processor time that one Tab takes: on a busy machine it waits besides."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    offered(here, line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
