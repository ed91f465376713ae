"""The two forms of a line in a log.

As text: ``2026-01-02T03:04:05.678+01:00 INFO     batsignal.0  message``: ISO 8601 with milliseconds and offset, the
level padded to 8, the logger's name, two spaces, the text, in which a traceback follows in lines of its own.

As JSON: ``{"time":"2026-01-02T02:04:05.678Z","level":"INFO","logger":"batsignal.0","message":"…","hive":"gotham",
"instance":"batsignal.0"}``: one object a line, its time RFC 3339 in UTC; and ``topic``, ``message_id``, ``trace_id``,
``traceback`` and ``more_ids`` where there is one. Nodes, the root and hived, which is ``hived.0``, write the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from .burst import MORE

LATEST = 2.5e11  #: unix seconds: no calendar goes much further

_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d) (\S+) +(\S+)  (.*)", re.DOTALL)
_OBJECT = '{"time":"'  # how a line of JSON begins
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_ESCAPED = {code: f"\\u{code:04x}" for code in range(127, 160)}  # the control characters that orjson writes as they are


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry of a log: ``time`` in unix seconds, ``text`` without the last line end, ``source`` the file.

    ``level`` and ``name`` are "" for text that stands before the first proper line of a file, ``host`` for what was
    logged on this one. Only JSON says which ``instance`` it was, and of which ``topic``, ``message`` and ``trace``
    (their ids).
    """

    time: float
    level: str
    name: str
    text: str
    source: Path | None = None
    host: str = ""
    instance: str = ""
    topic: str = ""
    message: str = ""
    trace: str = ""
    more: tuple[str, ...] = ()  # the ids of messages like it that had no line

    def about(self) -> dict[str, str]:
        """What JSON says besides, as it calls that; what is not known is left out."""
        found = {"instance": self.instance, "topic": self.topic, "message_id": self.message, "trace_id": self.trace}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Said:
    """One record before it is a line: ``time`` in unix seconds, ``message`` the id of the one that was handled,
    ``trace`` that of its trace, and ``more`` the ids of those like it that had no line.
    """

    time: float
    level: str
    name: str
    text: str
    traceback: str = ""
    topic: str = ""
    message: str = ""
    trace: str = ""
    more: tuple[str, ...] = ()


class Form(Protocol):
    """How a record becomes a line."""

    is_structured: bool  #: whether it has a place for topic and message

    def line(self, said: Said) -> str:
        """One entry, without a line end."""


class TextForm:
    """Lines for people."""

    is_structured = False

    def line(self, said: Said) -> str:
        """One entry, its traceback in further lines."""
        text = f"{said.text}\n{said.traceback}" if said.traceback else said.text
        return format_line(said.time, said.level, said.name, text)


class JsonForm:
    """Lines for programs: each an object, and says which ``instance`` of which ``hive`` wrote it."""

    is_structured = True

    def __init__(self, hive: str, instance: str) -> None:
        self.hive, self.instance = hive, instance

    def line(self, said: Said) -> str:
        """One entry, in a single line whatever it says."""
        stamp = datetime.fromtimestamp(said.time, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": f"{stamp.removesuffix('+00:00')}Z",
            "level": _word(said.level),
            "logger": _word(said.name),
            "message": said.text.rstrip("\r\n"),
            "hive": self.hive,
            "instance": self.instance,
        }
        more = {"topic": said.topic, "message_id": said.message, "trace_id": said.trace, "traceback": said.traceback}
        found: dict[str, Any] = entry | {name: value for name, value in more.items() if value}
        return _encoded(found | {MORE: said.more} if said.more else found)


def _encoded(entry: dict[str, Any]) -> str:
    try:
        found = orjson.dumps(entry)
    except orjson.JSONEncodeError:  # half a surrogate pair, as in the name of a file that is no UTF-8
        found = orjson.dumps({name: _whole(value) for name, value in entry.items()})
    line = found.decode()
    return line if line.isprintable() else line.translate(_ESCAPED)


def _whole(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else list(map(_whole, value))


def form_of(kind: str, hive: str, instance: str) -> Form:
    """The form that LOG_FORMAT names, for what ``instance`` writes."""
    return JsonForm(hive, instance) if kind == "json" else TextForm()


def format_line(time: float, level: str, name: str, text: str) -> str:
    r"""One entry as text, without a line end.

    Control characters are written as ``\x1b``, and a line of ``text`` that looks like an entry of its own is
    indented: whoever writes into a message can neither drive a terminal nor forge an entry.
    """
    stamp = datetime.fromtimestamp(time, UTC).astimezone().isoformat(timespec="milliseconds")
    text = _clean(text.rstrip("\r\n"))
    if "\n" in text:
        first, *rest = text.split("\n")
        text = "\n".join([first, *(f" {line}" if _is_entry(line) else line for line in rest)])
    return f"{stamp} {_word(level):8} {_word(name)}  {text}"


def parse_line(line: str) -> LogLine | None:
    """Read one entry of either form; None if ``line`` is not the beginning of one."""
    line = line.rstrip("\r\n")
    if line.startswith(_OBJECT):
        return _parse_object(line)
    found = _LINE.fullmatch(line)
    if not found:
        return None
    stamp, level, name, text = found.groups()
    time = _moment(stamp)
    return None if time is None else LogLine(time, level, name, text)


def _parse_object(line: str) -> LogLine | None:
    try:
        raw: dict[str, Any] = orjson.loads(line)
        stamp, level, name, text = (str(raw[key]) for key in ("time", "level", "logger", "message"))
    except (ValueError, KeyError):
        return None
    time = _moment(stamp)
    if time is None or "hive" not in raw:
        return None
    trace = str(raw.get("traceback", ""))
    text = _clean(f"{text}\n{trace}" if trace else text)
    instance, topic, message, trace_id = (
        _clean(str(raw.get(key, ""))) for key in ("instance", "topic", "message_id", "trace_id")
    )
    ids = raw.get(MORE)
    more = tuple(_clean(str(one)) for one in ids) if isinstance(ids, list) else ()
    named = instance, topic, message, trace_id
    return LogLine(time, _word(level), _word(name), text, None, "", *named, more)


def _moment(stamp: str) -> float | None:
    """In unix seconds; None for what is none, or what not every clock can show."""
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return time if found.tzinfo is not None and 0 <= (time := found.timestamp()) < LATEST else None


def _is_entry(line: str) -> bool:
    return _LINE.match(line) is not None or line.startswith(_OBJECT)


def _clean(text: str) -> str:
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_CONTROL)


def _word(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "_", text) or "-"
