"""How far something is, for a person who waits: bars on standard error, and nothing of them through a pipe."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import orjson
import pytest

from hivemind.bus.commands import Commands
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.functions import Functions
from hivemind.bus.streams import Streams
from hivemind.cli import output
from hivemind.cli.roll import _Shown
from hivemind.data.kept import Kept
from hivemind.supervisor.actions import Result
from hivemind.supervisor.control import Answer, Hived
from hivemind.topics import Names

from .cli_kit import Place
from .pty_kit import at_terminal
from .servers import RedisServer

WIPE = "\r\x1b[K"


def test_a_bar_is_as_full_as_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for share in (0.0, 0.5, 1.0, 7.0):
        output.progress("it", share)
    lines = capsys.readouterr().err.split(WIPE)[1:]
    assert [line.count("━") + line.count("#") for line in lines] == [0, 10, 20, 20]
    assert [line.split()[1:] for line in lines] == [["0%", "it"], ["50%", "it"], ["100%", "it"], ["100%", "it"]]


def test_what_is_longer_than_the_terminal_is_cut_so_that_it_stays_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    output.progress("x" * 500)
    assert len(capsys.readouterr().err.removeprefix(WIPE)) < 500


def test_through_a_pipe_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    output.progress("it", 0.5)
    output.end_progress()
    assert capsys.readouterr().err == ""


def test_a_roll_shows_how_many_of_its_instances_are_through(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown, hived = _Shown(), Hived("alfa", "", 0)
    names = [f"batman.{number}" for number in range(4)]
    shown.hear(Answer(hived, names, doing="batman.0: waits"))
    shown.hear(Answer(hived, names, [Result(names[0], True, "rolled")], doing="batman.1: waits"))
    err = capsys.readouterr().err
    assert "  0%  batman.0: waits" in err
    assert " 25%  batman.1: waits" in err


def test_hm_play_shows_how_far_into_the_recording_it_is(here: Place) -> None:
    lines = [
        {"time": 1000.0 + at / 20, "topic": "lamp", "envelope": {"v": 1, "n": "x.0", "e": 1, "s": 1, "d": at}}
        for at in range(60)
    ]
    here.write("a.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))
    with at_terminal(here, "play", "a.jsonl") as terminal:
        terminal.says("━")
        terminal.says("%  ")
        terminal.says("played 60 messages")
        assert terminal.process.wait(20) == 0
        assert terminal.raw.rpartition("━")[2].count(WIPE) >= 1  # the bar is gone


async def test_hm_dead_replay_shows_how_many_are_done(here: Place, server: RedisServer, hive_name: str) -> None:
    names = Names(hive_name)
    async with Commands(Endpoint.parse(server.url)) as commands:
        streams = Streams(commands, Functions(commands), names)
        await Kept(streams).announce("orders")
        await streams.join("orders", "shop", "0")
    for number in range(5):
        envelope = {"v": 1, "n": "orders.0", "e": 5, "s": number + 1, "t": time.time(), "d": number}
        said = {"topic": "orders", "entry": "5-0", "group": "shop", "instance": "shop.0", "incarnation": 7, "tries": 6}
        said |= {"died": time.time(), "reason": "OSError", "traceback": "", "message": orjson.dumps(envelope).decode()}
        server.command("XADD", names.letters("orders"), "*", "b", orjson.dumps(said))
    with at_terminal(here, "dead", "replay", "orders") as terminal:
        assert await asyncio.to_thread(terminal.process.wait, 30) == 0
        await asyncio.to_thread(terminal.says, "  0%  no dead letters replayed")
        await asyncio.to_thread(terminal.says, "orders: 5 dead letters replayed")
