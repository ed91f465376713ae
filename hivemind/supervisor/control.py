"""Both sides of `hm start|stop|restart|scale`: a request on the bus, and what each hived answers.

The request goes to the channel ``control("hived")``; every hived of the hive, on whatever host, answers on the private
channel that it names: at once with the programs it will act on, and once more with what became of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..errors import RedisUnavailable
from .actions import MOST_COPIES, Request, Result, Verb

CHANNEL = "hived"
ANSWER_TIMEOUT = 4.0  # seconds in which a hived that lives says that it heard
START_TIMEOUT = 20.0  # seconds in which one that was just started does, on a machine that is busy
ASK_AGAIN = 0.5  # seconds
OTHERS_TIMEOUT = 2.0  # seconds in which those of the other hosts say so, once one did
MORE_ANSWERS = 0.5  # seconds in which further hiveds say so, once one did
CONNECT_TIMEOUT = 5.0
TO_BE_THERE = 35.0  # seconds, beside STOP_TIMEOUT, in which what was asked for has been done
TO_ROLL = 60.0  # seconds, beside STOP_TIMEOUT, after which a hived that rolls has said something
MOST_OPTIONS = 20  # texts that may go with a request


@dataclass(frozen=True, slots=True)
class Hived:
    """Which hived answers."""

    host: str
    hive: str
    pid: int


@dataclass(slots=True)
class Answer:
    """What one hived said: the programs that concern it, and, when it is done, the results.

    ``waiting`` names other programs, whose configuration has changed since the last reload. What takes long is told as
    it goes: with the results that there are, and what it is ``doing``. Who ``is_put_off`` has done nothing so far, and
    may have to leave it to the next hived: that is to be asked, too.
    """

    hived: Hived
    programs: list[str]
    results: list[Result] = field(default_factory=list)
    done: bool = False
    waiting: list[str] = field(default_factory=list)
    doing: str = ""
    is_put_off: bool = False


def encode_request(request: Request, reply: str) -> dict[str, Any]:
    """A request as it travels; ``reply`` is the kind of the control channel for answers."""
    return {
        "verb": request.verb,
        "targets": request.targets,
        "replicas": request.replicas,
        "options": dict(request.options),
        "reply": reply,
    }


def decode_request(body: bytes) -> tuple[Request, str] | None:
    """Read a request; None if it is none, or one that only a newer version knows: anybody may publish there."""
    try:
        raw = orjson.loads(body)
        targets = tuple(str(each) for each in raw["targets"])
        replicas = max(0, min(MOST_COPIES, int(raw.get("replicas", 0))))
        return Request(Verb(raw["verb"]), targets, replicas, _options(raw.get("options", {}))), str(raw["reply"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _options(raw: Any) -> dict[str, str]:
    if len(raw) > MOST_OPTIONS:
        raise ValueError
    return {str(name): str(value) for name, value in raw.items()}


def encode_answer(
    hived: Hived,
    programs: Sequence[str],
    results: Sequence[Result] | None,
    waiting: Sequence[str] = (),
    doing: str = "",
    *,
    is_put_off: bool = False,
) -> dict[str, Any]:
    """An answer as it travels; without ``results`` it only says who will act on what. It is the last but when it says
    what its hived is ``doing``.
    """
    return {
        "hived": asdict(hived),
        "programs": list(programs),
        "results": [asdict(each) for each in results or ()],
        "done": results is not None and not doing,
        "doing": doing,
        "put_off": is_put_off,
        "waiting": list(waiting),
    }


def decode_answer(body: bytes) -> Answer | None:
    """Read an answer; None if it is none."""
    try:
        raw = orjson.loads(body)
        results = [Result(str(each["program"]), bool(each["ok"]), str(each["text"])) for each in raw["results"]]
        programs, waiting = ([str(each) for each in raw.get(key, ())] for key in ("programs", "waiting"))
        hived = Hived(str(raw["hived"]["host"]), str(raw["hived"]["hive"]), int(raw["hived"]["pid"]))
        doing, is_put_off = str(raw.get("doing", "")), bool(raw.get("put_off", False))
        return Answer(hived, programs, results, bool(raw["done"]), waiting, doing, is_put_off)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def silence(verb: Verb, stop_timeout: float) -> float:
    """For how many seconds a hived that does what was asked may say nothing."""
    return stop_timeout + (TO_ROLL if verb is Verb.ROLL else TO_BE_THERE)


def nobody(_: Answer) -> None:
    """Nobody wants to hear of it before all is done."""


async def ask(
    endpoint: Endpoint,
    hive: str,
    request: Request,
    timeout: float,
    patience: float = ANSWER_TIMEOUT,
    tell: Callable[[Answer], None] = nobody,
    hosts: Collection[str] = (),
) -> list[Answer]:
    """Ask every hived of ``hive`` and return what they answered, sorted by host; none if nobody says within
    ``patience`` seconds that it heard.

    Waits ``timeout`` seconds, from the last word of one of them on, for those that said they would act; theirs are then
    not ``done``. ``tell`` hears each answer. Those of ``hosts`` have OTHERS_TIMEOUT seconds more, once one has said
    that it heard; when they all have, nobody else is waited for. Raises RedisUnavailable if Redis cannot be reached.
    """
    reply = f"hived-{secrets.token_hex(16)}"
    answers: dict[tuple[str, str], Answer] = {}
    news = asyncio.Event()

    def hear(body: bytes) -> None:
        answer = decode_answer(body)
        if answer is not None:
            answers[answer.hived.host, answer.hived.hive] = answer
            tell(answer)
            news.set()

    async with Bus(endpoint, hive, "hm") as bus:
        bus.live.listen(bus.names.control(reply), hear)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await bus.live.confirmed()
        except TimeoutError:
            raise RedisUnavailable(f"{endpoint.redacted} does not answer") from None
        asked = _Asked(answers, news, frozenset(hosts))
        await _ask_until_heard(bus, encode_request(request, reply), asked, patience)
        await _wait(asked, timeout, lambda: bus.notify(CHANNEL, encode_request(request, reply)))
    return [answers[key] for key in sorted(answers)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The answers so far, what tells of a new one, and the hosts that should answer."""

    answers: dict[tuple[str, str], Answer]
    news: asyncio.Event
    hosts: frozenset[str]

    @property
    def is_heard(self) -> bool:
        """Whether whoever should answer has."""
        return bool(self.answers) and self.hosts <= {host for host, _ in self.answers}

    @property
    def is_put_off(self) -> bool:
        """Whether somebody has not begun."""
        return any(answer.is_put_off for answer in self.answers.values())

    async def more(self, seconds: float) -> bool:
        """Wait for one more answer; False if none came."""
        self.news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.news.wait()
        return False


async def _ask_until_heard(bus: Bus, request: dict[str, Any], asked: _Asked, patience: float) -> None:
    """Ask again until all who should have answered: a hived that was just started is not on the bus yet. None acts
    twice.
    """
    deadline, is_first = time.monotonic() + patience, True
    while not asked.is_heard and time.monotonic() < deadline:
        bus.notify(CHANNEL, request)
        await asked.more(ASK_AGAIN)
        if asked.answers and is_first:
            deadline, is_first = min(deadline, time.monotonic() + OTHERS_TIMEOUT), False


async def _wait(asked: _Asked, timeout: float, ask_again: Callable[[], None]) -> None:
    started = time.monotonic()
    while True:
        now = time.monotonic() - started
        waiting = any(not answer.done for answer in asked.answers.values())
        others = MORE_ANSWERS if asked.answers and not (asked.hosts and asked.is_heard) else 0.0
        limit = timeout if waiting else others
        if now >= limit:
            return
        if await asked.more(min(limit - now, ASK_AGAIN) if asked.is_put_off else limit - now):
            started = time.monotonic()
        elif asked.is_put_off:
            ask_again()
