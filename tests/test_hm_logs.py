"""`hm logs`: the files of all nodes as one log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hivemind.cli.hm import hm
from hivemind.cli.log_view import LogView
from hivemind.log_lines import LogLine, format_line

from .cli_kit import Place, place
from .waiting import eventually

HIVE = 'HIVE_NAME = "gotham"\nLOG_LOCATION = "logs"\n'


@pytest.fixture
def hive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name in os.environ:
        if name.startswith("HIVE"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with place(tmp_path) as made:
        made.write("config/hive.py", HIVE)
        made.write("nodes/alfred.py", "")
        write(made, "batman", (1.0, "INFO", "batman.0", "one"), (3.0, "ERROR", "batman.0", "three\nTraceback: x"))
        write(made, "batman-1", (2.0, "INFO", "batman.1", "two"))
        write(made, "robin", (4.0, "WARNING", "hivemind.link", "four"))
        yield made


def write(hive: Place, name: str, *entries: tuple[float, str, str, str]) -> None:
    path = hive.folder / "logs" / f"{name}.log"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.writelines(format_line(*entry) + "\n" for entry in entries)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(hm, ["logs", *arguments], prog_name="hm")


def texts(result: Result) -> list[str]:
    return [line.rpartition("  ")[2] for line in result.stdout.splitlines()]


def test_all_logs_are_merged_by_time_with_what_belongs_together(hive: Place) -> None:
    result = run()
    assert texts(result) == ["one", "two", "three", "Traceback: x", "four"]
    assert (result.exit_code, result.stderr) == (0, f"hive gotham, logs in {hive.folder}/logs\n")


def test_a_line_is_as_in_its_file_but_tells_its_node(hive: Place) -> None:
    lines = run().stdout.splitlines()
    assert lines[0] == (hive.folder / "logs" / "batman.log").read_text().splitlines()[0]
    assert lines[1] == (hive.folder / "logs" / "batman-1.log").read_text().splitlines()[0]
    assert lines[-1].endswith("WARNING  robin/hivemind.link  four")


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (("batman",), ["one", "two", "three", "Traceback: x"]),
        (("batman.1",), ["two"]),
        (("robin", "batman.1"), ["two", "four"]),
        (("alfred",), []),
    ],
)
def test_a_node_or_one_copy_may_be_chosen(hive: Place, nodes: tuple[str, ...], found: list[str]) -> None:
    result = run(*nodes)
    assert (result.exit_code, texts(result)) == (0, found)


def test_a_mistyped_node_is_answered_with_what_was_meant(hive: Place) -> None:
    result = run("batmna")
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        "there is no node called 'batmna', did you mean batman? The nodes are: alfred, batman, robin" in result.stderr
    )


def test_json_is_one_object_an_entry(hive: Place) -> None:
    found = [json.loads(line) for line in run("--json", "batman.0").stdout.splitlines()]
    file = str(hive.folder / "logs" / "batman.log")
    assert found[1] == {"time": 3.0, "level": "ERROR", "name": "batman.0", "text": "three\nTraceback: x", "file": file}
    assert len(found) == 2


def test_since_leaves_out_what_is_older(hive: Place) -> None:
    write(hive, "robin", (time.time() - 7200, "INFO", "robin.0", "old"), (time.time() - 30, "INFO", "robin.0", "new"))
    assert texts(run("--since", "10m")) == ["new"]
    assert texts(run("--since", "1d", "robin")) == ["old", "new"]
    assert texts(run("--since", "2020-01-01")) == ["old", "new"]


@pytest.mark.parametrize("since", ["x", "10", "10w", "2026-99-01"])
def test_a_time_that_is_none_is_wrong_use(hive: Place, since: str) -> None:
    result = run("--since", since)
    assert (result.exit_code, "is no time: write 90s, 10m, 2h, 1d" in result.stderr) == (2, True)


def test_rotated_files_belong_to_the_log(hive: Place) -> None:
    (hive.folder / "logs" / "robin.log").rename(hive.folder / "logs" / "robin.log.1")
    write(hive, "robin", (5.0, "INFO", "robin.0", "five"))
    assert texts(run("robin")) == ["four", "five"]


def test_a_hive_without_logs_says_so(hive: Place) -> None:
    for path in (hive.folder / "logs").iterdir():
        path.unlink()
    result = run()
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing has been logged there yet" in result.stderr


def test_each_node_has_its_colour_and_errors_are_red(hive: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind.cli.output.coloured", lambda stream: True)
    view = LogView()
    lines = [LogLine(1.0, level, name, "x", Path(f"{name}.log")) for level, name in (("INFO", "a"), ("INFO", "b"))]
    first, second = (view.line(line) for line in lines)
    assert "\x1b[36mINFO" in first.replace(" INFO", "INFO")
    assert "\x1b[35mINFO" in second.replace(" INFO", "INFO")
    assert "\x1b[31m" in view.line(LogLine(1.0, "ERROR", "a", "x", Path("a.log")))


def test_a_log_cannot_steer_the_terminal(hive: Place) -> None:
    with (hive.folder / "logs" / "robin.log").open("a") as file:
        file.write("\x1b]0;owned\x07\n")
    assert "\x1b" not in run().stdout


def test_follow_begins_with_the_last_entries_and_goes_on_until_ctrl_c(hive: Place) -> None:
    following = hive.hm("logs", "-f")
    following.says("four")
    assert [line.rpartition("  ")[2] for line in following.stdout.splitlines()] == [
        "one",
        "two",
        "three",
        "Traceback: x",
        "four",
    ]
    write(hive, "batman", (6.0, "INFO", "batman.0", "six"))
    following.says("six")
    write(hive, "alfred", (7.0, "INFO", "alfred.0", "a file that is new"))
    following.says("a file that is new")
    (hive.folder / "logs" / "batman.log").rename(hive.folder / "logs" / "batman.log.1")
    write(hive, "batman", (8.0, "INFO", "batman.0", "after a rotation"))
    following.says("after a rotation")
    assert following.end() == 0
    assert "Traceback (" not in following.stderr


def test_follow_with_since_shows_each_entry_once(hive: Place) -> None:
    now = time.time()
    write(hive, "robin", (now - 9, "INFO", "robin.0", "rotated"))
    (hive.folder / "logs" / "robin.log").rename(hive.folder / "logs" / "robin.log.1")
    write(hive, "robin", (now - 8, "INFO", "robin.0", "fresh"))
    following = hive.hm("logs", "-f", "--since", "1h", "--json")
    following.says("fresh")
    write(hive, "robin", (now, "INFO", "robin.0", "last"))
    eventually(lambda: "last" in following.stdout)
    assert [json.loads(line)["text"] for line in following.stdout.splitlines()] == ["rotated", "fresh", "last"]
    assert following.end() == 0
