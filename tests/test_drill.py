"""Drills in a real hive: they find what is wrong, leave nothing behind, and the fault goes also if they are killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

import psutil
import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.embedded import Embedded
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.server_program import ask
from hivemind.cli.drill import VERBS
from hivemind.drills.choice import OF_NODES, OWN, Chosen
from hivemind.drills.cleaning import left
from hivemind.drills.drill import opened
from hivemind.drills.report import Report
from hivemind.errors import SupervisorError
from hivemind.supervisor.engine import redis_url
from hivemind.topics import Names

from .hive_kit import QUIET, Hive, kill
from .waiting import eventually

BUSY = 4.0  #: how many times longer something may take where other tests run beside it

FALLING = f"""
import os
{QUIET}
if "HIVEMIND_SUPERVISED" in os.environ:
    os._exit(3)
"""

alone = pytest.mark.alone


def left_behind(hive: Hive) -> list[str]:
    """What there is of probes, in Redis and among the processes."""

    async def look() -> list[str]:
        async with Commands(Endpoint.parse(redis_url(hive.engine.settings))) as commands:
            return await left(commands, Names("gotham"))

    processes = [str(one) for text in ("drills.probe", "drills.healer") for one in hive.processes(text)]
    return asyncio.run(look()) + processes


def refusal(hive: Hive, *words: str) -> str:
    done = hive.run("hm", "drill", *words)
    assert done.returncode != 0
    return done.stderr


def test_the_command_line_offers_every_kind_of_fault() -> None:
    assert {verb for verb, _ in OWN} | {*OF_NODES} == {*VERBS}


def test_a_hive_in_production_is_not_broken_unless_that_is_meant(gotham: Hive) -> None:
    gotham.configure("PRODUCTION = True")
    assert "PRODUCTION = True" in refusal(gotham, "kill", "batman", "--yes")
    assert "hived does not run this hive here" in refusal(gotham, "kill", "batman", "--yes", "--yes-i-mean-it")


def test_it_asks_first_and_needs_a_target(gotham: Hive) -> None:
    done = gotham.run("hm", "drill", "kill", "batman")
    assert (done.returncode, "nobody said yes, and nothing was broken: --yes" in done.stderr) == (1, True)
    assert "kill what?" in refusal(gotham, "kill", "--yes")


def test_what_a_drill_made_stand_still_goes_on_when_the_drill_is_killed() -> None:
    code = """
import asyncio, os, signal, sys
from hivemind.drills.healer import Healer
from hivemind.identity import ProcessIdentity
async def main():
    async with Healer("redis://127.0.0.1:1", "gotham") as healer:
        await healer.thaw(ProcessIdentity.of(int(sys.argv[1])))
        os.kill(int(sys.argv[1]), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        subprocess.run([sys.executable, "-c", code, str(sleeper.pid)], check=False, timeout=30)
        eventually(lambda: psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED, within=20)
        sleeper.kill()


@alone
@pytest.mark.timeout(300)
def test_what_is_promised_is_kept_by_a_hive_that_is_broken_in_many_ways(running: Hive) -> None:
    done = running.run("hm", "drill", "all", "--flush", "--quick", "--yes", "--json", timeout=280)
    reports: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [one for one in reports if broken(one)], done.stdout + done.stderr
    assert len(reports) == 8, done.stderr
    assert all(one["sent"] > 0 for one in reports)
    assert done.returncode == (0 if all(one["kept"] for one in reports) else 1)
    assert left_behind(running) == []


def broken(one: dict[str, Any]) -> list[str]:
    """What was not kept; but times, on a machine that does much else, only where they are far off."""
    limits, found = one["limits"], [what for what in one["broken"] if not what.startswith(("noticed", "back"))]
    patience = BUSY * limits["stretch"]
    return found + [what for what in ("noticed", "back") if one[what] is None or one[what] > patience * limits[what]]


@alone
def test_a_probe_that_acknowledges_before_its_effect_is_written_is_found_out(running: Hive) -> None:
    report = asyncio.run(canary(running))
    assert report.lost > 0
    assert not report.kept
    assert left_behind(running) == []


async def canary(hive: Hive) -> Report:
    async with opened(hive.engine, print, is_canary=True) as drills:
        return await drills.run(Chosen("kill", "probe"))


@alone
def test_redis_goes_on_and_nothing_is_left_when_a_drill_is_killed(running: Hive) -> None:
    socket = running.folder / "var/redis.sock"
    with subprocess.Popen(
        running.command("hm", "drill", "freeze", "redis", "--yes"), cwd=running.folder, env=running.environ
    ) as drill:
        eventually(lambda: ask(socket, "PING", timeout=0.3) is None, within=40)
        drill.send_signal(signal.SIGKILL)
    eventually(lambda: ask(socket, "PING", timeout=1.0) == "+PONG", within=20)
    eventually(lambda: left_behind(running) == [], within=30)


@alone
def test_a_second_drill_in_the_same_hive_is_refused(running: Hive) -> None:
    asyncio.run(two_at_once(running))


@alone
def test_what_cannot_be_done_to_that_hive_is_refused_in_words(running: Hive) -> None:
    asyncio.run(refused(running))
    done = running.run("hm", "drill", "kill", "batmn", "--yes")
    assert (done.returncode, "nothing that runs is called batmn, did you mean batman?" in done.stderr) == (2, True)


async def refused(hive: Hive) -> None:
    reasons = {
        ("failover", "redis"): "this one has a single Redis",
        ("fill", "disk"): "others would have no room either",
        ("kill", "joker"): "nothing that runs is called joker; what runs: batman, robin, root",
        ("slow", "batman"): "slow is not for batman, but for redis",
    }
    async with opened(hive.engine, print) as drills:
        for (verb, target), reason in reasons.items():
            with pytest.raises(SupervisorError, match=reason):
                await drills.run(Chosen(verb, target))


@alone
def test_a_hive_that_is_not_well_is_not_broken_further(running: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind.drills.drill.WELL", 0.1)
    redis = Embedded.of(running.engine.settings).pidfile.living()
    assert redis is not None
    kill(redis, signal.SIGSTOP)
    try:
        with pytest.raises(SupervisorError, match="the hive is not well: Redis does not answer"):
            asyncio.run(canary(running))
    finally:
        kill(redis, signal.SIGCONT)


@alone
def test_a_drill_does_not_begin_beside_a_program_that_fails_again_and_again(
    running: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.drills.drill.WELL", 0.1)
    running.node("joker", FALLING)
    running.run("hived", "reload")
    eventually(lambda: running.program("joker.0").failures > 1, within=60)
    with pytest.raises(SupervisorError, match=r"the hive is not well: joker\.0 .*; nothing was broken"):
        asyncio.run(canary(running))
    assert left_behind(running) == []


async def two_at_once(hive: Hive) -> None:
    async with opened(hive.engine, print):
        said = await asyncio.to_thread(refusal, hive, "kill", "batman", "--yes")
    assert "another drill goes on" in said
