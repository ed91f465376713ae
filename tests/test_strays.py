"""What hived knows of a hive that runs is removed under it: there is never a second hive of one folder beside it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from hivemind.bus.embedded import Embedded
from hivemind.identity import ProcessIdentity
from hivemind.settings import load_settings
from hivemind.supervisor.engine import engine_for
from hivemind.supervisor.strays import strays

from .hive_kit import QUIET, SENDER, Hive, hive_in, kill, well
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham") as made:
        made.node("batman", SENDER)
        made.start()
        eventually(lambda: well(made), within=30)
        yield made


@pytest.mark.parametrize("folder", ["var", "var/run"])
def test_a_hive_whose_files_were_removed_is_not_doubled_and_a_stop_ends_it(hive: Hive, folder: str) -> None:
    supervisord, before = hive.supervisord(), {each.pid for each in hive.processes()}
    (batman,) = hive.copies("batman")
    shutil.rmtree(hive.folder / folder)
    said = (
        f"error: this hive runs already, but {hive.folder / 'var/run'}, which says so, was removed under it: processes "
    )
    for command in ("start", "status"):
        done = hive.run("hived", command)
        assert done.returncode == 1, done.stdout
        assert said in done.stderr
        assert "`hived stop` ends all of it, then `hived start` starts it anew" in done.stderr
        assert {str(supervisord.pid), str(batman.pid)} <= {*done.stderr.replace(",", " ").replace(";", " ").split()}
    for look in (("status",), ("why", "batman")):
        told = hive.run("hm", *look).stdout
        assert said.removeprefix("error: ") in told
        assert told.count("`hived start`") == told.count("`hived stop` ends all of it, then `hived start` starts"), told
    assert hive.run("hm", "status").returncode == 1
    done = hive.run("hived", "status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["running"], found["well"]) == (1, False, False)
    assert {supervisord.pid, batman.pid} <= {*found["strays"]}
    assert {each.pid for each in hive.processes()} <= before
    assert [each.pid for each in hive.copies("batman")] == [batman.pid]
    done = hive.run("hived", "stop")
    assert (done.returncode, done.stdout) == (0, "hive gotham has stopped\n")
    assert hive.processes() == []
    hive.start()
    eventually(lambda: well(hive), within=30)
    assert len(hive.copies("batman")) == 1


def redis_of(hive: Hive) -> ProcessIdentity:
    found = Embedded.of(hive.engine.settings).pidfile.living()
    assert found is not None
    return found


@contextmanager
def ended(*processes: ProcessIdentity) -> Iterator[None]:
    """They end at the latest with the test: their files are gone, and no kit finds them."""
    try:
        yield
    finally:
        for each in processes:
            if each.is_alive():
                kill(each)


def numbers(said: str) -> set[str]:
    return {*said.replace(",", " ").replace(";", " ").split()}


def alive(processes: Sequence[ProcessIdentity]) -> list[ProcessIdentity]:
    return [each for each in processes if each.is_alive()]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a folder that was removed tells nothing")
def test_when_supervisord_dies_after_the_files_were_removed_its_programs_are_not_doubled_and_a_stop_ends_them(
    hive: Hive,
) -> None:
    assert hive.run("hm", "roll", "batman").returncode == 0  # its process has a session of its own now
    eventually(lambda: well(hive), within=30)
    redis, (batman,), (root,) = redis_of(hive), hive.copies("batman"), hive.processes("hivemind.root")
    hand = subprocess.Popen(
        hive.command("hm", "run", "batman"),
        cwd=hive.folder,
        env=hive.environ | {"HIVEMIND_HIVE": str(hive.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(lambda: "batman.1" in hive.run("hm", "nodes").stdout, within=30)  # or it would start a Redis of its own
    with ended(redis):
        ours = {str(each.pid) for each in (redis, batman, root)}
        supervisord = hive.supervisord()
        shutil.rmtree(hive.folder / "var")
        kill(supervisord)
        eventually(lambda: not hive.processes("hivemind.supervisor"), within=20)
        assert hive.log("hived").count("no new supervisord was started: this hive runs already") == 1
        for command in ("start", "status"):
            done = hive.run("hived", command)
            assert (done.returncode, "was removed under it: processes " in done.stderr) == (1, True), done.stderr
            assert ours <= numbers(done.stderr)
            assert str(hand.pid) not in numbers(done.stderr)
        assert {str(each.pid) for each in hive.processes()} - {str(redis.pid)} == {
            str(batman.pid),
            str(root.pid),
            str(hand.pid),
        }
        done = hive.run("hived", "stop")
        assert (done.returncode, done.stdout) == (0, "hive gotham has stopped\n")
        assert not redis.is_alive()
        assert [each.pid for each in hive.processes()] == [hand.pid]
        hand.kill()
        hand.wait()
        hive.start()
        eventually(lambda: well(hive), within=30)
        assert len(hive.copies("batman")) == 1


def test_programs_that_a_file_names_or_that_are_another_hives_are_no_strays(hive: Hive, tmp_path: Path) -> None:
    with hive_in(tmp_path / "metropolis", "metropolis") as other:
        other.node("robin", QUIET)
        other.start()
        eventually(lambda: well(other), within=30)
        redis, supervisord, listener = redis_of(other), other.supervisord(), other.listener()
        kill(listener, signal.SIGSTOP)
        kill(supervisord)
        kill(listener)
        eventually(lambda: not other.processes("hivemind.supervisor"), within=20)
        with ended(redis):
            assert strays(other.engine) == []
            names = {redis.pid} | {each.pid for each in other.copies("robin")}
            shutil.rmtree(other.folder / "var/run")
            Embedded.of(other.engine.settings).pidfile.remove()
            if sys.platform == "linux":
                assert names < {each.pid for each in strays(other.engine)}
            assert strays(hive.engine) == []
            assert hive.run("hived", "stop").returncode == 0
            assert {each.pid for each in map(psutil.Process, names) if each.is_running()} == names
            if sys.platform == "linux":
                assert other.run("hived", "stop").stdout == "hive metropolis has stopped\n"
                assert not redis.is_alive()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder in which the sockets of a hive have room, so that they lie in its ``var``."""
    folder = Path(tempfile.mkdtemp(prefix="hm-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_hive_is_the_same_by_whatever_path_it_was_started(short: Path) -> None:
    current = short / "current"
    with hive_in(short / "gotham") as hive:
        hive.node("batman", SENDER)
        current.symlink_to(hive.folder)
        assert hive.run("hived", "--hive", str(current), "start").returncode == 0
        eventually(lambda: well(hive), within=30)
        processes = [ProcessIdentity.of(pid) for pid in hive.pids().values() if pid is not None]
        begun = [each for each in (hive.supervisord(), *processes) if each is not None]
        with ended(*begun):
            shutil.rmtree(hive.folder / "var")
            done = hive.run("hived", "--hive", str(hive.folder), "start")
            assert (done.returncode, str(begun[0].pid) in numbers(done.stderr)) == (1, True), done.stderr
            current.unlink()
            Hive(short / "metropolis")
            current.symlink_to(short / "metropolis")  # a link that leads elsewhere now makes nobody another's
            assert strays(engine_for(load_settings(current, hive.environ), hive.environ)) == []
            assert hive.run("hived", "stop").stdout == "hive gotham has stopped\n"
            assert alive(begun) == []
