"""What `hm why` shows below its paragraph: what each copy counts, and the end of its log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..english import amount, duration

if TYPE_CHECKING:
    from ..data.records import Instance, SubscriptionRecord

PATIENCE = 60  #: seconds that a handler may run before that is worth a word
Line = tuple[str, str]  # a text and its colour
_ODD = {  # counts that should be 0
    "missed": "missed",
    "dropped": "dropped",
    "failed": "failed in a handler",
    "invalid": "invalid",
    "stale": "stale",
    "malformed": "malformed",
    "dead": "dead-lettered",
    "lost": "lost by a stream",
}


def counts(one: Instance) -> list[Line]:
    """What there is to count of one instance, or of a member of it."""
    return [*_services(one), *_subscriptions(one), *_responders(one)]


def member_counts(one: Instance, node: str) -> list[Line]:
    """The same of an instance that nodes share: what is common, then what each member is that ``node`` means."""
    from .members import common_of, part_of

    found = counts(common_of(one))
    for member in one.stats.members:
        if node in (member.name, one.node):
            waits = f": it waits for {member.waits_for}" if member.waits_for else ""
            told = member.fault or f"{member.name} is {member.state}{waits}"
            found.append((f"  {told}", "red" if member.fault else "yellow" if waits else ""))
            found += counts(part_of(one, member))
    return found


def log_lines(path: Path) -> list[Line]:
    """Where a log is, and its last errors."""
    from .log_view import LogView, last_errors

    errors, view = last_errors(path), LogView()
    found = [(f"  log: {path}{'; its last errors:' if errors else '; no errors in it'}", "")]
    return found + [(f"    {line}", "red") for error in errors for line in view.plain(error).splitlines()[-8:]]


def _services(one: Instance) -> list[Line]:
    found = []
    for service in one.stats.services:
        restarts = f", called again after {amount(service.restarts, 'failure')}" if service.restarts else ""
        error = f"; last error: {service.error}" if service.error else ""
        text = f"  service {service.name} is {service.state}: {service.sent:,} sent{restarts}{error}"
        found.append((text, "red" if service.state == "backoff" else "yellow" if error else ""))
    return found


def _subscriptions(one: Instance) -> list[Line]:
    found = []
    for each in one.stats.subscriptions:
        odd = "".join(f", {count:,} {words}" for name, words in _ODD.items() if (count := getattr(each, name)))
        waiting = f", {each.inbox:,} waiting" if each.inbox else ""
        waiting += f", {each.parked:,} parked for another try" if each.parked else ""
        waiting += f", a handler has been running for {duration(each.longest)}" if each.longest >= PATIENCE else ""
        error = f"; last error: {each.error}" if each.error else ""
        filled = f" ({each.filled:,} filled in)" if each.filled else ""
        told = f"{each.received:,} received{filled}, {each.handled:,} handled{odd}{_settled(each)}{waiting}"
        found.append((f"  subscription {each.pattern}: {told}{error}", "yellow" if odd or error else ""))
    return found


def _settled(one: SubscriptionRecord) -> str:
    """What a durable subscription has settled with Redis."""
    again = f", {one.retried:,} tried again" if one.retried else ""
    return f", {one.acknowledged:,} acknowledged in group {one.group}{again}" if one.group else ""


def _responders(one: Instance) -> list[Line]:
    found = []
    for each in one.stats.responders:
        odd = "".join(
            f", {count:,} {name}" for name in ("failed", "invalid", "cancelled") if (count := getattr(each, name))
        )
        hand = f", {each.in_hand:,} in hand" if each.in_hand else ""
        error = f"; last error: {each.error}" if each.error else ""
        told = f"{each.received:,} received, {each.handled:,} answered{odd}{hand}"
        found.append((f"  responder {each.name}: {told}{error}", "yellow" if odd or error else ""))
    return found
