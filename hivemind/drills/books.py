"""The books of a drill: what the probes wrote down, and what has to be so. Pure.

A *life* is one process of a probe, ``<instance>.<pid>``. A message is known by the life that sent it and its number.
What is *safe* was confirmed to its sender by Redis.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from .diary import Line
from .probe import ALFA, BETA, KEPT, LIVE, PREFIX

Known = tuple[str, int]  #: the life that sent it, and its number
SLOW = 0.1  #: seconds; a live message is otherwise there in a few milliseconds


def kind_of(life: str) -> str:
    """Which kind of probe a life is: "alfa" or "beta"."""
    return ALFA if life.startswith(f"{PREFIX}-{ALFA}.") else BETA


def other(kind: str) -> str:
    """Who hears what a kind of probe sends."""
    return BETA if kind == ALFA else ALFA


@dataclass(frozen=True, slots=True)
class Account:
    """How many messages were ``sent`` (kept ones that were safe, and live ones), and what became of them.

    ``lost`` were safe, and nobody handled them; ``doubled`` were handled once more; ``missed`` are live ones that a
    receiver which was there all the time never got.
    """

    sent: int
    lost: int
    doubled: int
    out_of_order: int
    missed: int


class Books:
    """All that the probes wrote down since a drill began."""

    def __init__(self) -> None:
        self.safe: dict[Known, float] = {}  # when it was known to be
        self.handled: dict[str, Counter[Known]] = {ALFA: Counter(), BETA: Counter()}  # kept ones, by kind of receiver
        self.heard: defaultdict[str, dict[Known, int]] = defaultdict(dict)  # live ones, by life
        self.live_sent: dict[str, int] = {}  # the last number of each life that has said so
        self.quiet: set[str] = set()
        self.news = 0.0  # when something was written down last
        self._began: dict[str, int] = {}  # the first live number of each life in this drill
        self._done: list[tuple[float, str, Known]] = []  # kept ones: when, by which life
        self._last: dict[tuple[str, str, str], int] = {}
        self._latest: dict[tuple[str, str, str], float] = {}
        self._disorder = 0
        self._again = 0
        self.trouble: list[float] = []  # when Redis did not take what a probe sent
        self.slow: list[float] = []  # when a live message came that had been under way for longer than SLOW

    def enter(self, life: str, line: Line) -> None:
        """Take in a line of the diary of ``life``."""
        self.news = max(self.news, line["at"])
        match line["what"]:
            case "safe":
                self.safe |= {(life, number): line["at"] for number in range(line["first"], line["last"] + 1)}
            case "quiet":
                self.quiet.add(life)
                self.live_sent[life] = line["live"]
            case "refused" | "unconfirmed":
                self.trouble.append(line["at"])
            case "live" | "kept":
                self._hear(life, line)

    def _hear(self, life: str, line: Line) -> None:
        kind, message = line["what"], (line["who"], line["n"])
        if kind == LIVE:
            is_new = message not in self.heard[life]
            self.heard[life][message] = 1
            receiver = life
            if line["at"] - line["sent"] > SLOW:
                self.slow.append(line["at"])
        else:
            receiver = kind_of(life)
            is_new = not self.handled[receiver][message]
            self.handled[receiver][message] += 1
            self._done.append((line["at"], life, message))
        self._again += not is_new
        for place in (receiver, kind_of(life)):
            key = (kind, kind_of(line["who"]), place)
            self._latest[key] = max(self._latest.get(key, 0.0), line["sent"])
        if is_new and (kind == LIVE or receiver == ALFA):  # of beta there are two copies that share what is kept
            key = (kind, receiver, line["who"])
            self._disorder += line["n"] < self._last.get(key, 0)
            self._last[key] = max(line["n"], self._last.get(key, 0))

    def next(self) -> Books:
        """The books of the next drill: everybody goes on to count where he is."""
        new = Books()
        new._began = self._began | self.live_sent
        return new

    # -- what is asked while the drill goes on

    def flows(self, since: float, lives: list[str]) -> bool:
        """Whether something that was sent after ``since`` has arrived on every way between ``lives``."""
        ways = [(LIVE, other(kind_of(life)), life) for life in lives]
        ways += [(KEPT, BETA, ALFA), (KEPT, ALFA, BETA)]
        return all(self._latest.get(way, 0.0) > since for way in ways)

    def is_drained(self, lives: list[str]) -> bool:
        """Whether all that live have stopped sending, and all that is safe has been handled."""
        return self.quiet >= set(lives) and not self.lost

    @property
    def lost(self) -> list[Known]:
        """What was safe and has not been handled."""
        return [one for one in self.safe if not self.handled[other(kind_of(one[0]))][one]]

    def safe_between(self, since: float, until: float) -> int:
        """How many messages were known to be safe in that time."""
        return sum(since <= at <= until for at in self.safe.values())

    def handled_between(self, since: float, until: float, lives: list[str]) -> int:
        """How many kept messages these lives have handled in that time."""
        return sum(since <= at <= until and life in lives for at, life, _ in self._done)

    # -- the end

    def missed(self, life: str, senders: list[str]) -> int:
        """How many live messages of ``senders``, who have said what they sent, never came to ``life``."""
        heard = self.heard[life]
        return sum(
            (sender, number) not in heard
            for sender in senders
            if sender in self.live_sent and kind_of(sender) != kind_of(life)
            for number in range(self._began.get(sender, 0) + 1, self.live_sent[sender] + 1)
        )

    def account(self, lives: list[str]) -> Account:
        """What came of it all, for those who were there all the time."""
        sent = len(self.safe) + sum(last - self._began.get(life, 0) for life, last in self.live_sent.items())
        missed = sum(self.missed(life, lives) for life in lives)
        return Account(sent, len(self.lost), self._again, self._disorder, missed)
