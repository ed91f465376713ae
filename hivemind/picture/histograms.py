"""The histograms of a picture in Prometheus's text, which is the same in OpenMetrics: handler times, and delays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..data.histogram import BOUNDS, Packed, counts_in, seconds_in
from ..data.records import ResponderRecord, SubscriptionRecord
from .counts import labels, labels_of, of_subscription
from .snapshot import Snapshot

Timed = SubscriptionRecord | ResponderRecord
SHOWN = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 600.0)
"""Of the bounds of histograms those that are told: each is a series."""
MEASURED: Sequence[tuple[str, str, Callable[[Timed], Packed]]] = (
    ("handler_seconds", "How long its handler took.", lambda one: one.times),
    ("delay_seconds", "How long it took from sending to the begin of the handler.", lambda one: one.delays),
)
_SHOWN = [(str(bound), BOUNDS.index(bound) + 1) for bound in SHOWN]


def histograms(snapshot: Snapshot) -> Iterator[str]:
    """Lines, with their ends, of all that was measured; nothing while Redis does not answer."""
    if snapshot.silent_since is not None:
        return
    hears: list[tuple[str, Timed]] = []
    answers: list[tuple[str, Timed]] = []
    for view in snapshot.instances:
        one = view.record
        if not one.is_lost:
            where = labels_of(snapshot, one)
            hears += [(of_subscription(where, each), each) for each in one.stats.subscriptions]
            answers += [(labels(where, name=each.name), each) for each in one.stats.responders]
    yield from _family("subscription", hears)
    yield from _family("responder", answers)


def _family(kind: str, found: Iterable[tuple[str, Timed]]) -> Iterator[str]:
    """What has the same labels, such as two subscriptions of one name, is one."""
    known = list(found)
    for name, meaning, of in MEASURED:
        whose: defaultdict[str, list[Packed]] = defaultdict(list)
        for where, record in known:
            if measured := of(record):
                whose[where].append(measured)
        if whose:
            full = f"hivemind_{kind}_{name}"
            yield f"# HELP {full} {meaning}\n# TYPE {full} histogram\n"
            for where, measures in whose.items():
                yield _one(full, where, measures)


def _one(name: str, where: str, measures: Sequence[Packed]) -> str:
    counts = [sum(each) for each in zip(*map(counts_in, measures), strict=True)]
    lines = [f'{name}_bucket{{{where},le="{bound}"}} {float(sum(counts[:at]))}' for bound, at in _SHOWN]
    total = float(sum(counts))
    lines += [f'{name}_bucket{{{where},le="+Inf"}} {total}', f"{name}_count{{{where}}} {total}"]
    return "\n".join([*lines, f"{name}_sum{{{where}}} {sum(map(seconds_in, measures))}\n"])
