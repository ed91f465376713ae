"""Every error that Hivemind raises on purpose.

::

    HivemindError
    ├── ConfigurationError       what you wrote cannot work; nothing was started
    │   ├── SettingsError        a constant in config/hive.py (or its environment variable)
    │   ├── InvalidName          a topic, pattern, hive or node name
    │   ├── DeclarationError     a decorator, add_service or add_subscription used wrongly
    │   ├── HiveNotFound         no hive where one was named
    │   ├── LayoutMismatch       another version of Hivemind wrote what is in Redis
    │   └── NodeLoadError        a node's file cannot be imported, or holds no node
    ├── PayloadError             a payload has no JSON form; raised in the caller of ``send``
    ├── SendError
    │   ├── OutboxFull           the outbox has no room and may not wait
    │   ├── Refused              Redis said no: the messages are certainly not published
    │   └── Unconfirmed          no answer in time: the outcome is not known
    ├── RedisError
    │   ├── RedisUnavailable     cannot be reached, or does not answer
    │   ├── RedisDenied          wrong password, or an ACL that forbids
    │   └── RedisRefused         answered with an error: out of memory, disk full, read only
    ├── RequestError             a request has no answer
    │   ├── NoResponders         nobody answers to that name
    │   ├── RequestTimeout       no answer in time; also a TimeoutError
    │   ├── NoActor              who was asked is not there, or takes no such message
    │   ├── RequestLost          who had it died, or a part of the answer got lost, and it cannot be asked again
    │   └── RemoteError          the responder raised
    │       └── InvalidRequest   the payload does not fit what the responder takes
    ├── InstanceHeld             another living process has this instance
    ├── Fenced                   a newer incarnation of this instance exists
    ├── TakenOver                the lease had ended, and others took over what this life held
    ├── ActorError               an actor, its address, or the context that it lives in
    │   ├── SocketError          the address of a context cannot be listened at
    │   ├── InvalidProcess       there is no such actor here, or its name is taken
    │   ├── InvalidMethod        the actor has no such method
    │   └── UnboundProcess       it was not spawned yet
    ├── Retry                    raised by a handler: try this durable message again
    ├── Reject                   raised by a handler: this durable message is a dead letter
    ├── CannotSettle             ack, nack or reject of a message for which there is nothing to decide any more
    ├── Skip                     raised by middleware: this message goes no further
    └── SupervisorError          supervisord cannot be reached, or refused

A message says what happened, where, and what to do. What a program may want to read is an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .english import amount

UNCONFIRMED = "unconfirmed"  #: the reason that is given where none is known
LONGEST_DELAY = 30 * 86_400  #: seconds for which a handler may put a message off


class HivemindError(Exception):
    """The root of all errors here: ``except HivemindError`` catches whatever this library raises."""


def in_words(error: BaseException, most: int = 500) -> str:
    """An error as text that can be sent: what others raise may hold what is no UTF-8, and a megabyte of it."""
    text = f"{type(error).__name__}: {error}"[:most]
    return text.encode("utf-8", "backslashreplace").decode()


class ConfigurationError(HivemindError):
    """Something in the hive is written so that it cannot work."""


class SettingsError(ConfigurationError):
    """A setting has a value that it cannot have.

    ``constant``, ``value`` and ``allowed`` say what; ``file`` and ``line`` say where (``line`` is None when
    the value came from the environment).
    """

    def __init__(self, constant: str, value: object, allowed: str, file: str, line: int | None = None) -> None:
        self.constant, self.value, self.allowed, self.file, self.line = constant, value, allowed, file, line
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {constant} = {value!r}: {allowed}")


class InvalidName(ConfigurationError, ValueError):
    """A name that cannot be: ``kind`` says of what, ``reason`` why."""

    def __init__(self, kind: str, name: object, reason: str) -> None:
        self.kind, self.name, self.reason = kind, name, reason
        super().__init__(f"{name!r} cannot be the name of a {kind}: {reason}")


class DeclarationError(ConfigurationError):
    """A service or subscription is declared in a way that cannot be bound."""


class HiveNotFound(ConfigurationError):
    """There is no hive where one was named or expected."""


class LayoutMismatch(ConfigurationError):
    """What a hive has in Redis has the layout ``stored``, and this version reads and writes ``here``: it touches
    nothing.
    """

    def __init__(self, hive: str, stored: int, here: int) -> None:
        self.hive, self.stored, self.here = hive, stored, here
        other, todo = ("a newer", "upgrade here") if stored > here else ("an older", "docs/upgrades.md says what to do")
        super().__init__(f"{hive} was written by {other} Hivemind (layout {stored}, here {here}): {todo}")


class NodeLoadError(ConfigurationError):
    """A node's module cannot be loaded. ``file`` and ``line`` point at the fault where that is known."""

    def __init__(self, target: str, reason: str, file: Path | str | None = None, line: int | None = None) -> None:
        self.target, self.reason, self.file, self.line = target, reason, file, line
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        is_said = bool(where) and f"/{file}".endswith(f"/{target.removeprefix('./')}")
        super().__init__(f"{where}{reason}" if is_said else f"{target}: {where}{reason}")


class PayloadError(HivemindError, ValueError):
    """A payload cannot be sent. ``path`` leads to the value that is to blame, such as ``$.speed[3]``."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"payload at {path}: {reason}")


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One message that an outbox could not see through: enough to find it again."""

    topic: str
    sequence: int
    reason: str


class SendError(HivemindError):
    """A message did not get as far as was asked."""


class OutboxFull(SendError):
    """The outbox is full and the caller cannot wait: it is on the event loop, or the policy is ``raise``.

    On the loop, ``await drain()`` between sends; on a thread ``send`` waits by itself.
    """


class Refused(SendError):
    """Redis answered that it will not take these ``messages``. They are certainly not published."""

    def __init__(self, messages: Sequence[Undelivered]) -> None:
        self.messages = tuple(messages)
        first = self.messages[0]
        super().__init__(
            f"Redis refused {amount(len(self.messages), 'message')}, the first on topic {first.topic!r}: {first.reason}"
        )


class Unconfirmed(SendError):
    """Redis has not answered for these ``messages`` in time; they stay in the outbox and are sent again."""

    def __init__(self, messages: Sequence[Undelivered], timeout: float) -> None:
        self.messages, self.timeout = tuple(messages), timeout
        reasons = {one.reason for one in self.messages} - {UNCONFIRMED}
        why = f": {min(reasons)}" if reasons else ""
        many, seconds = amount(len(self.messages), "message"), f"{round(timeout, 2):g} s"
        super().__init__(f"no confirmation from Redis for {many} within {seconds}{why}")


class RedisError(HivemindError):
    """Redis did not do what was asked. The URL in the text never shows a password."""


class RedisUnavailable(RedisError):
    """Redis cannot be reached, or does not answer."""


class RedisDenied(RedisError):
    """Redis knows us not: wrong user or password, or an ACL without this right."""


class RedisRefused(RedisError):
    """Redis answered with an error, for example because its memory or its disk is full."""


class RequestError(HivemindError):
    """A request that was not answered. ``request`` is the name that was asked for."""

    def __init__(self, request: str, reason: str) -> None:
        self.request, self.reason = request, reason
        super().__init__(f"request {request!r}: {reason}")


class NoResponders(RequestError):
    """Nobody answers to that name: no node that declares it runs, or none can be reached."""

    def __init__(self, request: str, hint: str = "") -> None:
        todo = "start a node with @responder of that name"
        super().__init__(
            request, f"nobody answers to it{hint}? If not, {todo}" if hint else f"nobody answers to it: {todo}"
        )


class NoActor(RequestError):
    """There is no such actor, or it has no such mailbox."""


class RequestTimeout(RequestError, TimeoutError):
    """The deadline passed. Whether the responder did its work is not known; an ``async def`` one was cancelled."""


class RequestLost(RequestError):
    """Who had the request died and nobody else is there, or a part of a stream was lost with a connection."""


class RemoteError(RequestError):
    """The responder raised: ``kind`` is the name of the exception's class, ``text`` what it said, ``responder`` the
    instance, ``remote_traceback`` its traceback as text.
    """

    def __init__(self, request: str, kind: str, text: str, responder: str = "", remote_traceback: str = "") -> None:
        self.kind, self.text, self.responder, self.remote_traceback = kind, text, responder, remote_traceback
        super().__init__(request, self._in_words())

    def _in_words(self) -> str:
        return f"{self.responder or 'the responder'} raised {self.kind}: {self.text}"


class InvalidRequest(RemoteError):
    """The payload does not fit what the responder takes, or it answers in another way than was asked for."""

    def _in_words(self) -> str:
        what = "" if self.text.startswith("payload") else "request: "
        return f"{self.responder or 'the responder'} does not take this {what}{self.text}"


class InstanceHeld(HivemindError):
    """Another living process is registered as this instance. ``holder`` says which, in words.

    ``incarnation`` is its life. ``expires`` is when its lease of ``lease`` seconds ends, in unix milliseconds by
    Redis's clock; 0 if that has ended without a goodbye: then it may live, for that clock may have been set. Each of
    its beats changes ``sign``.
    """

    def __init__(
        self, instance: str, holder: str, incarnation: int = 0, expires: int = 0, lease: float = 0.0, sign: int = 0
    ) -> None:
        self.instance, self.holder = instance, holder
        self.incarnation, self.expires, self.lease, self.sign = incarnation, expires, lease, sign
        super().__init__(f"{instance} is held by {holder}")


class Fenced(HivemindError):
    """A newer incarnation of this instance is registered: this process is a left-over and must stop."""

    def __init__(self, instance: str, incarnation: int, newer: int) -> None:
        self.instance, self.incarnation, self.newer = instance, incarnation, newer
        super().__init__(f"{instance}: incarnation {incarnation} has been replaced by {newer}")


class TakenOver(HivemindError):
    """The lease of this life had ended, and another instance took over what it had yet to acknowledge."""

    def __init__(self, instance: str, incarnation: int) -> None:
        self.instance, self.incarnation = instance, incarnation
        super().__init__(f"{instance}: what incarnation {incarnation} held has been taken over")


def check_delay(delay: float | None, what: str) -> float | None:
    """Return for how many seconds a handler may put a message off, None for the usual; raise ValueError for others."""
    if delay is not None and not 0 <= delay <= LONGEST_DELAY:
        raise ValueError(f"{what}({delay!r}): use 0 to {LONGEST_DELAY:,} seconds")
    return delay


def check_seconds(seconds: float, what: str) -> float:
    """Return how long something may take; raise ValueError for what is no number of seconds from 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ValueError(f"{what}({seconds!r}): use a number of seconds, 0 or more")
    return seconds


class ActorError(HivemindError):
    """Something is wrong with an actor, its address, or the context that it lives in."""


class SocketError(ActorError):
    """The address of a context cannot be listened at."""


class InvalidProcess(ActorError):
    """There is no such actor here; or there is one already that has the name."""


class InvalidMethod(ActorError):
    """The actor has no such method."""


class UnboundProcess(ActorError):
    """An actor was asked for what it has once it is spawned."""


class Retry(HivemindError):
    """Raised by the handler of a durable message: try it again, after ``delay`` seconds or after the usual back-off."""

    def __init__(self, delay: float | None = None) -> None:
        self.delay = check_delay(delay, "Retry")
        super().__init__("tried again" if delay is None else f"tried again in {delay:g} s")


class Reject(HivemindError):
    """Raised by the handler of a durable message: it is a dead letter at once, for this reason."""


class CannotSettle(HivemindError):
    """``message.ack()``, ``nack()`` or ``reject()`` came a second time, after the handler had ended, or on a live
    message, of which nobody keeps anything.
    """

    def __init__(self, what: str, message: str, reason: str) -> None:
        self.what, self.message, self.reason = what, message, reason
        super().__init__(f"{what} of {message}: {reason}")


class Skip(HivemindError):
    """Raised by a ``before_`` hook of middleware: the message is not sent, or it counts as handled."""


class SupervisorError(HivemindError):
    """supervisord cannot be reached or refused a request."""
