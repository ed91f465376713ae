"""What a node declares: recorded by decorators, bound later. Nothing here knows of Redis."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypedDict, TypeVar, cast

from ..constants import did_you_mean
from ..errors import ConfigurationError, DeclarationError
from ..retention import Retention, check_keep, check_tier
from ..since import check_since, span
from ..topics import check_name, check_pattern, check_topic

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__hivemind_declared__"
_PATH = re.compile(r"(?=.{1,128}$)[^.\s]+(\.[^.\s]+)*")
LONGEST_WINDOW = 30 * 86_400.0  #: seconds for which messages that were handled can be remembered


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """A function that observes something and sends it on ``topic``.

    ``every`` is the period in seconds at which it is called; None calls it again as soon as it returns. What a
    ``durable`` one sends is kept until every group that reads it has handled it, and for as long as ``keep`` says; with
    ``keep`` alone it is kept that long, and no longer. ``confirm`` is the tier at which ``flush()`` is told so (None:
    the hive's).
    """

    topic: str
    every: float | None = None
    durable: bool = False
    keep: str | int | None = None
    confirm: str | None = None

    def __post_init__(self) -> None:
        check_topic(self.topic)
        if self.every is not None and not _is_span(self.every):
            raise DeclarationError(
                f"service {self.topic!r}: every={self.every!r} has to be a number, more than 0 seconds"
            )
        try:
            if self.keep is not None:
                check_keep(self.keep)
            if self.confirm is not None:
                check_tier(self.confirm)
        except ConfigurationError as error:
            raise DeclarationError(f"service {self.topic!r}: {error}") from None
        if self.confirm is not None and not self.is_kept:
            raise DeclarationError(
                f"service {self.topic!r}: confirm={self.confirm!r} says how safe a message is that is kept: add "
                'durable=True, or keep="10m"'
            )

    @property
    def is_kept(self) -> bool:
        """Whether what it sends goes into a stream."""
        return self.durable or self.keep is not None

    @property
    def retention(self) -> Retention:
        """How much of it is kept."""
        return Retention.of(self.durable, self.keep)


@dataclass(frozen=True, slots=True)
class SubscriptionDeclaration:
    """A function that receives what is sent on topics that match ``pattern``.

    ``workers`` is how many messages it may handle at once; more than one gives up their order. ``raw`` delivers
    bytes that are no JSON, too. A ``durable`` one handles every message at least once, also those sent while it was
    down: it begins with what is there ``since``, in its ``group`` (None: the node's name), tries a message again
    ``retries`` times, after ``backoff`` seconds at least and at most, and gives a handler ``timeout`` seconds. For as
    long as ``dedupe`` says, such as "10m", it handles nothing twice. Messages that have the same value at ``order_by``,
    a path into the payload such as "customer.id", are handled one after the other, in their order.
    """

    pattern: str
    workers: int = 1
    raw: bool = False
    durable: bool = False
    since: str = "new"
    retries: int = 5
    backoff: tuple[float, float] = (0.5, 60.0)
    timeout: float | None = None
    group: str | None = None
    dedupe: str | None = None
    order_by: str | None = None

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if not isinstance(self.workers, int) or not 1 <= self.workers <= 1000:
            raise DeclarationError(f"subscription {self.pattern!r}: workers={self.workers!r}: use 1 to 1000")
        if self.group is not None:
            check_name(self.group, "group")
        self._check_durable()

    def _check_durable(self) -> None:
        meant = [name for name, usual in _OF_DURABLE.items() if getattr(self, name) != usual]
        if meant and not self.durable:
            raise DeclarationError(f"subscription {self.pattern!r}: {meant[0]}= needs durable=True")
        if self.timeout is not None and not _is_span(self.timeout):
            raise DeclarationError(
                f"subscription {self.pattern!r}: timeout={self.timeout!r}: use a number, more than 0 seconds"
            )
        if self.dedupe is not None and not 1 <= self.window <= LONGEST_WINDOW:
            raise DeclarationError(
                f'subscription {self.pattern!r}: dedupe={self.dedupe!r}: write a span such as "10m", from "1s" to "30d"'
            )
        if self.order_by is not None and not (isinstance(self.order_by, str) and _PATH.fullmatch(self.order_by)):
            raise DeclarationError(
                f"subscription {self.pattern!r}: order_by={self.order_by!r}: write the name of a field of the payload, "
                'or a path to one, such as "customer.id"'
            )
        if not isinstance(self.retries, int) or self.retries < 0:
            raise DeclarationError(f"subscription {self.pattern!r}: retries={self.retries!r}: use 0 or more")
        if not _is_backoff(self.backoff):
            raise DeclarationError(
                f"subscription {self.pattern!r}: backoff={self.backoff!r}: write the shortest wait first, then the "
                "longest, in seconds, such as (0.5, 60)"
            )

    @property
    def window(self) -> float:
        """Seconds for which nothing is handled twice."""
        return (span(self.dedupe) or 0.0) if isinstance(self.dedupe, str) else 0.0


def _is_span(value: object) -> bool:
    """Whether it is a number of seconds, more than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_backoff(value: object) -> bool:
    is_pair = isinstance(value, tuple | list) and len(value) == 2 and all(_is_span(one) for one in value)
    return is_pair and value[0] <= value[1]  # type: ignore[index]


#: what only a durable subscription can be told, and what it is where nothing is said
_OF_DURABLE: Mapping[str, object] = {
    "retries": 5,
    "backoff": (0.5, 60.0),
    "timeout": None,
    "group": None,
    "dedupe": None,
    "order_by": None,
}


class SubscriptionWords(TypedDict, total=False):
    """What ``@subscription`` and ``add_subscription`` may be told beside the pattern."""

    workers: int
    raw: bool
    durable: bool
    since: str | int
    retries: int
    backoff: tuple[float, float]
    timeout: float | None
    group: str | None
    dedupe: str | None
    order_by: str | None


def declared(pattern: str, words: SubscriptionWords) -> SubscriptionDeclaration:
    """The declaration of a subscription. Raises ConfigurationError for what cannot be meant."""
    check_words("add_subscription", (pattern,), words, SubscriptionWords.__annotations__)
    since = check_since(words.get("since", "new"))
    return SubscriptionDeclaration(pattern, **(words | {"since": since}))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ResponderDeclaration:
    """A function that answers requests called ``name``.

    ``workers`` is how many it handles at once; more wait, in order. A ``stream`` one is a generator, sync or async,
    and yields many replies.
    """

    name: str
    workers: int = 1
    stream: bool = False

    def __post_init__(self) -> None:
        check_topic(self.name)
        if not isinstance(self.workers, int) or not 1 <= self.workers <= 1000:
            raise DeclarationError(f"responder {self.name!r}: workers={self.workers!r}: use 1 to 1000")


Declaration = ServiceDeclaration | SubscriptionDeclaration | ResponderDeclaration


def _worded(decorator: F) -> F:
    """``decorator``, which refuses a word that it does not know with the one that was meant."""
    known = [name for name, each in inspect.signature(decorator).parameters.items() if each.kind is each.KEYWORD_ONLY]

    @wraps(decorator)
    def checked(*names: Any, **words: Any) -> Any:
        check_words(f"@{decorator.__name__}", names, words, known)
        return decorator(*names, **words)

    return cast(F, checked)


def check_words(what: str, names: tuple[object, ...], words: Mapping[str, object], known: Collection[str]) -> None:
    """Raise DeclarationError for a word that ``what`` cannot be told: after its ``names`` it takes those ``known``."""
    unknown = next((word for word in words if word not in known and word != "name"), None)
    if unknown is not None:
        told = f"{what}({', '.join([*map(repr, names), f'{unknown}={words[unknown]!r}'])})"
        meant = did_you_mean(unknown, known).removesuffix("?")
        hint = f"{meant}=?" if meant else f"; there are {', '.join(known)}"
        raise DeclarationError(f"{told}: there is no {unknown}={hint}")


@_worded
def service(
    name: str,
    *,
    every: float | None = None,
    durable: bool = False,
    keep: str | int | None = None,
    confirm: str | None = None,
) -> Callable[[F], F]:
    """Declare that the function is a service, on the topic ``name``.

    It is called for ever, on a thread of its own if it is a ``def``, as a task if it is an ``async def``; with
    ``every``, once every so many seconds. It may take the service, to send with; it returns None or 0 to go on and
    another int to be finished.

    What a ``durable`` one sends is kept until all who read it durably have handled it, and goes to everybody else at
    once, as ever; ``keep="10m"`` keeps the last ten minutes (``s``, ``m``, ``h``, ``d``), ``keep=1000`` the last
    thousand messages. ``confirm`` is what Redis has to have done when ``flush()`` returns: "memory", "second", "disk",
    "replica"; without it the setting CONFIRM. See ``docs/delivery.md``. ::

        @service("bat-signal-main", every=5.0)
        def signal(self, service):
            service.send("Batman! We need help!")
    """
    _check_called("service", name)
    return _mark(ServiceDeclaration(name, every, durable, keep, confirm))


@_worded
def subscription(  # noqa: PLR0913 - what a durable one can be told
    name: str,
    *,
    workers: int = 1,
    raw: bool = False,
    durable: bool = False,
    since: str | int = "new",
    retries: int = 5,
    backoff: tuple[float, float] = (0.5, 60.0),
    timeout: float | None = None,
    group: str | None = None,
    dedupe: str | None = None,
    order_by: str | None = None,
) -> Callable[[F], F]:
    """Declare that the function handles what is sent on topics that match the pattern ``name``.

    A ``durable`` one handles every message at least once, also what was sent while it was down, and shares the work
    with the other copies of its node: see ``docs/delivery.md``. It begins with what is there ``since``: "new", "all", a
    span such as "10m", or a number of messages.

    It takes the payload and, if it names them, ``message`` and ``node``. An annotated payload is validated. ::

        @subscription("bat-signal-*")
        async def save_the_day(self, payload: str, message):
            self.log_info(f"{message.topic}: {payload}")
    """
    _check_called("subscription", name)
    words = SubscriptionWords(
        workers=workers,
        raw=raw,
        durable=durable,
        since=since,
        retries=retries,
        backoff=backoff,
        timeout=timeout,
        group=group,
        dedupe=dedupe,
        order_by=order_by,
    )
    return _mark(declared(name, words))


@_worded
def responder(name: str, *, workers: int = 1, stream: bool = False) -> Callable[[F], F]:
    """Declare that the function answers requests called ``name``; see ``docs/requests.md``.

    It takes the payload and, if it names them, ``message`` and ``node``; what it returns is the reply. With ``stream``
    it is a generator, ``def`` or ``async def``, and yields many. What is annotated is validated. ::

        @responder("sum")
        async def add(self, numbers: list[float]) -> float:
            return sum(numbers)
    """
    _check_called("responder", name)
    return _mark(ResponderDeclaration(name, workers, stream))


def _check_called(decorator: str, name: object) -> None:
    if inspect.isroutine(name):
        raise DeclarationError(f'{name.__qualname__}: write @{decorator}("topic"), with a name')


def declarations_of(function: object) -> tuple[Declaration, ...]:
    """What was declared of ``function``, in the order in which the decorators are written."""
    return tuple(reversed(getattr(function, MARK, ())))


def _mark(declaration: Declaration) -> Callable[[F], F]:
    def mark(function: F) -> F:
        if not callable(function):
            raise DeclarationError(f"{declaration}: it decorates a function, not {function!r}")
        setattr(function, MARK, (*getattr(function, MARK, ()), declaration))
        return function

    return mark
