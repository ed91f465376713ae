"""What a process logs: never blocking, never raising, in one file that rotates."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hivemind import log
from hivemind.errors import ConfigurationError
from hivemind.log_files import RotatingFile, merge
from hivemind.log_lines import LogLine
from hivemind.log_writer import LogWriter

SETUP = """
import logging, os, sys, threading
from pathlib import Path
from hivemind import log
stop = log.setup(level="INFO", file=Path({file!r}), max_bytes={max_bytes}, backups=50, terminal=False, own_streams=True)
"""
Start = Callable[..., Callable[[], None]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    stops: list[Callable[[], None]] = []

    def start(*, file: Path | None = tmp_path / "logs" / "a.log", terminal: bool = False) -> Callable[[], None]:
        stops.append(log.setup(level="INFO", file=file, max_bytes=0, backups=0, terminal=terminal, own_streams=False))
        return stops[-1]

    yield start
    for stop in stops:
        stop()


def run(file: Path, code: str, max_bytes: int = 0) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a process of its own that owns its streams; what it prints outside the log is returned."""
    program = SETUP.format(file=str(file), max_bytes=max_bytes) + code
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)


def lines(file: Path) -> list[LogLine]:
    return list(merge([file]))


def test_the_file_exists_right_after_setup_and_holds_what_was_logged(start: Start, tmp_path: Path) -> None:
    stop = start()
    assert (tmp_path / "logs" / "a.log").exists()
    logging.getLogger("batsignal.0").info("hello %s", "Gotham")
    logging.getLogger("batsignal.0").debug("not this")
    stop()
    [line] = lines(tmp_path / "logs" / "a.log")
    assert (line.level, line.name, line.text) == ("INFO", "batsignal.0", "hello Gotham")


def test_stopping_twice_is_harmless_and_leaves_the_root_logger_as_it_was(start: Start) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    stop = start()
    assert (logging.getLogger().handlers, logging.getLogger().level) != before
    stop()
    stop()
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_a_second_setup_replaces_the_first(start: Start, tmp_path: Path) -> None:
    start(file=tmp_path / "first.log")
    start(file=tmp_path / "second.log")()
    logging.getLogger().warning("nobody hears this")
    assert lines(tmp_path / "first.log") == lines(tmp_path / "second.log") == []


def test_a_terminal_gets_the_same_lines_on_standard_error(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    stop = start(file=None, terminal=True)
    logging.getLogger("batman.0").warning("in the cave")
    stop()
    assert capfd.readouterr().err.endswith("WARNING  batman.0  in the cave\n")


def test_an_exception_is_logged_with_its_traceback(start: Start, tmp_path: Path) -> None:
    stop = start(file=tmp_path / "a.log")
    try:
        raise KeyError("joker")
    except KeyError:
        logging.getLogger("batman.0").exception("it failed")
    stop()
    [line] = lines(tmp_path / "a.log")
    assert line.text.startswith("it failed\nTraceback (most recent call last):")
    assert line.text.endswith("KeyError: 'joker'")


def test_a_wrong_logging_call_is_told_and_does_not_raise(tmp_path: Path) -> None:
    run(tmp_path / "a.log", "logging.info('%d bats', 'many')")
    assert "<string>:6: this record cannot be formatted" in lines(tmp_path / "a.log")[0].text


def test_a_log_location_that_cannot_be_says_which_path_and_which_constant_to_change(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"file/a\.log.*LOG_LOCATION"):
        start(file=tmp_path / "file" / "a.log")


def test_a_sink_that_hangs_never_blocks_the_caller_and_what_did_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.log_writer.QUEUE_LIMIT", 10_000)
    file, gate, stuck = RotatingFile(tmp_path / "a.log", 0, 0), threading.Event(), threading.Event()

    class Slow(RotatingFile):
        def write(self, lines: Sequence[bytes]) -> int:
            stuck.set()
            gate.wait(10)
            return file.write(lines)

    writer = LogWriter([Slow(tmp_path / "b.log", 0, 0)])
    for number in range(1000):
        writer.handle(logging.LogRecord("a", logging.INFO, "", 0, f"line {number}", None, None))
        assert stuck.wait(10)
    assert writer.dropped > 0
    gate.set()
    writer.close()
    texts = [line.text for line in lines(tmp_path / "a.log")]
    assert f"{writer.dropped} log lines were lost: too many at once" in texts
    assert len([text for text in texts if text.startswith("line ")]) == 1000 - writer.dropped
    file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_loses_counted_lines_and_nothing_else(start: Start) -> None:
    start(file=Path("/dev/full"))
    logging.getLogger("a").error("lost")
    logging.getLogger().handlers[-1].flush()
    assert log.dropped() == 1


def test_when_the_disk_has_room_again_logging_goes_on_and_tells_what_is_missing(tmp_path: Path) -> None:
    run(
        tmp_path / "a.log",
        """
import resource
logging.info("before")
logging.getLogger().handlers[-1].flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for number in range(10): logging.info("x" * 50)
logging.getLogger().handlers[-1].flush()
assert log.dropped() == 10, log.dropped()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logging.info("after")
""",
    )
    texts = [line.text.split("\n")[0] for line in lines(tmp_path / "a.log")]
    assert texts[0] == "before"
    assert texts[-2:] == ["10 log lines were lost: [Errno 27] File too large", "after"]


def test_what_a_node_prints_becomes_lines_of_its_log(tmp_path: Path) -> None:
    done = run(tmp_path / "a.log", "print('hello', 'bat'); print('half', end=''); print('oops', file=sys.stderr)")
    assert (done.stdout, done.stderr) == ("", "")
    assert [(line.level, line.name, line.text) for line in lines(tmp_path / "a.log")] == [
        ("INFO", "stdout", "hello bat"),
        ("WARNING", "stderr", "oops"),
        ("INFO", "stdout", "half"),
    ]


def test_what_c_libraries_and_subprocesses_write_lands_in_the_file_after_rotation_too(tmp_path: Path) -> None:
    run(
        tmp_path / "a.log",
        """
for number in range(20):
    logging.info("x" * 100)
    logging.getLogger().handlers[-1].flush()
    os.write(1, b"one %d\\n" % number)
    os.write(2, b"two %d\\n" % number)
import subprocess; subprocess.run(["echo", "from a child"], check=True)
""",
        max_bytes=500,
    )
    written = "".join(line.text + "\n" for line in lines(tmp_path / "a.log"))
    assert all(f"one {number}\n" in written and f"two {number}\n" in written for number in range(20))
    assert (tmp_path / "a.log").read_text().endswith("from a child\n")
    assert len(list(tmp_path.iterdir())) > 5


def test_standard_input_of_a_node_is_empty_and_its_standard_files_stay_usable(tmp_path: Path) -> None:
    run(
        tmp_path / "a.log",
        """
print(repr(os.read(0, 1)), sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.encoding)
sys.stdout.buffer.write(b"raw\\n")
""",
    )
    assert {text for line in lines(tmp_path / "a.log") for text in line.text.split("\n")} == {
        "b'' 1 2 False utf-8",
        "raw",
    }


def test_a_handler_that_prints_to_standard_error_does_not_go_round_for_ever(tmp_path: Path) -> None:
    run(tmp_path / "a.log", "logging.getLogger().addHandler(logging.StreamHandler()); logging.info('once')")
    assert [line.name for line in lines(tmp_path / "a.log")] == ["root", "stderr"]


def test_a_process_that_ends_without_stopping_its_log_loses_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a.log", "for number in range(5000): logging.info(number)\nraise SystemExit(0)")
    assert [line.text for line in lines(tmp_path / "a.log")] == [str(number) for number in range(5000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_logs_to_the_same_file_and_leaves_rotation_to_its_parent(tmp_path: Path) -> None:
    run(
        tmp_path / "a.log",
        """
import warnings; warnings.simplefilter("ignore")
pids = []
for child in range(4):
    pid = os.fork()
    if not pid:
        for number in range(50): logging.info(f"child {child} {number}")
        os._exit(0)
    pids.append(pid)
for number in range(50): logging.info(f"parent {number}")
for pid in pids: assert os.waitpid(pid, 0)[1] == 0
""",
        max_bytes=2000,
    )
    texts = sorted(line.text for line in lines(tmp_path / "a.log"))
    assert texts == sorted(
        [f"child {child} {number}" for child in range(4) for number in range(50)]
        + [f"parent {number}" for number in range(50)]
    )


def test_threads_that_print_do_not_mix_their_lines(tmp_path: Path) -> None:
    run(
        tmp_path / "a.log",
        """
def talk(name):
    for _ in range(200): print(name, name, name)
threads = [threading.Thread(target=talk, args=(name,)) for name in ("robin", "alfred")]
for thread in threads: thread.start()
for thread in threads: thread.join()
""",
    )
    assert {line.text for line in lines(tmp_path / "a.log")} == {"robin robin robin", "alfred alfred alfred"}


def test_a_process_whose_standard_streams_are_closed_can_log(tmp_path: Path) -> None:
    program = SETUP.format(file=str(tmp_path / "a.log"), max_bytes=0) + "print('hello'); os.write(2, b'raw\\n')"
    script = f'exec {sys.executable} -c "$PROGRAM" 0<&- 1>&- 2>&-'
    subprocess.run(["/bin/sh", "-c", script], env={**os.environ, "PROGRAM": program}, timeout=30, check=True)
    assert {text for line in lines(tmp_path / "a.log") for text in line.text.split("\n")} == {"hello", "raw"}
