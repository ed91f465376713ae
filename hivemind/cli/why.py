"""`hm why`: what is known of one node, in words, from everything that knows something of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import output
from .groups import FAILED, WELL

if TYPE_CHECKING:
    from ..data.records import Instance, SubscriptionRecord
    from ..settings import Settings
    from .declared import Declared

PATIENCE = 60  #: seconds that a handler may run before that is worth a word
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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One object: the sentences, and what they were made from.")
@click.argument("node")
@click.pass_context
def why(ctx: click.Context, node: str, *, as_json: bool) -> int:
    """Tell in words what is known of a node.

    Is it enabled, does it run, since when and where; if not, why; what failed last, and where its log is. NODE may
    be one copy of it: batsignal.1.

    Examples:
      hm why batsignal
      hm why batsignal.1
      hm why batsignal --json | jq -r '.sentences[]'
    """
    from ..errors import RedisError
    from .context import announce, context_hive, settings_or_last
    from .declared import declared
    from .reading import read_instances

    settings = settings_or_last(context_hive(ctx))
    announce(settings)
    instances: list[Instance] = []
    away: RedisError | None = None
    should: Declared | None = None
    try:
        instances = read_instances(settings)
        should = declared(settings)
    except RedisError as error:
        away = error
    found = _Known(settings, node, instances, should)
    found.check()
    if as_json:
        output.as_json(found.to_json() | {"error": None if away is None else str(away)})
    else:
        for line in found.lines():
            output.say(*line)
    if away is not None:
        output.error(str(away))
        return FAILED
    return WELL


class _Known:
    """What is known of the node or instance that was asked for."""

    def __init__(self, settings: Settings, asked: str, instances: list[Instance], should: Declared | None) -> None:
        from .declared import Declared
        from .log_view import log_files
        from .members import members_of, process_of

        name, dot, number = asked.rpartition(".")
        self.node = name if dot and number.isdigit() else asked
        shared = process_of(self.node, settings, instances)
        self.process = shared or self.node
        self.members = members_of(self.process, settings, instances)
        self.copy = f"{self.process}.{number}" if self.node != asked else ""
        self.settings, self.instances, self.should = settings, instances, should or Declared()
        self.is_live_known = should is not None
        self.logs = log_files(settings)

    def check(self) -> None:
        """Raise WrongName if nobody has ever heard of the node."""
        from .nodes import known_nodes, known_processes, no_such_node

        known = {*known_nodes(self.settings), *known_processes(self.settings), *(one.node for one in self.instances)}
        known |= {name.rpartition(".")[0] for name in self.logs} - {"hived"}
        if self.node not in known:
            raise no_such_node(self.node, known)

    def to_json(self) -> dict[str, Any]:
        """One object; stable names. ``logs`` are the files of the copies that have one."""
        mine = [one for one in self.instances if self._is_mine(one.instance)]
        return {
            "node": self.node,
            "process": self.process,
            "sentences": [text for text, _ in self.lines()],
            "instances": [one.to_json() for one in mine],
            "should_run": [name for name in self.should.instances if self._is_mine(name)],
            "stopped": [name for name in self.should.stopped if self._is_mine(name)],
            "logs": {name: str(path) for name, path in self.logs.items() if self._is_mine(name)},
        }

    def lines(self) -> list[tuple[str, str]]:
        """Sentences, each with its colour."""
        found = [(f"{self.node} {sentence}", style) for sentence, style in (*self._enabled(), *self._shares())]
        mine = [one for one in self.instances if self._is_mine(one.instance)]
        for one in mine:
            found += [*self._instance(one), *self._failing(one.instance), *self._log(one.instance)]
        names = {one.instance for one in mine}
        absent = [name for name in self.should.instances if self._is_mine(name) and name not in names]
        for name in absent:
            found.append((f"{name} should run, but does not{self._hived(name)}", "red"))
            found += self._log(name)
        found += [(f"{name} was stopped by `hm stop`", "yellow") for name in self.should.stopped if self._is_mine(name)]
        if not mine and not absent:
            if self.is_live_known:
                found.append((f"no copy of {self.process} runs", "yellow"))
            found += [line for name in self.logs if self._is_mine(name) for line in self._log(name)]
        return found

    def _is_mine(self, instance: str) -> bool:
        return instance == self.copy if self.copy else instance.rpartition(".")[0] == self.process

    def _shares(self) -> list[tuple[str, str]]:
        """With whom it shares a process, and so a life."""
        if self.node != self.process:
            others = ", ".join(name for name in self.members if name != self.node) or "nobody else"
            return [(f"shares the process {self.process} with {others}: they start and stop together", "")]
        return [(f"is the process that {', '.join(self.members)} share", "")] if self.members else []

    def _instance(self, one: Instance) -> list[tuple[str, str]]:
        """An instance; of one that nodes share, the members that were asked for."""
        from .members import common_of, part_of

        found = about_instance(common_of(one))
        for member in one.stats.members if not one.is_lost else ():
            if self.node in (member.name, self.process):
                part = part_of(one, member)
                waits = f": it waits for {member.waits_for}" if member.waits_for else ""
                told = member.fault or f"{member.name} is {member.state}{waits}"
                found.append((f"  {told}", "red" if member.fault else "yellow" if waits else ""))
                found += [*_services(part), *_subscriptions(part)]
        return found

    def _enabled(self) -> list[tuple[str, str]]:
        """Whether the node is meant to run, and what is wrong with its file."""
        from ..errors import NodeLoadError
        from ..supervisor.enabled import existing_imports
        from .declared import enabled

        hive = self.settings.hive
        if hive is None or self.node == "root" or (self.members and self.node == self.process):
            return []
        try:
            node = enabled(self.settings).get(self.node)
        except NodeLoadError as error:
            return [(f"may be enabled or not: {error}", "red")]
        tuning = self.settings.constants.NODES.get(self.node)
        copies = "" if tuning is None or tuning.replicas == 1 else f", with {tuning.replicas} copies"
        if node is not None:
            where = f"{Path('nodes') / '__init__.py'}:{node.line}"
            return [(f"is enabled by {where}{copies}", ""), *self._fault(hive, node.file)]
        if tuning is not None and tuning.target:
            where = self.settings.sources["NODES"]
            return [(f"is enabled by {where}, from {tuning.target}{copies}", ""), *self._fault(hive, "")]
        line = existing_imports(hive).get(self.node)
        if line is None:
            return [("is not a node of this hive's files", "")]
        return [(f"is not enabled: uncomment `{line}` in nodes/__init__.py", "yellow")]

    def _fault(self, hive: Path, file: str) -> list[tuple[str, str]]:
        from ..supervisor.check import unreadable_file

        if (known := self.should.problem(self.node)) is not None:
            return [(f"is quarantined: {known.text}", "red")]
        problem = unreadable_file(hive, self.node, file) if file else None
        if problem is None or self._is_left_out():
            return []  # or told with the process that runs without it
        if self._runs():
            return [(f"could not be loaded again as its file is now: {problem.text}; it goes on as it was", "yellow")]
        return [(f"is quarantined: {problem.text}", "red")]

    def _runs(self) -> bool:
        from .health import is_gone

        return any(self._is_mine(one.instance) and not one.is_lost and not is_gone(one) for one in self.instances)

    def _is_left_out(self) -> bool:
        """Whether the process runs without it."""
        from ..data.records import BROKEN

        mine = [one for one in self.instances if self._is_mine(one.instance)]
        return any(each.name == self.node and each.state == BROKEN for one in mine for each in one.stats.members)

    def _failing(self, name: str) -> list[tuple[str, str]]:
        """What hived knows of one that ends early again and again."""
        seen = self.should.programs.get(name)
        return [(f"  it is {seen.state}: {seen.detail}", "red")] if seen and seen.next_try is not None else []

    def _hived(self, name: str) -> str:
        """What hived says of a program that is not in the registry."""
        if not self.should.is_supervised:
            return ": hived does not run here, `hived start` starts it"
        seen = self.should.programs.get(name)
        return f": hived says {seen.state}{f' ({seen.detail})' if seen.detail else ''}" if seen else ""

    def _log(self, instance: str) -> list[tuple[str, str]]:
        from .log_view import LogView, last_errors

        path = self.logs.get(instance)
        if path is None:
            return []
        errors = last_errors(path)
        found = [(f"  log: {path}{'; its last errors:' if errors else '; no errors in it'}", "")]
        view = LogView()
        return found + [(f"    {line}", "red") for error in errors for line in view.plain(error).splitlines()[-8:]]


def about_instance(one: Instance) -> list[tuple[str, str]]:
    """What there is to say of one instance, each sentence with its colour."""
    from ..english import amount, duration
    from .health import is_gone

    about = one.about
    if one.is_lost:
        return [(f"{one.instance} is lost: it ended, or was cut off, without a goodbye more than a lease ago", "red")]
    since = f" for {duration(time.time() - about.started)}" if about.started else ""
    if is_gone(one):
        head = (f"{one.instance} has just ended without a goodbye: process {about.pid} is gone", "red")
    else:
        style = "green" if one.state == "running" else "yellow"
        head = (f"{one.instance} is {one.state}{since}: process {about.pid} on {about.host}", style)
    watched = [] if about.watched else [("  it is not watched: a debugger may hold it", "")]
    if one.stats.waits_for:
        watched.append((f"  it waits for {one.stats.waits_for}, and begins when that consumes", "yellow"))
    many, is_one = f"  {one.stats.outbox:,} of its messages", one.stats.outbox == 1
    waiting = f"{many} {'waits' if is_one else 'wait'} in its outbox: Redis, or a part of it, does not take them"
    if one.stats.unconfirmed:
        waiting = f"{many} {'is' if is_one else 'are'} taken, but not confirmed: {one.stats.unconfirmed}"
    outbox = [(waiting, "yellow")] if one.stats.overdue else []
    lost = f"  {amount(one.stats.log_lost, 'line')} of its log could not be written: is there room on its disk?"
    log = [(lost, "yellow")] if one.stats.log_lost else []
    return [head, *watched, *outbox, *log, *_services(one), *_subscriptions(one), *_responders(one)]


def _services(one: Instance) -> list[tuple[str, str]]:
    from ..english import amount

    found = []
    for service in one.stats.services:
        restarts = f", called again after {amount(service.restarts, 'failure')}" if service.restarts else ""
        error = f"; last error: {service.error}" if service.error else ""
        text = f"  service {service.name} is {service.state}: {service.sent:,} sent{restarts}{error}"
        found.append((text, "red" if service.state == "backoff" else "yellow" if error else ""))
    return found


def _subscriptions(one: Instance) -> list[tuple[str, str]]:
    from ..english import duration

    found = []
    for each in one.stats.subscriptions:
        odd = "".join(f", {count:,} {words}" for name, words in _ODD.items() if (count := getattr(each, name)))
        waiting = f", {each.inbox:,} waiting" if each.inbox else ""
        waiting += f", {each.parked:,} parked for another try" if each.parked else ""
        waiting += f", a handler has been running for {duration(each.longest)}" if each.longest >= PATIENCE else ""
        error = f"; last error: {each.error}" if each.error else ""
        filled = f" ({each.filled:,} filled in)" if each.filled else ""
        counts = f"{each.received:,} received{filled}, {each.handled:,} handled{odd}{_settled(each)}{waiting}"
        found.append((f"  subscription {each.pattern}: {counts}{error}", "yellow" if odd or error else ""))
    return found


def _settled(one: SubscriptionRecord) -> str:
    """What a durable subscription has settled with Redis."""
    again = f", {one.retried:,} tried again" if one.retried else ""
    return f", {one.acknowledged:,} acknowledged in group {one.group}{again}" if one.group else ""


def _responders(one: Instance) -> list[tuple[str, str]]:
    found = []
    for each in one.stats.responders:
        odd = "".join(
            f", {count:,} {name}" for name in ("failed", "invalid", "cancelled") if (count := getattr(each, name))
        )
        hand = f", {each.in_hand:,} in hand" if each.in_hand else ""
        error = f"; last error: {each.error}" if each.error else ""
        counts = f"{each.received:,} received, {each.handled:,} answered{odd}{hand}"
        found.append((f"  responder {each.name}: {counts}{error}", "yellow" if odd or error else ""))
    return found
