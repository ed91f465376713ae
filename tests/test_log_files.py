"""The form of a line, the file that rotates itself, and many files read as one."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.log_files import Follower, RotatingFile, merge
from hivemind.log_lines import LogLine, format_line, parse_line


def write(path: Path, *entries: tuple[float, str]) -> Path:
    path.write_text("".join(format_line(time, "INFO", path.stem, text) + "\n" for time, text in entries))
    return path


def test_a_line_has_time_with_milliseconds_and_offset_then_level_name_and_text() -> None:
    line = format_line(1767319445.678, "INFO", "batsignal.0", "message")
    stamp, rest = line.split(" ", 1)
    assert rest == "INFO     batsignal.0  message"
    assert len(stamp) == len("2026-01-02T03:04:05.678+01:00")
    assert datetime.fromisoformat(stamp).timestamp() == 1767319445.678


@given(st.integers(0, 4_000_000_000_000), st.text(), st.text(), st.text())
def test_every_entry_can_be_read_back_and_is_one_entry(ms: int, level: str, name: str, text: str) -> None:
    line = format_line(ms / 1000, level, name, text)
    first, *rest = line.split("\n")
    found = parse_line(first)
    assert found is not None
    assert found.time == pytest.approx(ms / 1000, abs=0.001)
    assert all(parse_line(other) is None for other in rest)
    assert all(char.isprintable() or char in "\t\n" or ord(char) > 159 for char in line)


@pytest.mark.parametrize(
    "line", ["", "Traceback (most recent call last):", "2026-99-02T03:04:05.678+01:00 INFO     a  b"]
)
def test_what_is_no_entry_is_not_read_as_one(line: str) -> None:
    assert parse_line(line) is None


def test_a_message_cannot_forge_an_entry_nor_drive_a_terminal(tmp_path: Path) -> None:
    forged = format_line(2.0, "ERROR", "bank.0", "all is lost")
    write(tmp_path / "a.log", (1.0, f"hi\x1b[2J\r\n{forged}"))
    [line] = merge([tmp_path / "a.log"])
    assert line.text == f"hi\\x1b[2J\n {forged}"


def test_files_and_their_backups_are_merged_by_time(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.log", (5.0, "five")), write(tmp_path / "b.log", (2.0, "two"), (4.0, "four"))
    write(tmp_path / "a.log.1", (3.0, "three"))
    write(tmp_path / "a.log.2", (1.0, "one"))
    lines = list(merge([a, b, tmp_path / "missing.log"]))
    assert [line.text for line in lines] == ["one", "two", "three", "four", "five"]
    assert [line.source for line in lines] == [a, b, a, b, a]
    assert [line.text for line in merge([a, b], since=3.5)] == ["four", "five"]


def test_lines_that_continue_an_entry_belong_to_it(tmp_path: Path) -> None:
    log = write(tmp_path / "a.log", (1.0, "it failed\nTraceback:\n  File x"), (2.0, "next"))
    log.write_bytes(b"raw from C\n" + log.read_bytes() + b"more\n\xff\n")
    assert [(line.time, line.text) for line in merge([log])] == [
        (1.0, "raw from C"),
        (1.0, "it failed\nTraceback:\n  File x"),
        (2.0, "next\nmore\n\ufffd"),
    ]


def test_a_follower_sees_each_line_once_across_rotation_and_truncation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower, file = Follower(path), RotatingFile(path, 200, 2)
    assert follower.read() == []
    file.open()
    seen: list[LogLine] = []
    for number in range(10):
        assert file.write([(format_line(number, "INFO", "a.0", f"line {number} {'x' * 50}") + "\n").encode()]) == 0
        seen += follower.read()
    assert [line.text.split()[1] for line in seen] == [str(number) for number in range(10)]
    os.truncate(path, 0)
    file.write([(format_line(11, "INFO", "a.0", "again") + "\n").encode()])
    assert [line.text for line in follower.read()] == ["again"]
    follower.close()
    file.close()


def test_a_follower_waits_for_the_end_of_a_line_and_can_begin_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", (1.0, "old"))
    follower = Follower(path, begin=path.stat().st_size)
    with path.open("a") as out:
        print(format_line(2.0, "INFO", "a", "half"), end="", file=out, flush=True)
        assert follower.read() == []
        print(" and half\nraw", file=out, flush=True)
        assert [line.text for line in follower.read()] == ["half and half\nraw"]
        print("more", file=out, flush=True)
        assert follower.read() == [LogLine(2.0, "INFO", "a", "more", path)]
    follower.close()


def test_no_file_grows_over_its_limit_and_no_backup_is_kept_beyond_the_count(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "a.log", 100, 2)
    assert file.write([b"%030d\n" % number for number in range(20)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "a.log").read_bytes().endswith(b"19\n")
    file.close()


@pytest.mark.parametrize(("limit", "backups", "left"), [(0, 2, 20), (100, 0, 2)])
def test_a_limit_of_zero_never_rotates_and_without_backups_the_old_is_deleted(
    tmp_path: Path, limit: int, backups: int, left: int
) -> None:
    file = RotatingFile(tmp_path / "a.log", limit, backups)
    file.write([b"%030d\n" % number for number in range(20)])
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]
    assert (tmp_path / "a.log").read_bytes().count(b"\n") == left
    file.close()


def test_a_file_or_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    file = RotatingFile(path, 100, 2)
    file.write([b"one\n"])
    path.unlink()
    path.parent.rmdir()
    assert file.write([b"two\n"]) == 0
    assert path.read_bytes() == b"two\n"
    file.close()


def test_when_the_file_can_no_longer_be_rotated_it_grows_rather_than_lose_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    (tmp_path / "a.log.1" / "in the way").mkdir(parents=True)
    file = RotatingFile(path, 10, 1)
    assert file.write([b"12345678\n"] * 5) == 0
    assert path.read_bytes() == b"12345678\n" * 5
    assert file.error is not None
    file.close()


def test_a_half_line_of_somebody_else_is_ended_before_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    file = RotatingFile(path, 0, 0)
    file.write([b"one\n"])
    with path.open("a") as other:
        other.write("from C")
    file.write([b"two\n"])
    assert path.read_bytes() == b"one\nfrom C\ntwo\n"
    file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_lines_that_a_full_disk_refuses_are_counted_and_never_raise() -> None:
    file = RotatingFile(Path("/dev/full"), 0, 0)
    assert file.write([b"one\n", b"two\n"]) == 2
    assert file.error is not None
    file.close()
    assert file.write([b"three\n"]) == 1
