"""States as data: who may go where. ``advance`` is the only way from one state to another."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar


class NodeState(StrEnum):
    """The life of one node process."""

    CREATED = "created"  # built, nothing is connected
    STARTING = "starting"  # looking for Redis, registering
    STANDBY = "standby"  # its number is held by another living process; waits for it
    WAITING = "waiting"  # registered; waits for what it needs before it begins
    RUNNING = "running"  # registered, subscribed, services run
    STOPPING = "stopping"  # services end, inboxes and outbox are emptied
    STOPPED = "stopped"  # deregistered and closed
    FENCED = "fenced"  # a newer incarnation exists; stops without acting


class ServiceState(StrEnum):
    """The life of one service."""

    WAITING = "waiting"  # the node is not running yet
    RUNNING = "running"  # its function is called again and again
    BACKOFF = "backoff"  # its function raised; waits before the next call
    FINISHED = "finished"  # its function returned an int other than 0
    STOPPED = "stopped"  # the node stopped


class LinkState(StrEnum):
    """The life of one self-healing connection."""

    CONNECTING = "connecting"  # opening, or waiting before the next try
    UP = "up"  # commands go out, answers come in
    DENIED = "denied"  # Redis refuses our credentials; tried again slowly
    CLOSED = "closed"  # closed by us, for good


class OutageState(StrEnum):
    """What one process knows, and has said, of Redis being away."""

    WELL = "well"  # nobody in this process lacks Redis
    NOTICED = "noticed"  # somebody does; nothing was said yet
    SAID = "said"  # it was said, and its end will be


class DeliveryState(StrEnum):
    """The life of one durable message in the hands of one reader."""

    WAITING = "waiting"  # it came, or its next try has begun; its handler has yet to be called
    HANDLING = "handling"  # its handler runs
    PARKED = "parked"  # its handler failed; it waits for its next try
    HANDLED = "handled"  # its handler returned, or had before; Redis has yet to be told
    ACKNOWLEDGED = "acknowledged"  # Redis knows
    DEAD = "dead"  # it lies among the dead letters
    TAKEN = "taken"  # another reader took over: whatever becomes of it is not ours to say


class RepliesState(StrEnum):
    """The life of many replies to one request, with who asked."""

    NEW = "new"  # nobody was asked yet
    OPEN = "open"  # they come
    WHOLE = "whole"  # all have come; some may have yet to be taken
    FAILED = "failed"  # no more will come, or are wanted; some may have yet to be taken


class DrillStage(StrEnum):
    """How far a drill is."""

    STEADY = "steady"  # the probes' messages must flow, and all that should run does
    INJECTED = "injected"  # the fault is there
    NOTICED = "noticed"  # somebody but us has noticed
    HEALED = "healed"  # the cause is gone
    BACK = "back"  # messages flow, and everybody lives who did before
    DRAINED = "drained"  # whatever was safe has been handled: the books can be closed
    REFUSED = "refused"  # nothing was done
    FAILED = "failed"  # it did not come so far in time


class RollStage(StrEnum):
    """How far one instance is on its way from the process that runs to the next."""

    WAITING = "waiting"  # its turn has not come
    STARTING = "starting"  # its successor loads, connects and subscribes, while the old process works
    DRAINING = "draining"  # the old process handles what it has, and says goodbye
    TAKING = "taking"  # the new one registers and starts
    PROVING = "proving"  # it runs, and has to go on for a moment
    DONE = "done"  # it runs, and all is well
    REFUSED = "refused"  # its successor did not get ready: the old process was not touched
    RETURNING = "returning"  # it was not well: the version of before is started
    RETURNED = "returned"  # the version of before runs
    FAILED = "failed"  # it is not well, and there is nothing to go back to


class MoveStage(StrEnum):
    """How far a hive is on its way from one Redis to another."""

    FILLING = "filling"  # all goes on; what never changes, the entries of streams, is copied already
    HOLDING = "holding"  # the hive is told to wait, and all its connections are cut
    COPYING = "copying"  # nobody writes; all the rest is copied
    COUNTING = "counting"  # what is here is held against what is there
    GONE = "gone"  # the hive is there
    BACK = "back"  # it goes on where it was, and nothing of it is elsewhere
    UNKNOWN = "unknown"  # the old server did not say whether it let it go: who moves it again finds out


State = TypeVar("State", bound=StrEnum)

NODE: Mapping[NodeState, frozenset[NodeState]] = {
    NodeState.CREATED: frozenset({NodeState.STARTING, NodeState.STOPPED}),
    NodeState.STARTING: frozenset(
        {NodeState.STANDBY, NodeState.WAITING, NodeState.RUNNING, NodeState.STOPPING, NodeState.FENCED}
    ),
    NodeState.STANDBY: frozenset({NodeState.STARTING, NodeState.STOPPING}),
    NodeState.WAITING: frozenset({NodeState.STARTING, NodeState.STOPPING, NodeState.FENCED}),
    NodeState.RUNNING: frozenset({NodeState.STOPPING, NodeState.FENCED}),
    NodeState.FENCED: frozenset({NodeState.STOPPED}),
    NodeState.STOPPING: frozenset({NodeState.STOPPED}),
    NodeState.STOPPED: frozenset(),
}

SERVICE: Mapping[ServiceState, frozenset[ServiceState]] = {
    ServiceState.WAITING: frozenset({ServiceState.RUNNING, ServiceState.STOPPED}),
    ServiceState.RUNNING: frozenset({ServiceState.BACKOFF, ServiceState.FINISHED, ServiceState.STOPPED}),
    ServiceState.BACKOFF: frozenset({ServiceState.RUNNING, ServiceState.STOPPED}),
    ServiceState.FINISHED: frozenset({ServiceState.STOPPED}),
    ServiceState.STOPPED: frozenset(),
}

LINK: Mapping[LinkState, frozenset[LinkState]] = {
    LinkState.CONNECTING: frozenset({LinkState.UP, LinkState.DENIED, LinkState.CLOSED}),
    LinkState.UP: frozenset({LinkState.CONNECTING, LinkState.CLOSED}),
    LinkState.DENIED: frozenset({LinkState.CONNECTING, LinkState.UP, LinkState.CLOSED}),
    LinkState.CLOSED: frozenset(),
}

OUTAGE: Mapping[OutageState, frozenset[OutageState]] = {
    OutageState.WELL: frozenset({OutageState.NOTICED}),
    OutageState.NOTICED: frozenset({OutageState.SAID, OutageState.WELL}),
    OutageState.SAID: frozenset({OutageState.WELL}),
}

DELIVERY: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.WAITING: frozenset(
        {DeliveryState.HANDLING, DeliveryState.HANDLED, DeliveryState.DEAD, DeliveryState.TAKEN}
    ),
    DeliveryState.HANDLING: frozenset(
        {DeliveryState.HANDLED, DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.TAKEN}
    ),
    DeliveryState.PARKED: frozenset({DeliveryState.WAITING, DeliveryState.DEAD, DeliveryState.TAKEN}),
    DeliveryState.HANDLED: frozenset({DeliveryState.ACKNOWLEDGED, DeliveryState.TAKEN}),
    DeliveryState.ACKNOWLEDGED: frozenset(),
    DeliveryState.DEAD: frozenset(),
    DeliveryState.TAKEN: frozenset(),
}

DRILL: Mapping[DrillStage, frozenset[DrillStage]] = {
    DrillStage.STEADY: frozenset({DrillStage.INJECTED, DrillStage.REFUSED}),
    DrillStage.INJECTED: frozenset({DrillStage.NOTICED, DrillStage.FAILED}),
    DrillStage.NOTICED: frozenset({DrillStage.HEALED, DrillStage.FAILED}),
    DrillStage.HEALED: frozenset({DrillStage.BACK, DrillStage.FAILED}),
    DrillStage.BACK: frozenset({DrillStage.DRAINED, DrillStage.FAILED}),
    DrillStage.DRAINED: frozenset(),
    DrillStage.REFUSED: frozenset(),
    DrillStage.FAILED: frozenset(),
}


ROLL: Mapping[RollStage, frozenset[RollStage]] = {
    RollStage.WAITING: frozenset({RollStage.STARTING, RollStage.DRAINING}),
    RollStage.STARTING: frozenset({RollStage.DRAINING, RollStage.REFUSED}),
    RollStage.DRAINING: frozenset({RollStage.TAKING}),
    RollStage.TAKING: frozenset({RollStage.PROVING, RollStage.RETURNING}),
    RollStage.PROVING: frozenset({RollStage.DONE, RollStage.RETURNING}),
    RollStage.RETURNING: frozenset({RollStage.RETURNED, RollStage.FAILED}),
    RollStage.DONE: frozenset(),
    RollStage.REFUSED: frozenset(),
    RollStage.RETURNED: frozenset(),
    RollStage.FAILED: frozenset(),
}

MOVE: Mapping[MoveStage, frozenset[MoveStage]] = {
    MoveStage.FILLING: frozenset({MoveStage.HOLDING, MoveStage.BACK}),
    MoveStage.HOLDING: frozenset({MoveStage.COPYING, MoveStage.BACK}),
    MoveStage.COPYING: frozenset({MoveStage.COUNTING, MoveStage.BACK}),
    MoveStage.COUNTING: frozenset({MoveStage.GONE, MoveStage.BACK, MoveStage.UNKNOWN}),
    MoveStage.GONE: frozenset(),
    MoveStage.BACK: frozenset(),
    MoveStage.UNKNOWN: frozenset(),
}

REPLIES: Mapping[RepliesState, frozenset[RepliesState]] = {
    RepliesState.NEW: frozenset({RepliesState.OPEN, RepliesState.FAILED}),
    RepliesState.OPEN: frozenset({RepliesState.WHOLE, RepliesState.FAILED}),
    RepliesState.WHOLE: frozenset(),
    RepliesState.FAILED: frozenset(),
}


def advance(table: Mapping[State, frozenset[State]], now: State, to: State) -> State:
    """Return ``to`` if ``table`` lets ``now`` become it (or is it already), else raise ValueError."""
    if to is now or to in table[now]:
        return to
    raise ValueError(f"{type(now).__name__}: {now} cannot become {to}")
