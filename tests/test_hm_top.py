"""`hm top`: what it shows of a hive, what keys do to that, and that it leaves a terminal as it found it."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from hivemind.cli import output
from hivemind.cli.top_rows import as_object, node_sheets, nodes_sheet, topics_sheet, totals
from hivemind.cli.top_view import NODE, NODES, TOPICS, View, heading, keys_in, pressed
from hivemind.data.backlog import GroupBacklog, TopicBacklog
from hivemind.data.durability import Durability
from hivemind.data.entries import KeptTopic
from hivemind.data.records import ResponderRecord, ServiceRecord, Stats, SubscriptionRecord
from hivemind.picture.declared import Declared
from hivemind.picture.durable import DurableView
from hivemind.picture.health import Level
from hivemind.picture.monitor import History
from hivemind.picture.nodes import BAD, node_lines
from hivemind.picture.snapshot import Snapshot, nodes_of
from hivemind.picture.state import State
from hivemind.root.pages.nodes import level
from hivemind.supervisor.status import ProgramStatus

from .cli_kit import RECEIVER, SENDER, Place, place
from .pty_kit import at_terminal, plain
from .root_kit import instance
from .servers import RedisServer

ORDERS = TopicBacklog(KeptTopic("orders", 0), 100, 4096, 6, (GroupBacklog("orders", "shop", 40, 2, 3.5, 1.0),))
UP, DOWN, ENTER, ESC = "\x1b[A", "\x1b[B", "\r", "\x1b"


def stats(beat: int) -> Stats:
    times = (1500 * beat, 4, beat)
    hears = SubscriptionRecord("bat-*", "save", received=20 * beat, missed=3, failed=1, times=times, delays=times)
    return Stats(
        services=(ServiceRecord("bat-main", sent=10 * beat), ServiceRecord("unheard", sent=0)),
        subscriptions=(hears, SubscriptionRecord("cat-*", "ignore")),
        responders=(ResponderRecord("car", "drive", received=2 * beat),),
        memory=50 * 2**20,
        cpu=0.125,
    )


def snapshot() -> Snapshot:
    history = History()
    for beat in (0, 1):
        at = 100.0 + 2 * beat
        found = [instance("batman.0", beat=at, stats=stats(beat)), instance("alfred.0", beat=at)]
        views = history.follow([*found, instance("joker.0", beat=None)])
    return Snapshot(
        "gotham", "redis://x", 102.0, nodes=nodes_of(views), durable=DurableView(Durability(topics=(ORDERS,)))
    )


def test_a_node_has_its_rates_losses_times_memory_and_processor() -> None:
    row = next(row for row in nodes_sheet(snapshot()).rows if row.values["node"] == "batman")
    assert (row.values["sends"], row.values["receives"]) == (5.0, 11.0)
    assert (row.values["lost"], row.values["failed"], row.style) == (3, 1, "yellow")
    assert 0.001 < row.values["p99"] <= 0.002
    cells = row.cells(nodes_sheet(snapshot()).columns)
    assert cells[:4] == ["batman", "running", "5.0/s", "11/s"]
    assert cells[-2:] == ["12 %", "50 MiB"]


def test_who_is_lost_is_red() -> None:
    assert {row.values["node"]: row.style for row in nodes_sheet(snapshot()).rows}["joker"] == "red"


@pytest.mark.parametrize("bad", sorted(BAD))
def test_who_does_not_do_what_he_should_is_red_in_the_sentence_in_hm_top_and_on_the_page(bad: str) -> None:
    oven = ProgramStatus("oven.0", bad, detail="no gas")
    should = Declared(("oven.0",), programs={"oven.0": oven}, is_supervised=True)
    seen = Snapshot("gotham", "", 1.0, state=State(should))
    (line,), (row,) = node_lines(seen), nodes_sheet(seen).rows
    assert (seen.health.level, level(line), row.style) == (Level.TROUBLE, "trouble", "red")


def test_who_goes_on_with_the_code_of_before_is_not_well() -> None:
    oven = ProgramStatus("batman.0", "running", fault="SyntaxError: no gas", release="1")
    seen = replace(snapshot(), state=State(Declared(("batman.0",), programs={"batman.0": oven}, is_supervised=True)))
    line, row = node_lines(seen)[1], nodes_sheet(seen).rows[1]
    assert line.problem == "goes on with the code of before: SyntaxError: no gas"
    assert (level(line), row.style, row.values["state"]) == ("trouble", "red", "running, not well")


def test_a_topic_has_who_sends_who_hears_what_is_kept_and_what_is_odd() -> None:
    rows = {row.values["topic"]: row.values for row in topics_sheet(snapshot()).rows}
    assert (rows["bat-main"]["sent by"], rows["bat-main"]["heard by"], rows["bat-main"]["sends"]) == ("batman",) * 2 + (
        5.0,
    )
    assert (rows["orders"]["kept"], rows["orders"]["lag"], rows["orders"]["oldest"], rows["orders"]["dead"]) == (
        *(100, 40, 3.5),
        6,
    )
    assert rows["unheard"]["note"].startswith("nobody listens")
    assert "no service sends on it" in rows["cat-*"]["note"]


def test_all_of_a_node_is_its_copies_what_it_sends_and_what_it_hears() -> None:
    copies, sends, hears = node_sheets(snapshot(), "batman", 150.0)
    assert [row.values["instance"] for row in copies.rows] == ["batman.0"]
    assert [row.values["service"] for row in sends.rows] == ["bat-main", "unheard"]
    assert [row.values["hears"] for row in hears.rows] == ["bat-*", "cat-*", "car"]
    assert node_sheets(snapshot(), "robin", 150.0) == []


def test_the_figures_are_those_of_hm_status() -> None:
    assert totals(snapshot()) == "sends 5.0/s · receives 11/s · lost 3 · lag 40 · oldest 3 s · dead letters 6"


def test_rows_are_sorted_by_any_column_and_what_is_not_known_comes_last() -> None:
    sheet = nodes_sheet(snapshot())
    order = {by: [row.values["node"] for row in sheet.arranged(by).rows] for by in ("", "node", "sends", "lost", "p99")}
    assert order[""] == order["node"] == ["alfred", "batman", "joker"]
    assert order["sends"][0] == order["lost"][0] == order["p99"][0] == "batman"


@pytest.mark.parametrize(("wanted", "found"), [("a", ["alfred", "batman"]), ("j*", ["joker"]), ("x", []), ("", None)])
def test_a_filter_is_a_part_of_a_name_or_a_pattern(wanted: str, found: list[str] | None) -> None:
    names = [row.values["node"] for row in nodes_sheet(snapshot()).arranged("", wanted).rows]
    assert names == (["alfred", "batman", "joker"] if found is None else found)


NAMES, COLUMNS = ["alfred", "batman", "joker"], ["node", "cpu"]


def after(view: View, keys: str) -> View | None:
    found: View | None = view
    for key in keys_in(keys):
        assert found is not None
        found = pressed(found, key, NAMES, COLUMNS)
    return found


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (DOWN, View(chosen="batman")),
        (DOWN * 9, View(chosen="joker")),
        (DOWN * 2 + UP, View(chosen="batman")),
        ("G", View(chosen="joker")),
        (DOWN + ENTER, View(NODE, "batman", chosen="batman")),
        (ENTER, View(NODE, "alfred")),
        (DOWN + ENTER + ESC, View(NODES, "batman", chosen="batman")),
        ("\t", View(TOPICS)),
        ("\t\t", View(NODES)),
        ("t", View(TOPICS)),
        ("s", View(sort="node")),
        ("ss", View(sort="cpu")),
        ("sss", View()),
        ("/qs\x7f", View(wanted="q", is_typing=True)),
        ("/bat" + ENTER, View(wanted="bat")),
        ("/bat" + ENTER + ESC, View()),
        ("/bat" + ESC, View()),
        ("/\x00\x1b[A", View(wanted="", is_typing=True)),
        (ENTER + "ss/ba" + ESC, View(NODES, "alfred", chosen="alfred")),
        ("xyz", View()),
        ("q", None),
    ],
)
def test_what_keys_do(keys: str, expected: View | None) -> None:
    assert after(View(), keys) == expected


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View(sort="cpu", wanted="bat"), "nodes  by cpu  with bat"),
        (View(TOPICS, sort="cpu"), "topics"),
        (View(NODE, "batman", sort="cpu", wanted="bat"), "batman"),
    ],
    ids=str,
)
def test_the_heading_says_what_is_shown_and_no_column_that_is_not_there(view: View, said: str) -> None:
    assert heading(view, ["node", "cpu"] if view.kind != TOPICS else ["topic", "sends"]) == said


def test_keys_without_anything_to_choose_do_nothing() -> None:
    assert [pressed(View(), key, [], COLUMNS) for key in (UP, DOWN, ENTER)] == [View()] * 3


def test_json_is_what_is_shown() -> None:
    said = json.loads(json.dumps(as_object(replace(snapshot(), hive="x"))))
    assert [one["node"] for one in said["nodes"]] == ["alfred", "batman", "joker"]
    assert said["health"]["level"] == "trouble"


def test_a_long_text_takes_the_room_that_is_left_and_no_more() -> None:
    rows = [["batman.0", "7", "x" * 500], ["b", "1,000", "y"]]
    lines = [plain(line) for line in output.drawn(["of", "sent", "error"], rows, [], 60)]
    assert [line.split()[:2] for line in lines] == [["of", "sent"], ["batman.0", "7"], ["b", "1,000"]]
    assert max(map(len, lines)) <= 60
    assert "x" * 30 in lines[1]
    assert plain(output.drawn(["of", "sent", "error"], rows, [], 16)[1]).split() == ["batman.0", "7"]
    seven = ["of", *"abcdef"], ["batman.0", *"123456"]
    head, line = map(plain, output.drawn([*seven[0], "error"], [[*seven[1], "no gas " * 9]], [], 40))
    assert head.split() == ["of", "a", "b", "c", "error"]  # why it is not well stays
    assert re.fullmatch(r"batman.0 +1 +2 +3 +no gas no gas.*…", line.rstrip())
    assert len(line) <= 40


# -- of a hive that runs


@pytest.fixture
def busy(here: Place) -> Place:
    """Two nodes that run."""
    for name, code in (("sender.py", SENDER), ("receiver.py", RECEIVER)):
        here.write(name, code)
        here.hm("run", name, HIVEMIND_HEARTBEAT="0.5", HIVEMIND_LEASE="1.5").says("running")
    here.environ["HIVEMIND_HEARTBEAT"] = "0.5"
    return here


def test_through_a_pipe_it_prints_one_table_with_rates(busy: Place) -> None:
    done = busy.run("top")
    assert done.returncode == 0, done.stderr
    sender = next(line.split() for line in done.stdout.splitlines() if line.startswith("sender"))
    assert sender[1] == "running"
    assert 0 < float(sender[2].removesuffix("/s")) < 80
    topics = busy.run("top", "--topics")
    assert "numbers" in topics.stdout
    one = busy.run("top", "receiver")
    assert "num*" in one.stdout
    assert "MiB" in one.stdout


def test_json_has_times_and_memory_of_what_runs(busy: Place) -> None:
    said = json.loads(busy.run("top", "--json").stdout)
    nodes = {one["node"]: one for one in said["nodes"]}
    assert nodes["receiver"]["memory"] > 1e6
    assert 0 < nodes["receiver"]["p99"] <= 10
    assert 0 < nodes["receiver"]["delay"] <= 30


def test_a_node_that_nobody_knows_is_named_with_what_was_meant(busy: Place) -> None:
    done = busy.run("top", "--once", "recever")
    assert done.returncode == 2
    assert "receiver" in done.stderr


def test_nothing_is_written_by_who_looks(busy: Place, server: RedisServer) -> None:
    keys = f"*{busy.environ['HIVEMIND_HIVE_NAME']}*"
    before = set(server.command("KEYS", keys))
    assert before
    assert busy.run("top", "--once").returncode == 0
    assert set(server.command("KEYS", keys)) == before


def test_at_a_terminal_it_is_live_obeys_keys_and_puts_the_terminal_back(busy: Place) -> None:
    with at_terminal(busy, "top") as terminal:
        terminal.shows("sender")
        terminal.shows("/s")
        assert terminal.raw.count("\x1b[?1049h") == 1
        assert terminal.now != terminal.before
        terminal.type("\t")
        terminal.shows("numbers")
        terminal.type("n/rec\r")
        terminal.shows("with rec")
        terminal.type("\r")
        terminal.shows("num*")
        terminal.type("q")
        assert terminal.process.wait(20) == 0
        assert terminal.now == terminal.before
        assert terminal.raw.rstrip().endswith("\x1b[?25h\x1b[?1049l")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_puts_the_terminal_back_too(busy: Place, number: signal.Signals) -> None:
    with at_terminal(busy, "top") as terminal:
        terminal.shows("sender")
        assert terminal.end(number) == 0
        assert terminal.now == terminal.before
        assert "\x1b[?1049l" in terminal.raw


def test_a_small_terminal_shows_what_fits(busy: Place) -> None:
    with at_terminal(busy, "top", rows=8, columns=40) as terminal:
        terminal.shows("receiver")
        assert max(len(line) for line in terminal.screen.splitlines()) <= 40
        assert len(terminal.screen.splitlines()) <= 8


def test_while_redis_is_away_it_says_so_and_goes_on_when_it_is_back(own_server: RedisServer, tmp_path: Path) -> None:
    with place(tmp_path, HIVEMIND_REDIS_URL=own_server.url, HIVEMIND_HIVE_NAME="gotham") as here:
        here.environ |= {"HIVEMIND_HEARTBEAT": "0.5", "HIVEMIND_LEASE": "1.5"}
        here.write("sender.py", SENDER)
        here.hm("run", "sender.py").says("running")
        with at_terminal(here, "top") as terminal:
            terminal.shows("sender")
            own_server.kill()
            terminal.shows("Redis does not answer")
            done = here.run("top", "--once")
            assert (done.returncode, done.stdout) == (1, "")
            assert "error: " in done.stderr
            own_server.start()
            terminal.shows("gotham is well", within=30)
            terminal.type("q")
            assert terminal.process.wait(20) == 0
            assert terminal.now == terminal.before
