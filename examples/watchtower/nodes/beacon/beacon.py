"""The lamp on the tower. It goes out now and then, and is lit again: what fails is started anew, with a pause."""

from __future__ import annotations

from itertools import count

from hivemind import Service, service, subscription

from ..common.options import OPTIONS

OIL = 180  # after so many turns the oil is used up
TURNS = count(1)


@service("beacon.lamp", every=OPTIONS.every, keep=10)
def turn(service: Service) -> None:
    """The last ten words are kept, for who comes late."""
    is_empty = next(TURNS) % OIL == 0
    service.send(not is_empty)
    if is_empty:
        raise RuntimeError("the oil is used up")


@subscription("hosts.cpu")
def dim(payload: dict[str, object]) -> None:
    """Matches nothing, on purpose: the topic is `host.cpu`. `hm graph` and `hm doctor` ask whether that was meant."""
