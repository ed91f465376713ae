"""What of a hive works, and is likely not what somebody meant: topics, patterns, payloads and settings. Pure.

It is said as `hm doctor` says what Redis and the hosts lack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from ..constants import Constants
from ..data.checkup import Finding, Level
from ..data.histogram import counts_in, quantile
from ..data.records import Instance, SubscriptionRecord
from ..english import amount, duration, listed
from .traffic import traffic

MOST = 10  #: topics, and patterns, of which each is named
BEATS = 3  #: of which two may be late before somebody seems to be lost
HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def of_network(instances: Sequence[Instance], announced: Sequence[str] = ()) -> list[Finding]:
    """Topics that nobody hears, patterns that match nothing, payloads that do not fit; what of these is fine is one
    line each.
    """
    found = traffic(instances, announced)
    heard = [one for one in found.topics if one.note]
    topics = [
        Finding(
            Level.YELLOW,
            f"topic {one.topic}",
            one.note,
            f"what {listed(sorted({each.node for each in one.senders})) or 'others'} sends there reaches no node",
            "mend the pattern that was meant to match it, or keep it for who listens from outside",
        )
        for one in heard
    ]
    patterns = [
        Finding(
            Level.YELLOW,
            f"pattern {one.pattern}",
            f"nothing has come by it, and {one.note}",
            f"{listed(sorted({each.who for each in one.subscribers}))} waits in vain",
            "mend it, or start who sends",
        )
        for one in found.unfed
    ]
    sound = f"{amount(len(found.topics), 'topic')} of services, each is heard"
    fed = amount(len({one.pattern for each in instances for one in each.stats.subscriptions}), "pattern")
    return [
        *_first(topics, "topics", sound),
        *_first(patterns, "subscriptions", f"{fed}, each matches something"),
        *_payloads(instances),
    ]


def of_settings(constants: Constants, sources: Mapping[str, str], instances: Sequence[Instance]) -> list[Finding]:
    """Settings that will bite; one line where none will."""
    found = [
        Finding(Level.YELLOW, f"setting {name}", said, means, f"{todo} ({sources.get(name, 'default')})")
        for name, said, means, todo in _bites(constants, instances)
    ]
    return found or [Finding(Level.GREEN, "constants", "none that will bite")]


def _first(found: list[Finding], subject: str, sound: str) -> list[Finding]:
    if not found:
        return [Finding(Level.GREEN, subject, sound)]
    rest = len(found) - MOST
    more = (
        [Finding(Level.YELLOW, subject, f"{rest} more like these", "", "`hm topics` has them all")] if rest > 0 else []
    )
    return [*found[:MOST], *more]


def _payloads(instances: Sequence[Instance]) -> list[Finding]:
    counted: dict[tuple[str, str, str], list[SubscriptionRecord]] = {}
    for each in instances:
        for one in () if each.is_lost else each.stats.subscriptions:
            counted.setdefault((one.member or each.node, one.pattern, one.handler), []).append(one)
    found = []
    for (node, pattern, handler), records in counted.items():
        if count := sum(one.invalid for one in records):
            all_ = sum(one.received for one in records)
            # Who failed on others, too, may have failed last: then its last error is not of a message that did not fit.
            errors = [one.error for one in records if one.invalid and one.error and not one.failed]
            means = "a durable one becomes a dead letter" if any(one.group for one in records) else "it is only counted"
            found.append(
                Finding(
                    Level.YELLOW,
                    f"payloads of {pattern}",
                    f"{count:,} of {amount(all_, 'message')} did not fit {handler} of {node}"
                    + (f"; the last error: {errors[-1]}" if errors else ""),
                    f"no handler gets such a message: {means}",
                    f"compare its annotation with `hm tail '{pattern}'`, and mend that, or who sends",
                )
            )
    return found or [Finding(Level.GREEN, "payloads", "all that came did fit")]


def _bites(constants: Constants, instances: Sequence[Instance]) -> Iterator[tuple[str, str, str, str]]:
    """Name, what is there, what that means, what to do."""
    alive = [one for one in instances if not one.is_lost]
    if constants.LEASE < BEATS * constants.HEARTBEAT:
        said = f"{constants.LEASE:g} s, with a HEARTBEAT of {constants.HEARTBEAT:g} s"
        yield "LEASE", said, "who beats late twice seems to be lost", f"make it {BEATS} times HEARTBEAT"
    kept = sorted({each.name for one in alive for each in one.stats.services if each.kept == "kept"})
    if constants.CONFIRM == "memory" and kept:
        means = f"what was confirmed of {listed(kept)} is gone when Redis dies"
        yield "CONFIRM", '"memory"', means, 'write "second", or say confirm="memory" where that is meant'
    if constants.LOG_MAX_BYTE_SIZE == 0:
        yield "LOG_MAX_BYTE_SIZE", "0", "log files grow until the disk is full", "say how large one may be"
    if constants.LOG_LEVEL == "DEBUG" and constants.PRODUCTION:
        yield "LOG_LEVEL", '"DEBUG" with PRODUCTION', "logs are rotated away within minutes", 'write "INFO"'
    if longest := _longest(alive):
        took, who = longest
        if took > constants.STOP_TIMEOUT:
            said = f"{constants.STOP_TIMEOUT:g} s, and one of 100 messages of {who} takes {duration(took)}"
            yield "STOP_TIMEOUT", said, "a stop, or a roll, cuts off what it does", "make it longer than that"
    if len(constants.HOSTS) > 1 and not constants.REDIS_URL:
        means = "no other host reaches it"
        yield "REDIS_URL", "empty, with several HOSTS", means, "run one Redis for all, and write its address"
    if where := _in_the_clear(constants.REDIS_URL):
        means = "passwords and messages can be read, and changed, on the way"
        yield "REDIS_URL", f"{where}, without TLS", means, "write rediss://, or go through a tunnel"


def _longest(alive: Sequence[Instance]) -> tuple[float, str] | None:
    """In how many seconds 99 of 100 were handled by whoever is slowest, and who that is."""
    hears = [(one.instance, each.handler, each.times) for one in alive for each in one.stats.subscriptions]
    answers = [(one.instance, each.handler, each.times) for one in alive for each in one.stats.responders]
    found = [
        (took, f"{handler} of {instance}")
        for instance, handler, times in (*hears, *answers)
        if (took := quantile(counts_in(times), 0.99)) is not None
    ]
    return max(found, default=None)


def _in_the_clear(url: str) -> str:
    """The address behind a URL with a password that leaves this machine without TLS; "" if it is none such."""
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "redis+sentinel", "redis+cluster") or not parts.password:
        return ""
    if parts.scheme == "redis" and (parts.hostname or "") in HERE:
        return ""
    return parts.netloc.rpartition("@")[2]
