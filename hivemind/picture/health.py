"""Is the hive well? Judged from what should run and from what the registry says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..data.records import Instance
from ..english import MOST, amount, are, duration, listed
from ..patterns import RESOLVED
from ..states import NodeState
from ..supervisor.leftovers import long_lost
from ..supervisor.processes import ROOT, ROOT_INSTANCE
from ..supervisor.status import ProgramStatus
from ..topics import is_pattern
from . import remedies
from .declared import Declared
from .durable import DurableView
from .failures import Told, counted, failing, fails_in, some, went_wrong
from .faults import old_code, quarantined, settings, short
from .state import State

FEW = 20  #: clauses of a sentence; more are counted
LONGEST = 500  #: characters of a clause
YOUNG = 15.0  #: seconds for which a program that hived has started is on its way, until it registers
MANY = 10  #: distinct patterns from which on they are worth a word, where Redis matches them
_UNGUARDED = "who ends is not started again; `hived start` adopts all that run"
_TOLD = (NodeState.RUNNING, NodeState.FENCED, NodeState.WAITING)  # states of which nothing more is to be said


class Level(StrEnum):
    """How well a hive is."""

    WELL = "well"  # all that should run does
    NOTE = "note"  # it does, or is on the way, but something is worth a look
    TROUBLE = "trouble"  # something that should run does not
    UNKNOWN = "unknown"  # Redis does not answer, or has not yet


@dataclass(frozen=True, slots=True)
class Health:
    """``troubles`` make a hive unwell; ``notes`` are worth a look; who is ``starting`` has yet to register, or waits
    for what it needs. ``hosts`` says how many instances run on each, where these are several. ``unseen`` says why
    nothing of that is known. ``todo`` says of troubles and notes what to do, where they do not say so themselves.
    """

    hive: str
    running: int
    nodes: int
    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    unseen: str = ""
    todo: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether all that should run does."""
        return not self.troubles and not self.starting and not self.unseen

    @property
    def level(self) -> Level:
        """As one word, and one colour."""
        if self.unseen:
            return Level.UNKNOWN
        if self.troubles:
            return Level.TROUBLE
        return Level.NOTE if self.notes or self.starting or not self.running else Level.WELL

    def and_of(self, durable: DurableView) -> Health:
        """With what is to be said of durable delivery."""
        troubles, notes = durable.state.troubles(), durable.notes()
        todo = {**self.todo, **durable.todo()}
        return replace(self, troubles=(*self.troubles, *troubles), notes=(*self.notes, *notes), todo=todo)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        if self.unseen:
            return f"{self.hive} cannot be seen: {self.unseen}"
        if self.troubles:
            return f"{self.hive} is not well: {_clauses((*self.troubles, *self.notes))}"
        if self.starting:
            return _clauses(
                (f"{self.hive} is starting: {listed(self.starting)} {are(self.starting)} on the way", *self.notes)
            )
        if not self.running:
            return _clauses((f"{self.hive} is empty: no node has joined", *self.notes))
        what, among = (self.running, "instance"), (self.nodes, "node")
        if (
            self.nodes > self.running
        ):  # some share a process: "2 instances of 3 nodes" would read as if one were missing
            runs = f"{amount(*among)} {_runs(self.nodes)} in {amount(*what)}"
        else:
            runs = f"{amount(*what)} of {amount(*among)} {_runs(self.running)}"
        if self.hosts:
            runs += f" on {listed(self.hosts)}"
        return _clauses((f"{self.hive} is well: {runs}", *self.notes))


def _clauses(texts: Sequence[str]) -> str:
    """The first of them as one sentence on one line: where a thousand nodes fail alike, nobody reads all of it; and
    what a node says of itself may have lines that pass for ours.
    """
    told = (*texts[:FEW], f"and {len(texts) - FEW:,} more") if len(texts) > FEW else texts
    return "; ".join(_brief(" ".join(text.split())) for text in told)


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def judge(hive: str, instances: Sequence[Instance], state: State) -> Health:
    """Judge a hive by its registry and what should run there. Where Redis takes no writes nobody is called lost."""
    should, refusal = state.should, state.refusal
    alive = [one for one in instances if not one.is_lost and not is_gone(one)]
    nodes = [one for one in alive if one.node != ROOT]
    ages = {} if refusal else state.lost_for
    far = {name for names in should.away.values() for name in names}
    left = long_lost(ages, {*should.instances, *should.stopped, *far, ROOT_INSTANCE})
    lost = _lost([one for one in instances if one.instance not in left], should)
    refused = {f"Redis refuses writes: {refusal}; no lease can be renewed": remedies.REFUSED}
    standing = {should.standing: ""} if should.standing else {}
    if should.unguarded:
        standing[f"hived has ended without being asked to: {_UNGUARDED}"] = ""
    troubles: Told = {
        **standing,
        **_missing(instances, should),
        **dict.fromkeys(_homeless(instances, should), ""),
        **_shards(state.dead),
        **(refused if refusal else lost),
        **_failing(alive),
        **_unconfirmed(alive),
        **dict.fromkeys(settings(should), ""),
        **quarantined(should),
        **dict.fromkeys(old_code(should), ""),
    }
    notes: Told = {
        **_notes(alive, should),
        **dict.fromkeys(_unattended(instances, should), ""),
        **_left(left, ages),
        **dict.fromkeys(_advice(instances, state.patterns), ""),
    }
    return Health(
        hive,
        len(nodes),
        len({name for one in nodes for name in one.nodes}),
        tuple(troubles),
        tuple(notes),
        (*_starting(instances, should), *(who for one in alive for who, _ in one.waits)),
        _hosts(nodes),
        todo={clause: todo for clause, todo in (troubles | notes).items() if todo},
    )


def _shards(dead: Sequence[str]) -> Told:
    if not dead:
        return {}
    return {f"{listed(dead)} of the Cluster {_does(dead)} not answer: what goes there waits": remedies.SHARDS}


def _hosts(nodes: Sequence[Instance]) -> tuple[str, ...]:
    """How many instances run on each host, if there are several."""
    counts = Counter(one.about.host for one in nodes)
    return tuple(f"{host} ({count})" for host, count in sorted(counts.items())) if len(counts) > 1 else ()


def distinct_patterns(instances: Sequence[Instance]) -> set[str]:
    """The patterns with wildcards that somebody who lives subscribes to."""
    alive = [one for one in instances if not one.is_lost]
    return {each.pattern for one in alive for each in one.stats.subscriptions if is_pattern(each.pattern)}


def _advice(instances: Sequence[Instance], patterns: str) -> list[str]:
    """Redis walks all distinct patterns with every message: say so where there are many."""
    count = len(distinct_patterns(instances))
    if count < MANY or patterns == RESOLVED:
        return []
    cost = f"Redis compares every message with {count:,} distinct patterns"
    remedy = 'with PATTERNS = "resolved" it compares none: set that, stop the whole hive, then start it'
    return [f"{cost}; {remedy} (docs/scale.md)"]


def _left(left: Sequence[str], ages: Mapping[str, float]) -> Told:
    """A remark on those whom nobody waits for any more."""
    if not left:
        return {}
    since = duration(min(ages[name] for name in left))
    return {f"lost a while ago ({since}) and not declared here: {listed(left)}": remedies.ASIDE}


def problems(instance: Instance) -> list[str]:
    """What is wrong with one instance, in a few words each."""
    if instance.is_lost:
        return ["no beat within its lease"]
    if is_gone(instance):
        return ["its process has ended without a goodbye"]
    found = [
        f"waits for {what}" if who == instance.instance else f"{who} waits for {what}" for who, what in instance.waits
    ]
    found += [short(one.fault) for one in instance.stats.members if one.fault]
    found += fails_in(instance)
    found += counted(instance)
    return found + ([f"{instance.stats.outbox:,} in its outbox"] if instance.stats.overdue else [])


def is_gone(instance: Instance) -> bool:
    """Whether its process ran on this machine and has ended, although its lease still lives."""
    process = instance.about.process
    return not instance.is_lost and process is not None and process.has_ended()


def _missing(instances: Sequence[Instance], should: Declared) -> Told:
    known = {one.instance for one in instances} | {*_starting(instances, should)}
    absent = [name for name in should.instances if name not in known]
    told = {
        f"{name} is {seen.state}: {seen.detail}": remedies.MISSING.format(name=name)
        for name in absent
        if (seen := _unwell(name, should))
    }
    plain = [name for name in absent if _unwell(name, should) is None]
    if plain:
        hint = "" if should.is_supervised else " (hived does not run here: `hived start`)"
        clause = f"{listed(plain)} should run, but {'does' if len(plain) == 1 else 'do'} not{hint}"
        told[clause] = remedies.MISSING.format(name=plain[0]) if should.is_supervised else ""
    return told


def _homeless(instances: Sequence[Instance], should: Declared) -> list[str]:
    """Who does not run because nobody looks after its home."""
    known = {one.instance for one in instances}
    absent = {host: [name for name in names if name not in known] for host, names in should.away.items()}
    return [
        f"no hived answers on {host}, the home of {listed(names)}: `hived start` there"
        for host, names in absent.items()
        if names
    ]


def _unattended(instances: Sequence[Instance], should: Declared) -> list[str]:
    """The other hosts without a hived where all runs all the same."""
    known = {one.instance for one in instances}
    well = [host for host, names in should.away.items() if known.issuperset(names)]
    return [f"no hived answers on {listed(well)}: what ends there is not started again"] if well else []


def _starting(instances: Sequence[Instance], should: Declared) -> list[str]:
    """Who was started a moment ago, and has not registered yet."""
    known = {one.instance for one in instances}
    programs = [should.programs[name] for name in should.instances if name not in known and name in should.programs]
    return [one.name for one in programs if one.state in ("starting", "running") and 0 <= (one.uptime or 0.0) < YOUNG]


def _unwell(name: str, should: Declared) -> ProgramStatus | None:
    seen = should.programs.get(name)
    return seen if seen is not None and seen.detail and seen.state not in ("running", "starting") else None


def _lost(instances: Sequence[Instance], should: Declared) -> Told:
    found = {one.instance: (one, seen) for one in instances if (seen := _ending(one.instance, should))}
    ending = {name: seen for name, (one, seen) in found.items() if _is_told(one, seen)}
    told = some(
        {f"{name} is {seen.state}: {seen.detail}": remedies.MISSING.format(name=name) for name, seen in ending.items()},
        "more fail",
    )
    lost = [one.instance for one in instances if one.is_lost and one.instance not in ending]
    gone = [one.instance for one in instances if is_gone(one) and one.instance not in ending]
    if lost:
        told[f"{listed(lost)} {are(lost)} lost: no beat within the lease"] = remedies.LOST.format(name=lost[0])
    if gone:
        told[f"{listed(gone)} ended without a goodbye"] = remedies.LOST.format(name=gone[0])
    return told


def _is_told(one: Instance, seen: ProgramStatus) -> bool:
    """Whether what hived says of a program that ends is news beside its instance: who lives for a moment may fail."""
    return one.is_lost or seen.state == "failing"


def _failing(alive: Sequence[Instance]) -> Told:
    fenced = [one.instance for one in alive if one.state == NodeState.FENCED]
    found = {f"{listed(fenced)} {are(fenced)} replaced by a newer process": remedies.FENCED} if fenced else {}
    broken = {
        f"in {one.instance} {short(each.fault)}": remedies.BROKEN
        for one in alive
        for each in one.stats.members
        if each.fault
    }
    return {**found, **some({**broken, **failing(alive)}, "more fail")}


def _ending(name: str, should: Declared) -> ProgramStatus | None:
    """What hived says of a program that ends as soon as it has begun, or has ended for good."""
    seen = _unwell(name, should)
    return seen if seen is not None and seen.state in ("failing", "exited") else None


def _is_here(one: Instance) -> bool:
    return one.about.process is not None and one.about.process.is_alive()


def _unconfirmed(alive: Sequence[Instance]) -> Told:
    found = [
        f"{one.instance}: {amount(one.stats.outbox, 'message')} taken by Redis, but not confirmed: {why}"
        for one in alive
        if one.stats.overdue and (why := one.stats.unconfirmed)
    ]
    return dict.fromkeys(found[:MOST], remedies.UNCONFIRMED)


def _notes(alive: Sequence[Instance], should: Declared) -> Told:
    standby = [f"{one.name} stands by: {one.detail}" for one in should.programs.values() if one.state == "standby"]
    found = dict.fromkeys(standby[:MOST], remedies.STANDBY)
    if should.stood:
        found[should.stood] = ""
    if should.undone:
        found[should.undone] = ""
    by_others = not should.is_supervised and not should.unguarded
    if by_others and any(one.instance in should.instances and _is_here(one) for one in alive):
        found[f"no hived runs here: {_UNGUARDED}"] = ""
    for by, names in should.stopped_by().items():
        found[f"{listed(names)} {are(names)} stopped {by}"] = remedies.STOPPED.format(name=names[0])
    if odd := [f"{one.instance} ({one.state})" for one in alive if one.state not in _TOLD]:
        found[f"on the way: {listed(odd)}"] = ""
    waits = [(f"{who} waits for {what}", one.instance) for one in alive for who, what in one.waits]
    found |= {clause: remedies.WAITS.format(name=name) for clause, name in waits[:MOST]}
    found |= went_wrong(alive)
    waiting = [one for one in alive if one.stats.overdue and not one.stats.unconfirmed]
    if waiting:
        total = sum(one.stats.outbox for one in waiting)
        wait = "waits" if total == 1 else "wait"
        clause = f"{amount(total, 'message')} {wait} in the outbox of {listed([one.instance for one in waiting])}"
        found[clause] = remedies.OUTBOX
    return found


def _runs(count: int) -> str:
    return "runs" if count == 1 else "run"


def _does(names: Sequence[str]) -> str:
    return "does" if len(names) == 1 else "do"
