"""`hm logs` of other hosts: their ends, bounded, over the bus, and what is added while somebody follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hivemind.bus.bus import Bus
from hivemind.bus.endpoint import Endpoint
from hivemind.log_lines import LogLine, format_line
from hivemind.settings import load_settings
from hivemind.supervisor.actions import Request, Verb
from hivemind.supervisor.control import CHANNEL, Hived, ask, decode_request
from hivemind.supervisor.log_server import LogServer
from hivemind.supervisor.log_tail import LONGEST, MOST, Bit, LogTail, bit_in, bits

from .cli_kit import Place, Running, place
from .hive_kit import Hive
from .servers import RedisServer


def write(folder: Path, name: str, *texts: str) -> None:
    (folder / "log").mkdir(parents=True, exist_ok=True)
    with (folder / "log" / f"{name}.log").open("a") as file:
        file.writelines(format_line(time.time(), "INFO", name, text) + "\n" for text in texts)


def said(found: list[Bit]) -> list[str]:
    return [line.text for bit in found for line in bit.lines]


def test_of_too_much_the_newest_is_sent_and_the_rest_counted() -> None:
    lines = [LogLine(float(number), "INFO", "batman.0", "x" * 1000) for number in range(3000)]
    found = bits(lines[::-1])
    assert [line.time for bit in found for line in bit.lines] == [
        float(each) for each in range(found[0].left_out, 3000)
    ]
    assert 0 < found[0].left_out < 3000
    assert sum(len(bit.to_json()) for bit in found) < 2 * MOST
    assert max(len(bit.to_json()) for bit in found) < MOST / 4


def test_a_bit_is_read_as_it_was_written_and_a_long_entry_is_cut() -> None:
    line = LogLine(1.5, "ERROR", "batman.0", "y" * (LONGEST + 1), Path("/log/batman.log"))
    found = bit_in(Bit((line,), 7).to_json(), "beta")
    assert found is not None
    (read,) = found.lines
    assert (read.time, read.level, read.source, read.host) == (1.5, "ERROR", line.source, "beta")
    assert (len(read.text), found.left_out) == (LONGEST + 1, 7)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"lines": [[1]], "left_out": 0}', '{"lines": 3, "left_out": 0}'),
        '{"lines": [[1e300, "INFO", "a", "in no calendar", "x.log"]], "left_out": 0}',
        '{"lines": [], "left_out": 1e999}',
    ],
)
def test_what_is_no_bit_is_ignored(text: str) -> None:
    assert bit_in(text, "beta") is None


def test_a_tail_has_the_end_of_each_file_then_what_is_added(tmp_path: Path) -> None:
    settings = load_settings(Hive(tmp_path).folder, {})
    write(tmp_path, "batman", "one")
    (tmp_path / "log/batman.log").rename(tmp_path / "log/batman.log.1")
    write(tmp_path, "batman", "two")
    write(tmp_path, "robin", "three")
    every, batman = LogTail(settings, ()), LogTail(settings, ("batman",))
    assert said(every.first(None)) == ["one", "two", "three"]
    assert said(batman.first(time.time() + 60)) == []
    write(tmp_path, "batman", "four")
    write(tmp_path, "alfred", "five")
    assert said(every.more()) == ["four", "five"]
    assert said(batman.more()) == ["four"]
    every.close()
    batman.close()


@pytest.fixture
def alfa(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    """Where `hm` is typed: a host with logs of its own, in a hive that has two more."""
    hosts = 'HOSTS = {"alfa": [], "beta": [], "gamma": []}'
    with place(tmp_path / "alfa", HIVEMIND_HOST="alfa") as made:
        for folder in (made.folder, tmp_path / "beta"):
            Hive(folder, hive_name, f"{hosts}\nREDIS_URL = {server.url!r}").node("batman")
        write(made.folder, "batman", "here")
        write(tmp_path / "beta", "batman-1", "there")
        yield made


@asynccontextmanager
async def serving(folder: Path, host: str) -> AsyncIterator[None]:
    """The part of a hived that answers for the logs."""
    settings = load_settings(folder, {})
    async with Bus(Endpoint.parse(settings.redis_url), settings.name, "hived") as bus:
        served = LogServer(settings, Hived(host, str(folder), 1), bus.notify)

        def hear(body: bytes) -> None:
            if (found := decode_request(body)) is not None and found[0].verb is Verb.LOGS:
                served.hear(*found)

        bus.live.listen(bus.names.control(CHANNEL), hear)
        await bus.live.confirmed()
        yield


async def ended(running: Running) -> Running:
    assert await asyncio.to_thread(running.wait, 30.0) == 0, running.stderr
    return running


async def test_logs_of_all_hosts_are_one_and_who_does_not_answer_is_told(alfa: Place, tmp_path: Path) -> None:
    async with serving(tmp_path / "beta", "beta"):
        found = await ended(alfa.hm("logs", "batman"))
        assert [line.split()[2:] for line in found.stdout.splitlines()] == [
            ["batman", "here"],
            ["batman-1@beta", "there"],
        ]
        assert "no hived answers on gamma: its logs are not among these" in found.stderr
        only = await ended(alfa.hm("logs", "--here"))
    assert (only.stdout.count("\n"), "gamma" in only.stderr) == (1, False)


async def test_who_follows_hears_of_other_hosts_too(alfa: Place, tmp_path: Path) -> None:
    async with serving(tmp_path / "beta", "beta"):
        following = alfa.hm("logs", "-f")
        await asyncio.to_thread(following.says, "there")
        write(tmp_path / "beta", "batman-1", "and more")
        await asyncio.to_thread(following.says, "and more")
        write(alfa.folder, "batman", "also here")
        await asyncio.to_thread(following.says, "also here")
        assert await asyncio.to_thread(following.end) == 0


async def test_who_follows_hears_each_entry_once_though_the_other_hived_is_begun_anew(
    alfa: Place, tmp_path: Path
) -> None:
    async with serving(tmp_path / "beta", "beta"):
        following = alfa.hm("logs", "-f")
        await asyncio.to_thread(following.says, "there")
    write(tmp_path / "beta", "batman-1", "meanwhile")
    async with serving(tmp_path / "beta", "beta"):
        await asyncio.to_thread(following.says, "meanwhile")
        write(tmp_path / "beta", "batman-1", "the last")
        await asyncio.to_thread(following.says, "the last")
        assert await asyncio.to_thread(following.end) == 0
    far = [line.rpartition("  ")[2] for line in following.stdout.splitlines() if "@beta" in line]
    assert far == ["there", "meanwhile", "the last"]


async def test_who_is_alone_sends_its_logs_to_nobody(tmp_path: Path, server: RedisServer, hive_name: str) -> None:
    hive = Hive(tmp_path, hive_name, f"REDIS_URL = {server.url!r}")
    write(hive.folder, "batman", "mine")
    endpoint, alone = Endpoint.parse(server.url), Request(Verb.LOGS, ())
    async with serving(hive.folder, "alfa"):
        assert await ask(endpoint, hive_name, alone, timeout=1.0, patience=1.0) == []


async def test_logs_of_this_host_are_shown_also_while_redis_is_away(alfa: Place) -> None:
    settings = (alfa.folder / "config/hive.py").read_text()
    (alfa.folder / "config/hive.py").write_text(f'{settings}\nREDIS_URL = "redis://127.0.0.1:1"')
    found = await ended(alfa.hm("logs"))
    assert found.stdout.endswith("here\n")
    assert "the logs of beta, gamma are not among these: Redis at redis://127.0.0.1:1" in found.stderr
