"""One errand of one contender while one thing breaks: who came back, when, and what was lost or done twice.

Whoever's process ends is started again a second later, as whatever supervises it would: how often is told.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errand import ACCEPTED, BEGAN, DONE, HELLO, REFUSED, Line, read
from .servers import RedisServer
from .supervised import Supervised
from .task import Task
from .window import wait_until

READY = 60.0  #: seconds until the first number has come through
CALM = 3.0  #: seconds before anything is broken
AFTER = 12.0  #: seconds for which is sent when it is over
DRAIN = 40.0  #: seconds in which all that was accepted is to be done
AT_REST = 15.0  #: seconds in which nothing more is done, after which nothing will be
AWAY = 3.0  #: seconds for which a killed Redis is away
FROZEN = 10.0  #: seconds for which Redis stands still


@dataclass(frozen=True, slots=True)
class Contender:
    """Who is compared: the commands of its sender and its worker."""

    name: str
    sender: Sequence[str]
    worker: Sequence[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. ``back``: seconds from the end of what was broken until something was done that was sent after
    that, None if that never came. ``settled``: until the last was done of what had been accepted before; what is lost
    apart. ``sent`` were accepted; of the ``refused`` the sender was told so by an error. ``started``: how often a
    process that had ended by itself had to be started again.
    """

    what: str
    who: str
    back: float | None
    settled: float | None
    sent: int
    refused: int
    lost: int
    doubled: int
    started: int

    def to_json(self) -> dict[str, Any]:
        """For the file from which a page is made."""
        rounded = {name: None if value is None else round(value, 2) for name, value in self._times().items()}
        return asdict(self) | rounded

    def _times(self) -> Mapping[str, float | None]:
        return {"back": self.back, "settled": self.settled}


class Contest:
    """One contender's errand in ``folder``."""

    def __init__(self, who: Contender, folder: Path, server: RedisServer, processes: Supervised) -> None:
        self.who, self.folder, self.server, self.processes = who, folder, server, processes

    def lines(self, who: str, what: str) -> list[Line]:
        """What one of them wrote down."""
        return [line for line in read(self.folder / f"{who}.diary") if line.what == what]

    def begin(self) -> None:
        """Start both, and begin when a number has come through."""
        self.processes.start("worker", self.who.worker)
        self.processes.start("sender", self.who.sender)
        wait_until("a number has come through", lambda: bool(self.lines("worker", DONE)), READY)
        (self.folder / "start").write_text(str(time.monotonic()))
        time.sleep(CALM)

    def end(self) -> None:
        """Send no more, and wait until all is done, or nothing more will be."""
        time.sleep(AFTER)
        (self.folder / "over").touch()
        deadline = time.monotonic() + DRAIN
        while time.monotonic() < deadline and self.missing():
            done = self.lines("worker", DONE)
            if time.monotonic() - max(done[-1].at, deadline - DRAIN) > AT_REST:
                return
            time.sleep(0.2)

    def missing(self) -> set[int]:
        """What was accepted and not done."""
        done = {line.number for line in self.lines("worker", DONE)}
        return {line.number for line in self.lines("sender", ACCEPTED)} - done

    def outcome(self, what: str, over: float) -> Outcome:
        """What came of what broke, and was over then."""
        sender, worker = (read(self.folder / f"{who}.diary") for who in ("sender", "worker"))
        return judged(what, self.who.name, over, sender, worker, self.processes.started)


def judged(what: str, who: str, over: float, sender: Sequence[Line], worker: Sequence[Line], started: int) -> Outcome:
    """What came of what broke, and was over then, by the diaries of both. Pure."""
    accepted = {line.number: line for line in sender if line.what == ACCEPTED and line.number != HELLO}
    refused = {line.number for line in sender if line.what == REFUSED} - {HELLO, *accepted}
    done = [line for line in worker if line.what == DONE and line.number != HELLO]
    times = Counter(line.number for line in done)
    later = [one.at for one in done if one.number in accepted and accepted[one.number].began > over]
    before = [one.at for one in done if one.number in accepted and accepted[one.number].at <= over]
    return Outcome(
        what,
        who,
        min(later) - over if later else None,
        max(0.0, max(before) - over) if before else None,
        len(accepted),
        len(refused),
        len(accepted.keys() - times.keys()),
        sum(count - 1 for count in times.values()),
        started,
    )


# -- what breaks: each returns when it is over


def killed(contest: Contest) -> float:
    """Redis is killed, and comes back with its data."""
    contest.server.kill()
    time.sleep(AWAY)
    contest.server.revive()
    return time.monotonic()


def emptied(contest: Contest) -> float:
    """Redis is killed, and comes back with nothing."""
    contest.server.kill()
    time.sleep(AWAY)
    shutil.rmtree(Path(contest.server.url.removeprefix("unix://")).parent / "appendonlydir")
    contest.server.revive()
    return time.monotonic()


def frozen(contest: Contest) -> float:
    """Redis stands still."""
    os.kill(contest.server.pid, signal.SIGSTOP)
    try:
        time.sleep(FROZEN)
    finally:
        os.kill(contest.server.pid, signal.SIGCONT)
    return time.monotonic()


def worker_killed(contest: Contest) -> float:
    """The worker is killed while it handles."""
    hold = contest.folder / "hold"
    hold.touch()

    def is_at_it() -> bool:
        return len(contest.lines("worker", BEGAN)) > len(contest.lines("worker", DONE))

    wait_until("the worker has a number in hand", is_at_it, 10)
    contest.processes.kill("worker")
    hold.unlink()
    return time.monotonic()


BREAKS: Mapping[str, Callable[[Contest], float]] = {
    "Redis is killed, and comes back with its data": killed,
    "Redis is killed, and comes back empty": emptied,
    f"Redis stands still for {FROZEN:g} s": frozen,
    "the worker is killed while it handles": worker_killed,
}


def contest(who: Contender, what: str, folder: Path) -> Outcome:
    """Let it do its errand in ``folder``, an empty one, while that breaks. Raises TimeoutError if it never begins."""
    with RedisServer() as server, Supervised(folder, Task(server.url, str(folder / "window"))) as processes:
        found = Contest(who, folder, server, processes)
        found.begin()
        over = BREAKS[what](found)
        found.end()
        return found.outcome(what, over)
