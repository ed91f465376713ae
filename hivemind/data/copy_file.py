r"""The file of a backup: what to do to have everything again, in commands of Redis, each portion with a checksum.

::

    {"format":"hivemind backup","version":1,"hive":"gotham","made":"2026-11-23T01:02:03Z","server":"Redis 8.2.3"}
    C 1234 89abcdef            a portion: its bytes, their CRC-32, and then they themselves
    *5\r\n$4\r\nXADD...
    E 98 01234567              the end: how many of everything there are, and the SHA-256 of all before
    {"keys":12,...,"sha256":"..."}
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, BinaryIO

import orjson

from ..bus.commands import Argument
from ..bus.written import commands_in, written
from ..errors import HivemindError

FORMAT, VERSION = "hivemind backup", 1
LONGEST_LINE = 4096  #: bytes of a header, or of the line before a portion
LONGEST = 256 * 1024 * 1024  #: bytes of a portion: one message, or one key of another kind, is never more


@dataclass(frozen=True, slots=True)
class Header:
    """What a backup says of itself: the ``hive``, when it was ``made``, and from which ``server``."""

    hive: str
    made: str
    server: str


@dataclass(slots=True)
class Counts:
    """How much there is. ``left_out`` are pending entries whose message is not in its stream any more."""

    keys: int = 0
    streams: int = 0
    entries: int = 0
    groups: int = 0
    pending: int = 0
    left_out: int = 0

    @property
    def kept(self) -> tuple[int, ...]:
        """What must be the same where it was restored."""
        return self.keys, self.streams, self.entries, self.groups, self.pending

    @property
    def text(self) -> str:
        """In words."""
        parts = [f"{self.keys:,} keys", f"{self.streams:,} streams with {self.entries:,} entries"]
        return ", ".join([*parts, f"{self.groups:,} groups", f"{self.pending:,} pending"])


class Writer:
    """Writes a backup: ``begin``, ``add`` again and again, ``end``. Raises OSError."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._hash = out, hashlib.sha256()

    def begin(self, header: Header) -> None:
        """Say what it is."""
        self._write(orjson.dumps({"format": FORMAT, "version": VERSION, **asdict(header)}) + b"\n")

    def add(self, commands: Sequence[Sequence[Argument]]) -> None:
        """One portion."""
        if commands:
            self._portion(b"C", written(commands))

    def end(self, counts: Counts) -> None:
        """It is whole."""
        self._portion(b"E", orjson.dumps(asdict(counts) | {"sha256": self._hash.hexdigest()}))

    def _portion(self, kind: bytes, body: bytes) -> None:
        self._write(b"%b %d %08x\n" % (kind, len(body), zlib.crc32(body)) + body + b"\n")

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._out.write(data)


class BackupReader:
    """Reads a backup. Whatever is none raises HivemindError in words, and what a file only claims takes no memory."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self._source, self._name = source, name
        self._hash = hashlib.sha256()
        self.header = self._header()
        self.counts: Counts | None = None  # once the end was read

    def portions(self) -> Iterator[list[list[bytes]]]:
        """The commands, a portion at a time. ``counts`` is known behind the last."""
        while True:
            before = self._hash.hexdigest()
            kind, body = self._portion()
            if kind == b"E":
                self.counts = self._end(body, before)
                return
            yield self._commands(body)

    def _header(self) -> Header:
        raw = self._object(self._line())
        if raw.get("format") != FORMAT:
            raise self._wrong("it is no backup of a hive")
        if raw.get("version") != VERSION:
            raise self._wrong(f"it is of version {raw.get('version')!r}, and here {VERSION} is known: upgrade Hivemind")
        return Header(*(str(raw.get(each.name, "")) for each in fields(Header)))

    def _portion(self) -> tuple[bytes, bytes]:
        line = self._line()
        kind, _, rest = line.strip().partition(b" ")
        size, _, check = rest.partition(b" ")
        if kind not in (b"C", b"E") or not size.isdigit() or len(size) > 9 or int(size) > LONGEST:
            raise self._wrong("it is spoilt")
        body = self._source.read(int(size) + 1)
        self._hash.update(body)
        if len(body) != int(size) + 1 or body[-1:] != b"\n":
            raise self._wrong("it is cut off")
        if b"%08x" % zlib.crc32(body[:-1]) != check:
            raise self._wrong("it is spoilt: a checksum is wrong")
        return kind, body[:-1]

    def _end(self, body: bytes, before: str) -> Counts:
        raw = self._object(body)
        if raw.pop("sha256", None) != before or self._source.read(1):
            raise self._wrong("it is spoilt: it is not what its end says")
        numbers = [raw.get(each.name) for each in fields(Counts)]
        if not all(isinstance(one, int) and one >= 0 for one in numbers):
            raise self._wrong("it is spoilt: it does not say how much is in it")
        return Counts(*numbers)  # type: ignore[arg-type]  # they are numbers

    def _commands(self, body: bytes) -> list[list[bytes]]:
        try:
            return commands_in(body)
        except ValueError as error:
            raise self._wrong(f"it is spoilt: {error}") from None

    def _line(self) -> bytes:
        line = self._source.readline(LONGEST_LINE)
        self._hash.update(line)
        if not line.endswith(b"\n"):
            raise self._wrong("it is cut off" if line and len(line) < LONGEST_LINE else "it is no backup of a hive")
        return line

    def _object(self, text: bytes) -> dict[str, Any]:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise self._wrong("it is no backup of a hive")
        return value

    def _wrong(self, why: str) -> HivemindError:
        return HivemindError(f"{self._name}: {why}; nothing was touched")
