"""Looks at everything that knows something of one node: the registry, hived, the keepers' files, logs and settings."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data.durability import Durability
from ..data.records import BROKEN, Instance
from ..errors import NodeLoadError
from ..picture.declared import Declared, declared, enabled
from ..picture.health import is_gone
from ..settings import Settings
from ..supervisor.check import unreadable_file
from ..supervisor.enabled import existing_imports
from ..supervisor.in_vain import fault_of_hive
from ..supervisor.lives import HUNG, Lives, read_lives
from ..supervisor.log_tail import log_files
from ..supervisor.paths import HivePaths
from ..supervisor.processes import ROOT
from ..supervisor.releases import way_out
from ..supervisor.wishes import who_stopped
from .members import common_of, members_of, part_of, process_of
from .nodes import known_nodes, known_processes, no_such_node
from .why_cause import Cause, last_crash, last_error, last_stacks
from .why_words import Copy, Known, Sentence


class Look:
    """A look at the node or copy that was ``asked`` for; ``redis`` says why the registry cannot be read, if so.

    Raises WrongName if nobody has ever heard of it.
    """

    def __init__(
        self, settings: Settings, asked: str, instances: Sequence[Instance], durable: Durability, redis: str = ""
    ) -> None:
        name, dot, number = asked.rpartition(".")
        self.node = name if dot and number.isdigit() else asked
        self.settings, self.redis, self._durable = settings, redis, durable
        self.process = process_of(self.node, settings, instances) or self.node
        self.members = members_of(self.process, settings, instances)
        self.copy = f"{self.process}.{number}" if self.node != asked else ""
        self.should: Declared = declared(settings, ask_redis=not redis)
        self.logs = log_files(settings)
        self._check(instances)
        self.instances = [one for one in instances if self.is_mine(one.instance)]

    def is_mine(self, instance: str) -> bool:
        """Whether that is a copy that was asked for."""
        name = f"{ROOT}.0" if instance == ROOT else instance
        return name == self.copy if self.copy else name.rpartition(".")[0] == self.process

    def known(self) -> Known:
        """All of it."""
        fault, is_kept = self._fault()
        reads = {each.group for one in self._parts() for each in one.stats.subscriptions if each.group}
        waits = {one for one in self._durable.waiting if one.node == self.node or one.group in reads}
        reads |= {one.group for one in waits}
        groups = [
            one for topic in self._durable.topics for one in topic.groups if one.group in reads or self._owns(one.group)
        ]
        return Known(
            self.node,
            time.time(),
            tuple(self._copy(name) for name in self._names()),
            self._enabled(),
            self._shares(),
            fault,
            is_kept,
            way_out(HivePaths.of(self.settings)) if fault and not is_kept and os.name != "nt" else "",
            fault_of_hive(self.settings.hive, os.environ),
            tuple(one for one in groups if not one.is_retired),
            tuple(sorted(f"Its group {one.group} waits for a kept topic that matches {one.pattern}" for one in waits)),
            self.redis,
            self.should.is_supervised,
            self.should.standing,
        )

    def _check(self, instances: Sequence[Instance]) -> None:
        known = {*known_nodes(self.settings), *known_processes(self.settings), *(one.node for one in instances)}
        known |= {name.rpartition(".")[0] for name in self.logs} - {"hived"}
        if self.node not in known and not (self.node == ROOT and self.settings.hive is not None):
            raise no_such_node(self.node, known, self.settings)

    def _owns(self, group: str) -> bool:
        """Whether a group is called as a subscription's is that has no other name."""
        return group == self.node or group.startswith(f"{self.node}.")

    def _names(self) -> list[str]:
        """The copies of which there is something to say."""
        names = {one.instance for one in self.instances}
        away = [name for names in self.should.away.values() for name in names]
        names |= {name for name in (*self.should.instances, *self.should.stopped, *away) if self.is_mine(name)}
        if self.node == ROOT and self.settings.hive is not None and not self.copy:
            names = {name for name in names if name != ROOT} | {f"{ROOT}.0"}
        return sorted(names, key=lambda name: int(name.rpartition(".")[2]))

    def _parts(self) -> list[Instance]:
        """The instances; of those that nodes share, what the node that was asked for has of them."""
        return [self._part(one) for one in self.instances if not one.is_lost]

    def _part(self, one: Instance) -> Instance:
        mine = [each for each in one.stats.members if each.name == self.node]
        if not mine:
            return one
        part, common = part_of(one, mine[0]).stats, common_of(one).stats
        return replace(one, stats=replace(part, state=one.stats.state, services=(*common.services, *part.services)))

    def _copy(self, name: str) -> Copy:
        one = next((each for each in self.instances if each.instance == name), None)
        program = self._program(name)
        seen, lives = self.should.programs.get(program), self._lives(program)
        return Copy(
            name,
            None if one is None else self._part(one),
            seen,
            lives,
            program in self.should.stopped,
            one is not None and is_gone(one),
            self._cause(name, one, lives),
            last_stacks(self.logs.get(name), self._hive) if lives.lives and lives.lives[-1].words == HUNG else "",
            who_stopped(self.should.wishes, program),
        )

    def _program(self, instance: str) -> str:
        """What hived calls the program that is that copy: of the root each host has one, without a number."""
        return ROOT if self.node == ROOT else instance

    @property
    def _hive(self) -> Path:
        return self.settings.hive or Path.cwd()

    def _lives(self, name: str) -> Lives:
        is_here = self.settings.hive is not None and os.name != "nt"
        return read_lives(HivePaths.of(self.settings), name) if is_here else Lives()

    def _cause(self, name: str, one: Instance | None, lives: Lives) -> Cause | None:
        """Why a copy ended, or its last error."""
        last = lives.lives[-1] if lives.lives else None
        if last is not None and last.signal and last.words != HUNG:
            printed = HivePaths.of(self.settings).program_log(self._program(name))
            if (found := last_crash((self.logs.get(name), printed), self._hive)) is not None:
                return found
        since = last.began if last is not None else one.about.started if one is not None else 0.0
        return last_error(self.logs.get(name), self._hive, since)

    def _enabled(self) -> Sentence:
        """What enables the node, or would."""
        hive = self.settings.hive
        if hive is None or self.node == ROOT or (self.members and self.node == self.process):
            return "", ""
        try:
            node = enabled(self.settings).get(self.node)
        except NodeLoadError as error:
            return f"{self.node} may be enabled or not: {error}", "red"
        tuning = self.settings.constants.NODES.get(self.node)
        copies = "" if tuning is None or tuning.replicas == 1 else f", with {tuning.replicas} copies"
        if node is not None:
            return f"{self.node} is enabled by {Path('nodes') / '__init__.py'}:{node.line}{copies}", ""
        if tuning is not None and tuning.target:
            return f"{self.node} is enabled by {self.settings.sources['NODES']}, from {tuning.target}{copies}", ""
        line = existing_imports(hive).get(self.node)
        if line is None:
            return f"{self.node} is not a node of this hive's files", ""
        return f"{self.node} is not enabled: uncomment `{line}` in nodes/__init__.py, then `hived reload`", "yellow"

    def _fault(self) -> tuple[str, bool]:
        """What is wrong with the node's file, and whether it runs all the same."""
        if (known := self.should.problem(self.node)) is not None:
            return known.text, False
        if self.settings.hive is None:
            return "", False
        try:
            node = enabled(self.settings).get(self.node)
        except NodeLoadError:
            return "", False
        problem = unreadable_file(self.settings.hive, self.node, node.file) if node is not None and node.file else None
        if problem is None or self._is_left_out():
            return "", False  # or told with the process that runs without it
        return problem.text, any(not one.is_lost and not is_gone(one) for one in self.instances)

    def _is_left_out(self) -> bool:
        """Whether the process runs without it."""
        return any(
            each.name == self.node and each.state == BROKEN for one in self.instances for each in one.stats.members
        )

    def _shares(self) -> str:
        """With whom it shares a process, and so a life."""
        if self.node != self.process:
            others = ", ".join(name for name in self.members if name != self.node) or "nobody else"
            return f"{self.node} shares the process {self.process} with {others}: they start and stop together"
        return f"{self.node} is the process that {', '.join(self.members)} share" if self.members else ""
