"""`hm rate`: messages, bytes and delays, window by window, on a real server."""

from __future__ import annotations

import json
from typing import Any

from hivemind import connect

from .cli_kit import SENDER, Place
from .pty_kit import at_terminal

WINDOW = ("--window", "0.5")


def windows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_counts_what_passes_by_and_how_long_it_took(here: Place) -> None:
    here.write("sender.py", SENDER)
    here.hm("run", "sender.py").says("running")
    rating = here.hm("rate", "--json", *WINDOW, "--count", "4", "num*", "none.*")
    assert rating.wait() == 0
    found = windows(rating.stdout)
    assert len(found) == 4
    last = found[-1]
    assert 1 <= last["messages"] <= 60  # 50 a second, where the machine has time
    assert last["rate"] == last["messages"] * 2
    assert last["bytes"] > 50 * last["messages"]
    assert sum(count for _, count in last["delays"]) == last["messages"]
    assert 0 < last["delay_p50"] <= last["delay_p99"] < 10
    assert "messages, " in rating.stderr


def test_what_comes_from_outside_the_hive_has_no_delay(here: Place) -> None:
    rating = here.hm("rate", "--json", "--window", "1", "--count", "3", "x")
    rating.says("listening to x")
    with connect(here.environ["HIVEMIND_REDIS_URL"] + "?hive=" + here.environ["HIVEMIND_HIVE_NAME"]) as client:
        client.send("x", 1)
        client.flush()
    assert rating.wait() == 0
    found = windows(rating.stdout)
    assert sum(each["messages"] for each in found) == 1
    assert [each["delay_p50"] for each in found].count(None) == 2


def test_a_person_sees_a_line_a_window_with_a_picture_and_ctrl_c_ends_it(here: Place) -> None:
    here.write("sender.py", SENDER)
    here.hm("run", "sender.py").says("running")
    with at_terminal(here, "rate", *WINDOW, "numbers") as terminal:
        terminal.says("0.1ms 10ms")
        terminal.says("█")
        assert " ms" in terminal.text or " µs" in terminal.text
        assert terminal.end() == 0
        terminal.says("messages, ")


def test_a_window_without_messages_is_told_too(here: Place) -> None:
    done = here.run("rate", *WINDOW, "--count", "2", "silence", PYTHONIOENCODING="ascii")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert [line.split()[1:] for line in lines[1:]] == [["0.0", "0", "B/s"]] * 2


def test_a_file_that_the_shell_made_of_a_pattern_is_refused(here: Place) -> None:
    here.write("orders", "")
    done = here.run("rate", "orders")
    assert done.returncode == 2
    assert "quote that" in done.stderr
