"""`hm tail` and `hm pub`, as people and scripts use them, on a real server."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from hivemind.cli.streams import AHEAD, CHUNK, lines_of

from .cli_kit import RECEIVER, SENDER, Place, Running
from .conftest import MakeServer
from .servers import RedisServer
from .waiting import eventually

LISTENING = "; Ctrl-C ends"


def tail(here: Place, *arguments: str, **environ: str) -> Running:
    running = here.hm("tail", *arguments, **environ)
    running.says(LISTENING)
    return running


@dataclass
class Sends:
    """Publishes as a node would, without a process for it."""

    server: RedisServer
    hive: str
    count: int = 0

    def __call__(self, topic: str, *payloads: Any, verbs: Sequence[str] = ("PUBLISH",)) -> None:
        for payload in payloads:
            self.count += 1
            envelope = {"v": 1, "n": "batsignal.0", "e": 5, "s": self.count, "t": time.time(), "d": payload}
            body = json.dumps(envelope)
            if "XADD" in verbs:
                self.server.command("XADD", f"hm:{self.hive}:s:{{{topic}}}", "*", "b", body)
                self.server.command("HSET", f"hm:{self.hive}:p:{{{topic}}}", "batsignal.0", f"5:{self.count}")
            if "PUBLISH" in verbs:
                self.server.command("PUBLISH", f"hm:{self.hive}:t:{topic}", body)


@pytest.fixture
def sends(server: RedisServer, hive_name: str) -> Sends:
    return Sends(server, hive_name)


def objects(running: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in running.stdout.splitlines()]


def test_json_is_one_object_a_message_and_nothing_else_on_standard_output(here: Place, hive_name: str) -> None:
    shown = tail(here, "--json", "--count", "2", "bat-*")
    assert here.run("pub", "bat-signal", '{"to": "Batman"}', "--count", "2").returncode == 0
    assert shown.wait() == 0
    first, second = objects(shown)
    assert list(first) == ["topic", "payload", "sender", "incarnation", "sequence", "sent_at"]
    assert (first["topic"], first["payload"], second["sequence"]) == ("bat-signal", {"to": "Batman"}, 2)
    assert abs(first["sent_at"] - time.time()) < 60
    assert shown.stderr.startswith(f"hive {hive_name} on ")
    assert "\n2 messages, " in shown.stderr


def test_text_shows_topic_sender_and_payload_on_one_line(
    here: Place, sends: Sends, server: RedisServer, hive_name: str
) -> None:
    shown = tail(here, "--count", "2", "*")
    sends("bat-signal", "Batman!\x1b[31m")
    server.command("PUBLISH", f"hm:{hive_name}:t:foreign", '"line 1\\nline 2"')
    assert shown.wait() == 0
    first, second = shown.stdout.splitlines()
    assert first.split()[1:] == ["bat-signal", "batsignal.0", "Batman!\\x1b[31m"]
    assert second.split("  ")[1:] == ["foreign", "-", "line 1\\nline 2"]


def test_raw_shows_payloads_only(here: Place, sends: Sends) -> None:
    shown = tail(here, "--raw", "--count", "2", "x")
    sends("x", "two words", {"a": [1, 2]})
    assert shown.wait() == 0
    assert shown.stdout == 'two words\n{"a":[1,2]}\n'


def test_bytes_are_base64_in_json_and_hexadecimal_in_text(here: Place) -> None:
    here.write("bytes_.py", SENDER.replace("service.send(self.number)", "service.send(b'\\x00\\xff')"))
    as_json, raw = tail(here, "--json", "--count", "1", "numbers"), tail(here, "--raw", "--count", "1", "numbers")
    here.hm("run", "bytes_.py")
    assert (as_json.wait(), raw.wait()) == (0, 0)
    assert objects(as_json)[0]["payload"] == {"base64": "AP8="}
    assert raw.stdout == "2 bytes 00ff\n"


def test_a_message_that_two_patterns_match_is_shown_once(here: Place, sends: Sends) -> None:
    shown = tail(here, "--json", "--count", "4", "a*", "ab", "*b", "a*", "x")
    for topic in ("ab", "ac", "bb", "x"):
        sends(topic, 1)
    assert shown.wait() == 0
    assert sorted(each["topic"] for each in objects(shown)) == ["ab", "ac", "bb", "x"]


def test_grep_looks_in_topic_and_payload(here: Place, sends: Sends) -> None:
    shown = tail(here, "--json", "--grep", "joker", "--count", "2", "*")
    for topic, payload in (("a", 1), ("joker", 2), ("b", {"who": "the joker"}), ("c", 3)):
        sends(topic, payload)
    assert shown.wait() == 0
    assert [each["topic"] for each in objects(shown)] == ["joker", "b"]


@pytest.mark.parametrize("form", ["--json", "--raw"])
def test_ctrl_c_prints_the_summary_on_standard_error_and_exits_0(here: Place, sends: Sends, form: str) -> None:
    shown = tail(here, form, "*")
    sends("x", *range(10))
    eventually(lambda: shown.stdout.count("\n") == 10)
    assert shown.end() == 0
    summary = shown.stderr.splitlines()[-1]
    assert summary.startswith("10 messages, ")
    assert "/s, " in summary


def test_a_pattern_that_is_a_file_here_is_answered_with_quote_it(here: Place) -> None:
    here.write("batman.py", "")
    done = here.run("tail", "batman.py")
    assert (done.returncode, "quote that, as in hm tail '*'" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments", [("tail",), ("tail", "no way"), ("tail", "--json", "--raw", "x"), ("pub", "a*", "1")]
)
def test_wrong_use_exits_2(here: Place, arguments: tuple[str, ...]) -> None:
    done = here.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: " in done.stderr


def test_tail_waits_for_a_redis_that_is_away_and_says_so(here: Place, own_server: RedisServer) -> None:
    own_server.stop()
    shown = here.hm("tail", "*", HIVEMIND_REDIS_URL=own_server.url)
    shown.says("waiting for Redis: ")
    own_server.start()
    shown.says(LISTENING)
    assert shown.end() == 0


def test_ctrl_c_ends_a_tail_that_waits_for_redis(here: Place) -> None:
    shown = here.hm("tail", "*", HIVEMIND_REDIS_URL="redis://127.0.0.1:1")
    shown.says("waiting for Redis: ")
    assert shown.end() == 0
    assert "Traceback" not in shown.stderr


def test_tail_says_that_redis_went_and_came_back_and_goes_on(here: Place, own_server: RedisServer) -> None:
    shown = tail(here, "--json", "--count", "1", "*", HIVEMIND_REDIS_URL=own_server.url)
    own_server.restart(keep_data=False)
    shown.says("warning: Redis is away")
    shown.says("Redis is back")
    here.run("pub", "x", "1", HIVEMIND_REDIS_URL=own_server.url)
    assert shown.wait() == 0
    assert len(objects(shown)) == 1


def test_a_gap_in_what_a_sender_sent_is_told(here: Place, sends: Sends) -> None:
    shown = tail(here, "--raw", "--count", "2", "x")
    for before in (2, 6):
        sends.count = before
        sends("x", before)
    assert shown.wait() == 0
    assert "warning: gap: messages 4 to 6 of batsignal.0 on x never came" in shown.stderr
    assert "; 3 missed" in shown.stderr.splitlines()[-1]


def test_a_gap_on_a_kept_topic_is_filled_in(here: Place, sends: Sends) -> None:
    sends.server.command("HSET", f"hm:{{{sends.hive}}}:kept", "x", '{"at": 1}')
    shown = tail(here, "--json", "--count", "4", "x")
    sends("x", 1, verbs=("XADD", "PUBLISH"))
    sends("x", 2, 3, verbs=("XADD",))
    sends("x", 4, verbs=("XADD", "PUBLISH"))
    assert shown.wait() == 0
    assert [one["payload"] for one in objects(shown)] == [1, 2, 3, 4]
    assert "warning" not in shown.stderr


def test_a_wrong_password_is_said_at_once(here: Place, make_server: MakeServer) -> None:
    locked = make_server(lines=("requirepass secret",))
    for arguments in (("tail", "x"), ("pub", "x", "1")):
        done = here.run(*arguments, HIVEMIND_REDIS_URL=f"{locked.url}?password=wrong")
        assert done.returncode == 1
        assert "error: " in done.stderr
        assert "wrong@" not in done.stderr


def test_tail_disturbs_no_counter_and_is_in_no_list(here: Place) -> None:
    here.write("sender.py", SENDER)
    here.write("receiver.py", RECEIVER)
    for file in ("receiver.py", "sender.py"):
        here.hm("run", file).says("running")
    shown = tail(here, "--count", "20", "*")
    assert shown.wait() == 0
    found = json.loads(here.run("nodes", "--json").stdout)
    assert [each["instance"] for each in found] == ["receiver.0", "sender.0"]
    (counts,) = found[0]["subscriptions"]
    assert (counts["missed"], counts["duplicate"], counts["dropped"]) == (0, 0, 0)


def test_a_reader_that_goes_away_ends_a_tail_quietly(here: Place, sends: Sends) -> None:
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "hivemind.cli.hm", "tail", "--raw", "*"]
    errors = here.folder / "errors"
    with errors.open("wb") as error:
        process = subprocess.Popen(command, cwd=here.folder, env=environ_of(here), stdout=theirs, stderr=error)
    os.close(theirs)
    eventually(lambda: LISTENING in errors.read_text(), 20)
    os.close(ours)
    sends("x", 1, 2, 3)
    assert process.wait(20) == 0
    assert "Traceback" not in errors.read_text()


def test_a_reader_that_stands_still_does_not_hold_up_the_end(here: Place, sends: Sends) -> None:
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "hivemind.cli.hm", "tail", "--raw", "*"]
    errors = here.folder / "errors"
    with errors.open("wb") as error:
        process = subprocess.Popen(command, cwd=here.folder, env=environ_of(here), stdout=theirs, stderr=error)
    os.close(theirs)
    eventually(lambda: LISTENING in errors.read_text(), 20)
    sends("x", *["x" * 10_000] * 50)
    process.terminate()
    assert process.wait(20) == 0
    os.close(ours)


def environ_of(here: Place) -> dict[str, str]:
    return {**os.environ, **here.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.slow
@pytest.mark.alone
def test_tail_keeps_up_with_50_000_messages_a_second(here: Place) -> None:
    shown = here.start(sys.executable, "-m", "hivemind.cli.hm", "tail", "--json", "--count", "200000", "*")
    shown.says(LISTENING)
    sender = here.hm("pub", "lamp", '{"on": true, "level": 0.75}', "--count", "200000", "--rate", "60000")
    seen = list(looks(shown))
    assert sender.wait(60) == shown.wait() == 0
    assert len(shown.stdout.splitlines()) == 200_000
    assert "missed" not in shown.stderr + sender.stderr
    assert "dropped" not in shown.stderr
    assert best(seen, shown.out.stat().st_size / 200_000) < 1 / 50_000


def looks(shown: Running) -> Iterator[tuple[float, int]]:
    """Seconds of CPU that it has used and bytes that it has written, again and again until it ends."""
    process = psutil.Process(shown.process.pid)
    while shown.process.poll() is None:
        with suppress(psutil.Error):
            yield process.cpu_times().user, shown.out.stat().st_size
            process.wait(0.02)


def best(seen: Sequence[tuple[float, int]], length: float) -> float:
    """Seconds of CPU a message of ``length`` bytes in the best run of 40,000: what else goes on can only add to it."""
    each = []
    for number, (began, size) in enumerate(seen):
        later = next(((ended, more) for ended, more in seen[number:] if more - size >= 40_000 * length), None)
        if later is not None:
            each.append((later[0] - began) * length / (later[1] - size))
    return min(each)


# -- pub


def test_a_payload_is_json_if_it_is_and_text_if_not_or_if_asked(here: Place) -> None:
    shown = tail(here, "--json", "--count", "6", "x")
    here.run("pub", "x", "-", stdin=b"[1, null]\nBatman!\nNaN\n")
    here.run("pub", "x", "12")
    here.run("pub", "--text", "x", "12")
    here.run("pub", "x", "")
    assert shown.wait() == 0
    assert [each["payload"] for each in objects(shown)] == [[1, None], "Batman!", "NaN", 12, "12", ""]


def test_standard_input_is_sent_a_line_a_message(here: Place) -> None:
    shown = tail(here, "--json", "--count", "4", "x")
    done = here.run("pub", "x", "-", stdin=b'1\r\n\n"two"\nthree')
    assert done.returncode == 0
    assert "sent 4 messages on x" in done.stderr
    assert shown.wait() == 0
    assert [each["payload"] for each in objects(shown)] == [1, "", "two", "three"]


def test_a_rate_is_kept_and_ctrl_c_ends_it_with_0(here: Place) -> None:
    shown = tail(here, "--json", "--count", "11", "x")
    sending = here.hm("pub", "x", "1", "--rate", "50")
    assert shown.wait() == 0
    times = [each["sent_at"] for each in objects(shown)]
    assert 0.15 < times[-1] - times[0] < 2
    assert sending.end() == 0
    assert "messages on x" in sending.stderr
    assert "confirmed by Redis" in sending.stderr


def test_who_stops_reading_lines_leaves_no_thread_and_nothing_to_its_loop(tmp_path: Path) -> None:
    much = tmp_path / "much"
    much.write_bytes(b"one\n" + b"x" * (AHEAD + 4) * CHUNK)

    async def first(file: int) -> bytes:
        async for line in lines_of(file):
            return line
        return b""

    with much.open("rb") as file:
        assert asyncio.run(first(file.fileno())) == b"one"
        eventually(lambda: "standard input" not in [one.name for one in threading.enumerate()])
        assert file.tell() < much.stat().st_size
    gc.collect()  # a coroutine that nobody awaited would be named here


def test_a_pipe_that_stays_open_does_not_hold_up_the_end(here: Place) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hivemind.cli.hm", "pub", "x", "-"],
        cwd=here.folder,
        env=environ_of(here),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    shown = tail(here, "--count", "1", "x")
    assert process.stdin is not None
    process.stdin.write(b"1\n")
    process.stdin.flush()
    assert shown.wait() == 0
    process.terminate()
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert b"sent 1 message on x" in process.stderr.read()
    process.stdin.close()
    process.stderr.close()


def test_it_says_when_no_node_is_subscribed_and_what_was_probably_meant(here: Place) -> None:
    here.write("receiver.py", RECEIVER.replace("num*", "numbers"))
    here.hm("run", "receiver.py").says("running")
    assert "no node is subscribed" not in here.run("pub", "numbers", "1").stderr
    wrong = here.run("pub", "numbres", "1")
    assert wrong.returncode == 0
    assert "note: no node is subscribed to numbres, did you mean numbers?" in wrong.stderr
    assert "did you mean" not in here.run("rate", "numbers", "n*", "--count", "1", "--window", "0.3").stderr
    wrong = here.run("rate", "numbres", "--count", "1", "--window", "0.3")
    assert "note: no node sends or hears numbres, did you mean numbers?" in wrong.stderr


def test_what_cannot_be_sent_is_refused_with_its_path(here: Place) -> None:
    done = here.run("pub", "x", '{"a": [1e999]}')
    assert (done.returncode, "error: payload at $.a[0]: inf is not JSON" in done.stderr) == (1, True)


def test_lines_before_a_wrong_one_are_sent(here: Place) -> None:
    shown = tail(here, "--raw", "--count", "1", "x")
    done = here.run("pub", "x", "-", stdin=b"good\n\xff\n")
    assert (done.returncode, "line 2 of standard input is no UTF-8" in done.stderr) == (1, True)
    assert (shown.wait(), shown.stdout) == (0, "good\n")


def test_pub_says_within_seconds_that_redis_is_away_and_what_to_do(here: Place) -> None:
    began = time.monotonic()
    done = here.run("pub", "x", "1", HIVEMIND_REDIS_URL="redis://:s3cret@127.0.0.1:1")
    assert time.monotonic() - began < 8  # 5, and Python's own start on a busy machine
    assert done.returncode == 1
    assert "start that server, or change REDIS_URL (environment HIVEMIND_REDIS_URL)" in done.stderr
    assert "s3cret" not in done.stderr
