"""A log in JSON: what each line says, and that whoever reads logs reads both forms."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind import Message, Node, Service, log, responder, service, subscription
from hivemind.burst import MOST_NAMED, Burst
from hivemind.bus.requests_link import Calls
from hivemind.cli.log_view import as_dict
from hivemind.log_context import trace_id
from hivemind.log_files import Follower, merge
from hivemind.log_lines import JsonForm, LogLine, Said, format_line, parse_line
from hivemind.node import results
from hivemind.node import subscription as subscription_module
from hivemind.supervisor.last_words import last_words
from hivemind.supervisor.log_tail import Bit, bit_in
from hivemind.testing import HiveTest

from .hive_kit import SENDER, Hive
from .test_foreground import Terminal
from .waiting import eventually

FIELDS = ["time", "level", "logger", "message", "hive", "instance"]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FORM = JsonForm("gotham", "batman.0")
SPEAKS = """
from hivemind import Node, subscription

class Batman(Node):
    @subscription("robin")
    def hear(self, payload):
        print("heard")
        raise ValueError("no cape")
"""


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """Where this process logs in JSON meanwhile."""
    file = tmp_path / "a.log"
    how: dict[str, Any] = {"max_bytes": 0, "backups": 0, "terminal": False, "own_streams": False}
    stop = log.setup(level="INFO", file=file, form=FORM, **how)
    yield file
    stop()


def objects(file: Path) -> list[dict[str, Any]]:
    logging.getLogger().handlers[-1].flush()
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def said(file: Path, text: str) -> dict[str, Any]:
    """The one line that says ``text``, when it is there."""

    def found() -> list[dict[str, Any]]:
        return [line for line in objects(file) if line["message"] == text]

    eventually(found, within=10)
    [line] = found()
    return line


def test_a_line_is_an_object_with_its_time_as_rfc_3339_in_utc() -> None:
    about = ("signal", "signal/robin.0/1/2", TRACE)
    line = FORM.line(Said(1767319445.678, "INFO", "batman.0", "to the\ncave", "", *about))
    found = parse_line(line)
    assert found is not None
    assert (found.topic, found.message, found.trace) == about
    assert orjson.loads(line) == {
        "time": "2026-01-02T02:04:05.678Z",
        "level": "INFO",
        "logger": "batman.0",
        "message": "to the\ncave",
        "hive": "gotham",
        "instance": "batman.0",
        "topic": "signal",
        "message_id": "signal/robin.0/1/2",
        "trace_id": TRACE,
    }


any_text = st.text(st.characters(exclude_categories=()))  # half surrogate pairs, too


@given(st.integers(0, 4_000_000_000_000), any_text, any_text, any_text, any_text)
def test_every_entry_is_one_line_that_is_read_back_and_drives_no_terminal(
    ms: int, level: str, name: str, text: str, trace: str
) -> None:
    line = FORM.line(Said(ms / 1000, level, name, text, trace))
    assert all(char == " " or char.isprintable() or ord(char) > 159 for char in line)
    assert orjson.loads(line)["hive"] == "gotham"
    found = parse_line(line)
    assert found is not None
    assert found.time == pytest.approx(ms / 1000, abs=0.001)
    assert all(char in "\t\n" or ord(char) > 159 or char.isprintable() for char in found.text)


@given(st.dictionaries(st.text(), st.none() | st.text() | st.booleans()), st.text())
def test_other_objects_are_no_entries_and_break_nobody(other: dict[str, Any], stamp: str) -> None:
    for broken in (other, {"time": stamp, **other}, {"time": "2026-01-02T02:04:05", "hive": "x", **other}):
        assert parse_line(orjson.dumps(broken).decode()) is None
    assert parse_line('{"time":"2026-01-02T02:04:05.678Z","lev') is None


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00.000+14:00", "9999-12-31T23:59:59.000-14:00"])
def test_a_line_of_a_time_that_no_clock_can_show_is_no_entry(stamp: str) -> None:
    of_now = FORM.line(Said(1.0, "INFO", "a", "x"))
    assert parse_line(of_now.replace("1970-01-01T00:00:01.000Z", stamp)) is None
    assert parse_line(f"{stamp} INFO     a  x") is None


def test_both_forms_are_read_side_by_side_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    lines = [
        format_line(1.0, "INFO", "a.0", "one\nmore of one"),
        FORM.line(Said(2.0, "ERROR", "a.0", "two", "Traceback: x", "t", "t/b.0/1/1")),
        "what a C library wrote",
        format_line(3.0, "INFO", "a.0", "three"),
    ]
    file.write_text("".join(f"{line}\n" for line in lines))
    expected = [
        LogLine(1.0, "INFO", "a.0", "one\nmore of one", file),
        LogLine(
            2.0,
            "ERROR",
            "a.0",
            "two\nTraceback: x\nwhat a C library wrote",
            file,
            instance="batman.0",
            topic="t",
            message="t/b.0/1/1",
        ),
        LogLine(3.0, "INFO", "a.0", "three", file),
    ]
    with closing(Follower(file)) as follower:
        assert list(merge([file])) == follower.read() == expected


def test_a_message_cannot_forge_an_entry_of_the_other_form(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    forged = FORM.line(Said(2.0, "ERROR", "bank.0", "all is lost"))
    file.write_text(format_line(1.0, "INFO", "a.0", f"hi\n{forged}") + "\n")
    assert [line.text for line in merge([file])] == [f"hi\n {forged}"]
    file.write_text(FORM.line(Said(1.0, "INFO", "a.0", f"hi\n{format_line(2.0, 'ERROR', 'bank.0', 'lost')}")) + "\n")
    assert len(list(merge([file]))) == 1


def test_last_words_are_found_in_a_log_of_json(tmp_path: Path) -> None:
    own = tmp_path / "a.log"
    trace = 'Traceback (most recent call last):\n  File "x"\nValueError: no cape'
    own.write_text(FORM.line(Said(time.time(), "ERROR", "a.0", "it failed", trace)) + "\n")
    assert last_words(tmp_path / "a.out", own) == "it failed: ValueError: no cape"


def test_other_hosts_are_sent_the_topic_and_the_message_too() -> None:
    lines = (LogLine(1.0, "INFO", "a", "x", Path("/a.log"), "", "a.0", "t", "t/b.0/1/1"),)
    found = bit_in(Bit(lines).to_json(), "gamma")
    assert found is not None
    assert [line.about() for line in found.lines] == [lines[0].about()]


def test_a_traceback_is_a_field_of_its_own(logged: Path) -> None:
    try:
        raise ValueError("no cape")
    except ValueError:
        logging.getLogger("batman.0").exception("it failed")
    line = said(logged, "it failed")
    assert line["traceback"].startswith("Traceback (most recent call last):\n")
    assert line["traceback"].endswith("ValueError: no cape")
    assert (line["hive"], line["instance"], "topic" in line) == ("gotham", "batman.0", False)
    assert datetime.fromisoformat(line["time"]).timestamp() == pytest.approx(time.time(), abs=60)


class Talks(Node):
    """Says what it does, wherever that is done."""

    @subscription("live")
    async def live(self, payload: str, message: Message) -> None:
        self.log_info(f"live {message.id}")
        self.later = asyncio.create_task(self._later(message))

    async def _later(self, message: Message) -> None:
        await asyncio.sleep(0.2)  # others are handled meanwhile
        self.log_info(f"later {message.id}")

    @subscription("live")
    def on_thread(self, payload: str) -> None:
        self.log_info(f"thread {payload}")

    @subscription("fails")
    async def fails(self, payload: str) -> None:
        raise ValueError(payload)

    @subscription("fails-kept", durable=True)
    async def fails_kept(self, payload: str) -> None:
        raise ValueError(payload)

    @subscription("fits")
    async def fits(self, payload: int) -> None:
        pass

    @subscription("kept", durable=True)
    async def kept(self, payload: str, message: Message) -> None:
        self.log_info(f"kept {message.id}")

    @subscription("kept", durable=True, group="threads")
    def kept_on_thread(self, payload: str) -> None:
        self.log_info(f"kept thread {payload}")

    @responder("ask")
    async def ask(self, payload: str) -> str:
        self.log_info(f"asked {payload}")
        return payload

    @responder("ask-thread")
    def ask_on_thread(self, payload: str) -> str:
        self.log_info(f"asked thread {payload}")
        return payload

    @service("seen", every=60.0)
    async def look(self, service: Service) -> None:
        self.log_info("looked")


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01-more"}, TRACE),
        ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, ""),
        ({"traceparent": f"00-{TRACE.upper()}-00f067aa0ba902b7-01"}, ""),
        ({"traceparent": "00-x\n-1-01"}, ""),
        ({"traceparent": 7}, ""),
        ({}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_the_trace_of_headers_is_known_by_its_id_and_nothing_else_is_one(headers: Any, trace: str) -> None:
    assert trace_id(headers) == trace


def test_a_line_says_the_trace_of_the_message_that_is_handled(hive_server: str, logged: Path) -> None:
    with HiveTest(hive_server, "talks") as hive:
        hive.start(Talks)
        headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
        hive.send("live", "x", headers=headers)
        hive.send("kept", "y", durable=True, headers=headers)
        eventually(lambda: any(one["message"] == "kept thread y" for one in objects(logged)), within=10)
        eventually(lambda: any(one["message"] == "thread x" for one in objects(logged)), within=10)
        lines = objects(logged)
    assert {one.get("trace_id") for one in lines if one["message"] in ("thread x", "kept thread y")} == {TRACE}
    assert not [one for one in lines if one["message"] == "looked" and "trace_id" in one]


def test_a_trace_travels_between_hosts_and_an_older_version_reads_the_rest() -> None:
    line = LogLine(1.0, "INFO", "batman", "x", Path("a.log"), "", "batman.0", "signal", "id", TRACE)
    told = Bit((line,)).to_json()
    found = bit_in(told, "beta")
    assert found is not None
    assert found.lines[0].about()["trace_id"] == TRACE
    assert len(orjson.loads(told)["about"][0]) == 3


def test_a_line_says_topic_and_id_of_the_message_that_is_handled(hive_server: str, logged: Path) -> None:
    with HiveTest(hive_server, "talks") as hive:
        hive.start(Talks)
        for _ in range(3):
            hive.send("live", "x")
        hive.send("fails", "boom")
        hive.send("fits", "no number")
        hive.send("kept", "y", durable=True)
        assert hive.request("ask", "z") == hive.request("ask-thread", "z") == "z"
        eventually(lambda: sum(one["message"].startswith("later ") for one in objects(logged)) == 3, within=10)
        eventually(lambda: any(one["message"] == "kept thread y" for one in objects(logged)), within=10)
        lines = objects(logged)

    told = [one for one in lines if one["message"].startswith(("live ", "later ", "kept kept"))]
    assert len(told) == 7
    for line in told:
        assert line["message"].split(" ")[1] == line["message_id"]
        assert line["topic"] == line["message_id"].split("/")[0]
    about = {one["message"].split(":")[0]: (one.get("topic"), one.get("message_id", "")) for one in lines}
    for text, topic in [
        ("thread x", "live"),
        ("Talks.fails failed on a message of fails", "fails"),
        ("kept thread y", "kept"),
        ("asked z", "ask"),
        ("asked thread z", "ask-thread"),
    ]:
        assert about[text][0] == topic
        assert about[text][1].startswith(f"{topic}/")
    assert next(found for text, found in about.items() if "does not fit" in text)[0] == "fits"
    assert about["looked"] == ("seen", "")
    assert {one["instance"] for one in lines if one["message"] == "looked"} == {"talks.0"}


@pytest.mark.parametrize(("topic", "payload"), [("fails", "boom"), ("fits", "no number"), ("fails-kept", "boom")])
def test_a_line_for_many_messages_names_those_that_had_none(
    hive_server: str, logged: Path, topic: str, payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (subscription_module, results):
        monkeypatch.setattr(module, "Burst", partial(Burst, 0.2))
    lines: list[dict[str, Any]] = []

    def told() -> bool:
        hive.send(topic, payload, durable=topic == "fails-kept")
        lines[:] = [one for one in objects(logged) if one.get("topic") == topic]
        return any("more_ids" in one for one in lines)

    with HiveTest(hive_server, "talks") as hive:
        hive.start(Talks)
        eventually(told, within=10)
    [line] = [one for one in lines if "more_ids" in one]
    count = int(line["message"].partition(" more like it")[0].rpartition("(")[2])
    assert 0 < len(line["more_ids"]) == min(count, MOST_NAMED)
    assert all(each.startswith(f"{topic}/") for each in line["more_ids"])
    assert not {one["message_id"] for one in lines} & {*line["more_ids"]}
    read = parse_line(orjson.dumps(line).decode())
    assert read is not None
    assert as_dict(read)["more_ids"] == line["more_ids"]


class Asks(Node):
    """Asks for the first time in a handler: what it asks over is connected then."""

    @subscription("ask-first")
    async def ask(self, payload: str) -> None:
        self.log_info("asks")
        await self.request("ask", payload)


def test_a_connection_that_a_handler_needed_first_says_nothing_of_its_message(
    hive_server: str, logged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link_up = Calls.link_up

    async def told(calls: Calls) -> None:
        logging.getLogger("hivemind.link").info("up")
        await link_up(calls)

    monkeypatch.setattr(Calls, "link_up", told)
    with HiveTest(hive_server, "asks") as hive:
        hive.start(Asks)
        hive.send("ask-first", "x")
        assert said(logged, "asks")["topic"] == "ask-first"
        assert "topic" not in said(logged, "up")


def test_the_logs_of_nodes_of_the_root_and_of_hived_obey_and_hm_reads_them(gotham: Hive) -> None:
    gotham.configure('LOG_FORMAT = "json"')
    gotham.node("robin", SENDER)
    gotham.node("batman", SPEAKS)
    gotham.start()
    logs = gotham.folder / "log"
    eventually(lambda: "no cape" in (logs / "batman.log").read_text(), within=20)
    eventually((logs / "root.log").read_text, within=20)
    assert gotham.run("hived", "reload").returncode == 0

    files = {path.stem: [orjson.loads(line) for line in path.read_bytes().splitlines()] for path in logs.glob("*.log")}
    assert set(files) >= {"batman", "robin", "root", "hived"}
    for name, lines in files.items():
        assert {line["hive"] for line in lines} == {"gotham"}
        assert {line["instance"] for line in lines} == {f"{name}.0"}
        assert all([*line][:6] == FIELDS for line in lines)
    heard = next(line for line in files["batman"] if line["message"] == "heard")
    assert (heard["logger"], heard["topic"]) == ("stdout", "robin")
    assert heard["message_id"].startswith("robin/robin.0/")
    assert any("reload" in line["message"] for line in files["hived"])

    shown = [orjson.loads(line) for line in gotham.run("hm", "logs", "--json", "batman").stdout.splitlines()]
    assert any(line["text"] == "heard" and line["message_id"] == heard["message_id"] for line in shown)
    assert "ValueError: no cape" in gotham.run("hm", "logs", "batman").stdout
    assert "no cape" in gotham.run("hm", "why", "batman").stdout


def test_a_hive_in_the_foreground_shows_json_and_hm_dev_shows_text(gotham: Hive) -> None:
    gotham.configure('LOG_FORMAT = "json"')
    gotham.node("robin", SENDER)
    gotham.node("batman", SPEAKS)
    terminal = Terminal(gotham, "hived", "start", "--foreground")
    terminal.shows("no cape")
    terminal.end()
    lines = [orjson.loads(line) for line in terminal.text().splitlines() if line.startswith("{")]
    failed = next(line for line in lines if "no cape" in line.get("traceback", ""))
    assert (failed["instance"], failed["topic"], "\n" in failed["message"]) == ("batman.0", "robin", False)

    terminal = Terminal(gotham, "hm", "dev")
    terminal.shows("no cape")
    terminal.end()
    assert not [line for line in terminal.text().splitlines() if line.startswith("{")]
