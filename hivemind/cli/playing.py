"""`hm play`: sends what `hm record` wrote, with the pauses that were between, or faster."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import orjson

from ..client.awaited import AsyncClient
from ..english import amount, duration
from ..errors import HivemindError, PayloadError
from ..message import Malformed, encode_payload, is_envelope, payload_of
from ..node.runner import new_loop
from ..settings import Settings
from ..topics import is_topic
from . import output
from .opening import opened
from .reading import read_instances
from .spelling import spelled
from .streams import lines_of

CONFIRM = 30.0  #: seconds in which Redis has to confirm what was sent last
AT_ONCE, BYTES_AT_ONCE = 100, 1024 * 1024  #: messages, and bytes, that are sent before it is waited for room
TOLD = 0.5  #: seconds between two words on how far it is


@dataclass(frozen=True, slots=True)
class Recorded:
    """One ``line`` of a recording, of so many bytes."""

    at: float
    topic: str
    payload: Any
    headers: dict[str, str]
    line: int
    size: int


@dataclass(frozen=True, slots=True)
class Manner:
    """How to play: ``into`` one topic ("": each on its own), so many times as fast (0: without pauses), and kept."""

    into: str = ""
    rate: float = 1.0
    is_durable: bool = False


@dataclass(slots=True)
class Played:
    """How far ``path`` is, of so many bytes (0: nobody knows): bytes read, messages sent, of these to topics that are
    kept, and whether it was cut short.
    """

    path: Path
    size: int = 0
    read: int = 0
    sent: int = 0
    kept: int = 0
    is_cut: bool = False


def play(settings: Settings, path: Path, into: str, rate: float, *, durable: bool = False) -> tuple[str, bool]:
    """Send a recording ``rate`` times as fast as it was recorded (0: without pauses), on its topics or ``into`` one;
    ``durable`` has it kept.

    Return a summary, and whether all was sent. Raises HivemindError with the number of a line that is broken, and what
    sending raises; what was before is sent then.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    try:
        read_instances(settings)  # at once, and in words, if Redis is away
        with asyncio.Runner(loop_factory=new_loop) as runner:
            played = Played(path, os.fstat(file).st_size)
            return runner.run(_play(settings, played, lines_of(file), Manner(into, rate, durable)))
    except IsADirectoryError:
        raise click.ClickException(f"{path} is a folder: give it a file that `hm record` wrote") from None
    finally:
        os.close(file)


async def _play(settings: Settings, played: Played, lines: AsyncIterator[bytes], manner: Manner) -> tuple[str, bool]:
    async with opened(settings) as (client, stop):
        began = time.monotonic()
        try:
            await Player(client.awaited, manner, stop, played).play(_recorded(lines, played))
        finally:
            output.end_progress()
            await client.awaited.flush(CONFIRM)
    seconds = max(time.monotonic() - began, 1e-6)
    kept = f", {played.kept:,} of them kept" if played.kept else ""
    cut = "; cut short" if played.is_cut else ""
    pace = f"in {seconds:.1f} s ({played.sent / seconds:,.0f}/s)"
    return f"played {amount(played.sent, 'message')}{kept} {pace}, confirmed by Redis{cut}", not played.is_cut


class Player:
    """Keeps the pauses of a recording, as its ``manner`` says; ``stop`` cuts it short."""

    def __init__(self, client: AsyncClient, manner: Manner, stop: asyncio.Event, played: Played) -> None:
        self._client, self._manner, self._rate = client, manner, manner.rate
        self._stop, self._played = stop, played
        self._begun: set[str] = set()
        self._undrained = 0
        self._told = time.monotonic()

    async def play(self, messages: AsyncIterator[Recorded]) -> None:
        """Send them all. Raises HivemindError with the line of what cannot be sent, RedisError."""
        first, began = 0.0, 0.0
        async for one in messages:
            if not began:
                first, began = one.at, time.monotonic()
            if self._rate:
                await self._wait_until(began + (one.at - first) / self._rate)
            if self._stop.is_set():
                self._played.is_cut = True
                return
            await self._send(self._manner.into or one.topic, one)
            self._tell(one.at - first)

    async def _send(self, topic: str, one: Recorded) -> None:
        self._undrained += one.size
        if self._played.sent % AT_ONCE == 0 or self._undrained > BYTES_AT_ONCE:
            await self._client.drain()
            self._undrained = one.size
        try:
            self._client.send(topic, one.payload, headers=one.headers or None, durable=self._manner.is_durable)
        except PayloadError as error:
            raise _broken(self._played, one.line, str(error)) from None
        self._played.sent += 1
        if topic not in self._begun:
            self._begun.add(topic)
            await self._client.flush(CONFIRM)  # from then on it is known whether the topic is kept
        self._played.kept += self._client.bus.keeps(topic)

    async def _wait_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, TOLD)):
                    await self._stop.wait()
            self._tell(None)

    def _tell(self, at: float | None) -> None:
        """How far it is, for a person who waits."""
        if time.monotonic() - self._told < TOLD:
            return
        self._told = time.monotonic()
        played = self._played
        text = f"{amount(played.sent, 'message')} sent" + (f", {duration(at)} into it" if at else "")
        output.progress(text, played.read / played.size if played.size else None)


async def _recorded(lines: AsyncIterator[bytes], played: Played) -> AsyncIterator[Recorded]:
    number = 0
    async for line in lines:
        number += 1
        played.read += len(line) + 1
        if not line.strip():
            continue
        try:
            one = _read(line, number)
        except PayloadError as error:
            raise _broken(played, number, str(error)) from None
        except RecursionError:
            raise _broken(played, number, "it is nested too deep") from None
        except (ValueError, KeyError, TypeError) as error:
            raise _broken(played, number, _why(error)) from None
        yield one


def _broken(played: Played, line: int, why: str) -> HivemindError:
    count = played.sent
    many = "the message before it was sent" if count == 1 else f"the {count:,} messages before it were sent"
    before = many if count else "nothing was sent"
    return HivemindError(f"{played.path}, line {line} is no line of a recording: {why}; {before}")


def _read(line: bytes, number: int) -> Recorded:
    said = orjson.loads(line)
    at, topic, envelope = said["time"], said["topic"], said["envelope"]
    if not isinstance(at, int | float) or isinstance(at, bool):
        raise ValueError("its time is no number")
    if not is_topic(topic):
        raise ValueError(f"{topic!r} is no topic")
    if not isinstance(envelope, dict) or not ("d" in envelope or "b" in envelope):
        raise ValueError("its envelope has no payload")
    if "v" in envelope and not is_envelope(envelope):
        raise Malformed("its envelope is none")
    headers = envelope.get("h", {})
    if not isinstance(headers, dict):
        raise ValueError("its headers are no object")
    texts = {str(name): str(text) for name, text in headers.items()}
    return Recorded(float(at), topic, _as_recorded(line, envelope), texts, number, len(line))


def _as_recorded(line: bytes, envelope: dict[str, Any]) -> Any:
    """The payload in a line, spelled as it is there if that is not as it would be: an integer of more than 64 bits is
    nothing that we could read and write.
    """
    payload = payload_of(envelope)
    if "d" not in envelope:
        return payload
    usual = encode_payload(payload)
    if usual in line:
        return payload
    return orjson.Fragment(spelled(line.decode(), "envelope", "d").encode())


def _why(error: Exception) -> str:
    if isinstance(error, orjson.JSONDecodeError):
        return f"not JSON, {error}"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    return str(error) if isinstance(error, ValueError) else "it is no object with time, topic and envelope"
