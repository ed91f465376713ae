"""Several nodes in one process: one bus, one lease, one life for all, and each its own hooks, handlers and services."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from ..bus.bus import Bus
from ..data.records import MemberRecord, Stats
from ..data.registry import Registry
from ..errors import HivemindError, NodeLoadError
from ..log_writer import speaker
from ..settings import Settings
from ..states import NodeState
from .base import BaseNode
from .inner import Inner
from .loading import load_fault, load_target


class SharedProcess(BaseNode):
    """The node that hived runs where ``NODES`` gives several nodes the same ``process``.

    It is registered under the process's name, and its members send in that name. A member that cannot be loaded is
    left out, one that cannot start is tried again; neither harms the others.
    """

    def __init__(self, name: str, targets: Mapping[str, str], settings: Settings) -> None:
        """``targets`` says for each member, by its name in the hive, where its code is."""
        super().__init__(name)
        self._hm = SharedInner(self, targets, settings)

    def metadata(self) -> Mapping[str, str]:
        """What each member adds, under its name."""
        found: dict[str, str] = {}
        for node in self._hm.hosted():
            try:
                found |= {f"{node.name}.{key}": value for key, value in node.metadata().items()}
            except Exception:
                node.logger.exception("metadata failed")
        return found


class SharedInner(Inner):
    """Binds, connects and tells of all members as one."""

    def __init__(self, node: SharedProcess, targets: Mapping[str, str], settings: Settings) -> None:
        super().__init__(node)
        self._targets, self._hive_settings = targets, settings
        self._members: list[BaseNode] = []
        self._broken: dict[str, str] = {}

    def hosted(self) -> list[BaseNode]:
        """The members that could be loaded."""
        return self._members

    def bind(self) -> None:
        """Load all members. Raises HivemindError when none of them can be."""
        for name, target in self._targets.items():
            speaker.set(name)
            try:
                node = load_member(name, target, self._hive_settings)
            except NodeLoadError as error:
                self._broken[name] = str(error)
                logging.getLogger(name).error("left out, the others run: %s", error)
            else:
                self._members.append(node)
        speaker.set("")
        if not self._members:
            raise HivemindError(f"none of {', '.join(self._targets)} can be loaded")
        self.node.bound_services = [each for node in self._members for each in node.bound_services]
        self.node.bound_subscriptions = [each for node in self._members for each in node.bound_subscriptions]
        self.node.bound_durables = [each for node in self._members for each in node.bound_durables]
        self.node.bound_responders = [each for node in self._members for each in node.bound_responders]

    def connected(self, bus: Bus, registry: Registry, settings: Settings) -> None:
        """Give all members what they run on."""
        super().connected(bus, registry, settings)
        for node in self._members:
            node._hm.connected(bus, registry, settings)

    def enter(self, state: NodeState) -> None:
        """Go to another state, and take the members along; each runs as soon as itself has started."""
        super().enter(state)
        for node in self._members if state is not NodeState.RUNNING else ():
            is_early = state is NodeState.FENCED and node._hm.state is not NodeState.RUNNING
            node._hm.enter(NodeState.STOPPING if is_early else state)

    def stats(self) -> Stats:
        """As of any node, and whose each service and subscription is."""
        members = [self._record(node) for node in self._members]
        members += [MemberRecord(name, "broken", reason) for name, reason in self._broken.items()]
        return replace(super().stats(), members=tuple(members))

    def _record(self, node: BaseNode) -> MemberRecord:
        inner = node._hm
        return MemberRecord(node.name, inner.state.value, inner.start_error, inner.waits_for)


def load_member(name: str, target: str, settings: Settings) -> BaseNode:
    """Load, build and bind one member. Raises NodeLoadError, whatever its code does."""
    try:
        node = load_target(target, settings).build()
        node._hm.rename(name)
        node._hm.bind()
    except NodeLoadError:
        raise
    except (Exception, SystemExit) as error:
        raise load_fault(target, error) from error
    return node
