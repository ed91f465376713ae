"""What is known of a node as one paragraph in words. Pure: it gets all that is known as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..data.backlog import GroupBacklog
from ..data.records import Instance
from ..english import MOST, amount, duration, listed
from ..picture.declared import AWAY
from ..picture.failures import counted, fails_in
from ..picture.faults import MANY_DO
from ..picture.health import YOUNG
from ..states import NodeState
from ..supervisor.lives import HUNG, Lives
from ..supervisor.processes import ROOT
from ..supervisor.status import ProgramStatus
from .why_cause import Cause

LONG = 60.0  #: seconds that a message may be in somebody's hands before that is worth a word
FRESH = 3600.0  #: seconds for which an error in a log of who runs is worth a word
Sentence = tuple[str, str]  # a text without its full stop, and its colour
_STATES = {
    NodeState.RUNNING: "has been running for {since}",
    NodeState.STARTING: "has been starting for {since}, and does not consume yet",
    NodeState.STANDBY: "stands by: another process has its number",
    NodeState.WAITING: "has been up for {since}",
    NodeState.STOPPING: "is stopping",
    NodeState.FENCED: "is ending: a newer process has taken its place",
}


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the node, as each of those who know something of it sees it.

    ``instance`` is of the registry, ``program`` of hived where that runs here, ``lives`` (in unix seconds) of the
    keeper. ``is_gone``: its process has ended on this machine. ``cause`` is why it ended last, or its last error;
    ``stood`` where it was when it hung; ``stopped_by`` who stopped it, if so.
    """

    name: str
    instance: Instance | None = None
    program: ProgramStatus | None = None
    lives: Lives = field(default_factory=Lives)
    is_stopped: bool = False
    is_gone: bool = False
    cause: Cause | None = None
    stood: str = ""
    stopped_by: str = "by `hm stop`"


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known of one node, or of the copy that was asked for. ``now`` is in unix seconds.

    ``enabled`` says what enables it, or would; ``fault`` what is wrong with its file (with it ``is_kept``: it runs
    all the same) and ``way_out`` what a rollback would do for it, ``settings`` what is wrong with the hive's.
    ``shares`` says with whom it shares a process. ``waits`` are clauses on what its subscriptions wait for. ``redis``
    says why Redis cannot be asked, ``standing`` who of hived and supervisord stands still.
    """

    node: str
    now: float
    copies: tuple[Copy, ...] = ()
    enabled: Sentence = ("", "")
    shares: str = ""
    fault: str = ""
    is_kept: bool = False
    way_out: str = ""
    settings: str = ""
    groups: tuple[GroupBacklog, ...] = ()
    waits: tuple[str, ...] = ()
    redis: str = ""
    is_supervised: bool = True
    standing: str = ""


def paragraph(known: Known) -> str:
    """All of it, the state first."""
    return " ".join(text if text.endswith("?") else f"{text}." for text, _ in sentences(known))


def colour(known: Known) -> str:
    """The worst of its sentences' colours."""
    found = {style for _, style in sentences(known)}
    return next((style for style in ("red", "yellow", "green") if style in found), "")


def sentences(known: Known) -> list[Sentence]:
    """Its sentences, each without its full stop and with its colour."""
    copies = [sentence for copy in _told(known) for sentence in copy]
    rest = [*_node(known), *copies, *_groups(known)]
    is_well = bool(known.copies) and not any(style in ("red", "yellow") for _, style in rest)
    head = [(f"{known.node} runs well", "green")] if is_well and not known.redis else []
    nobody = [] if known.copies or known.fault else [(f"No copy of {known.node} runs", "yellow")]
    enabled = [known.enabled] if known.enabled[0] else []
    redis = [(f"More cannot be known: {known.redis}", "red")] if known.redis else []
    return [*head, *rest, *([] if known.redis else nobody), *enabled, *redis]


def _node(known: Known) -> Iterator[Sentence]:
    if known.standing:
        yield known.standing, "red"
    if known.settings:
        yield f"The settings are at fault, and those of before hold: {known.settings}", "red"
    is_old = any(copy.program is not None and copy.program.release for copy in known.copies)
    if known.fault and is_old:
        yield from _old_code(known)
    elif known.fault and known.is_kept:
        told = f"could not be loaded again as its file is now: {known.fault}; it goes on as it was"
        yield f"{known.node} {told}", "yellow"
    elif known.fault:
        again = "; it is tried again as soon as that file changes" if known.is_supervised else ""
        is_tried = any(copy.program and copy.name.startswith(f"{known.node}.") for copy in known.copies)
        how = "cannot be loaded" if is_tried else "is quarantined"
        out = f"; {known.way_out}" if known.way_out else ""
        yield f"{known.node} {how}: {known.fault}{again}{out}", "red"
    else:
        yield from _old_code(known)
    if known.shares:
        yield known.shares, ""


def _old_code(known: Known) -> Iterator[Sentence]:
    """Which copies have the code of before, because that of now was not well with one of them."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for copy in known.copies:
        if (seen := copy.program) is not None and seen.old_code:
            found.setdefault((seen.fault, seen.release, seen.old_code), []).append(copy.name)
    for (fault, release, verb), names in found.items():
        goes, which = verb if len(names) == 1 else MANY_DO[verb], f", {release}," if release else ""
        told = f"{listed(names)} {goes} with the code of before{which} because that of now is not well"
        yield f"{told}: {fault.rstrip('.')}; mend the file and `hived reload`", "yellow"


def _told(known: Known) -> Iterator[list[Sentence]]:
    """What is to be said of each copy; of many that are well, once of all."""
    each = [(copy, _copy(copy, known)) for copy in known.copies]
    well = [copy for copy, said in each if len(said) == 1 and not said[0][1] and copy.instance is not None]
    if len(well) > MOST:
        youngest = min(known.now - copy.instance.about.started for copy in well if copy.instance is not None)
        yield [(f"{listed([copy.name for copy in well])} have been running for {duration(youngest)} or more", "")]
    for copy, said in each:
        if len(well) <= MOST or copy not in well:
            yield said


def _copy(copy: Copy, known: Known) -> list[Sentence]:
    if copy.is_stopped:
        name = copy.name if known.node != ROOT else ROOT
        return [(f"{copy.name} was stopped {copy.stopped_by}; `hm start {name}` starts it", "yellow")]
    one = copy.instance
    if copy.lives.next is not None or (copy.program is not None and copy.program.next_try is not None):
        return [_failing(copy, known.now)]
    if known.redis and one is None and copy.program is None:
        return []  # it may well run, on its own or elsewhere
    if one is None or one.is_lost or copy.is_gone:
        return [_absent(copy, known), *_past(copy, known.now)]
    since = duration(known.now - one.about.started)
    state = _STATES.get(NodeState(one.state), "is {state}") if one.state in {*NodeState} else "is {state}"
    where = f" (process {one.about.pid} on {one.about.host})" if one.about.pid else ""
    style = "" if one.state == NodeState.RUNNING else "red" if one.state == NodeState.FENCED else "yellow"
    told = f"{copy.name} {state.format(since=since, state=one.state)}{where}{_holder(copy)}{_needs(one)}"
    return [(told, style), *_past(copy, known.now), *_instance(one), *_error(copy, known.now)]


def _failing(copy: Copy, now: float) -> Sentence:
    """A copy that ended early again and again, and waits for its next try."""
    lives = copy.lives
    times = f"it has ended {amount(lives.failures, 'time')} in a row" if lives.keeps_ending else "it has ended"
    last = f", {duration(now - lives.lives[-1].ended)} ago for the last time" if lives.lives else ""
    how = f": it {lives.lives[-1].text}" if lives.lives else ""
    due = lives.next if lives.next is not None else now
    return f"{copy.name} is failing: {times}{last}{how}{_why(copy)}; next try in {max(0.0, due - now):.0f} s", "red"


def _absent(copy: Copy, known: Known) -> Sentence:
    """A copy that should be there and is not, or not yet."""
    name, seen = copy.name, copy.program
    if copy.is_gone and copy.instance is not None:
        return f"{name} has just ended without a goodbye: process {copy.instance.about.pid} is gone", "red"
    if seen is not None and seen.state == "standby":
        return f"{name} stands by: {seen.detail}; it starts when that one ends", "yellow"
    if seen is not None and seen.pid is not None and seen.state in ("running", "starting", "failing"):
        up = f"{name} has been up for {duration(seen.uptime or 0.0)} (process {seen.pid})"
        if known.redis:
            return f"{up}, and waits for Redis", "red"
        is_young = (seen.uptime or 0.0) < YOUNG
        return f"{up}, and is not in the registry{' yet' if is_young else ''}", "yellow" if is_young else "red"
    if copy.instance is not None:
        return f"{name} is lost: it ended, or was cut off, without a goodbye more than a lease ago", "red"
    if seen is not None and seen.state == AWAY:
        return f"{name} should run, but does not: {seen.detail}", "red"
    if not known.is_supervised:
        return f"{name} should run, but does not: hived does not run here, `hived start` starts it", "red"
    said = "" if seen is None else f": hived says {seen.state}{f' ({seen.detail})' if seen.detail else ''}"
    return f"{name} should run, but does not{said}", "red"


def _needs(one: Instance) -> str:
    waits = one.stats.waits_for
    return f": it waits for {waits}, and begins when that consumes" if waits else ""


def _holder(copy: Copy) -> str:
    """Of who stands by, for whom."""
    seen = copy.program
    return f"; its program stands by: {seen.detail}" if seen is not None and seen.state == "standby" else ""


def _past(copy: Copy, now: float) -> list[Sentence]:
    """How often it was started again, and how its last life ended."""
    restarts = copy.program.revivals if copy.program is not None else 0
    times = f"It was started again {amount(restarts, 'time')}" if restarts else ""
    if not copy.lives.lives:
        return [(times, "")] if times else []
    last = copy.lives.lives[-1]
    ago = f"{duration(now - last.ended)} ago it {last.text}{_why(copy)}"
    return [(f"{times}; {ago}" if times else f"{ago[0].upper()}{ago[1:]}", "")]


def _why(copy: Copy) -> str:
    """What its last end came of, where that is known."""
    last = copy.lives.lives[-1] if copy.lives.lives else None
    if last is None:
        return ""
    if last.words == HUNG:
        return f", killed because it hung{f' at {copy.stood}' if copy.stood else ''}"
    if last.signal == "SIGKILL":
        return ""  # whatever it logged before, that was not why
    cause = copy.cause
    if cause is not None and (not cause.at or last.blamed_since <= cause.at <= last.ended + 1.0):
        said = cause.text
    else:
        said = last.words
    how = "; the last error that it told:" if last.is_unknown else ", of"
    return f"{how} {said}" if said else ""


def _error(copy: Copy, now: float) -> list[Sentence]:
    """The last error in the log of a copy that runs, unless its last life ended of it."""
    cause, one = copy.cause, copy.instance
    if cause is None or one is None or not max(one.about.started, now - FRESH) <= cause.at:
        return []
    return [(f"The last error in its log, {duration(now - cause.at)} ago: {cause.text}", "yellow")]


def _instance(one: Instance) -> Iterator[Sentence]:
    stats = one.stats
    for member in stats.members:
        if member.waits_for:
            yield f"{member.name} waits for {member.waits_for}, and begins when that consumes", "yellow"
    if not one.about.watched:
        yield "It is not watched: a debugger may hold it", ""
    for clause in fails_in(one):
        yield f"Its {clause}", "red"
    for member in stats.members:
        if member.fault:
            yield member.fault, "red"
    yield from _outbox(one)
    if odd := counted(one):
        yield f"Since it began: {', '.join(odd)}", "yellow"
    if stats.log_lost:
        yield f"{amount(stats.log_lost, 'line')} of its log could not be written: is there room on its disk?", "yellow"
    if stats.outage:
        yield f"Its last trouble with Redis: {stats.outage.rstrip('.')}", ""


def _outbox(one: Instance) -> Iterator[Sentence]:
    """What Redis has not taken, or has not confirmed."""
    stats = one.stats
    if stats.overdue:
        many, is_one = f"{stats.outbox:,} of its messages", stats.outbox == 1
        if stats.unconfirmed:
            yield f"{many} {'is' if is_one else 'are'} taken, but not confirmed: {stats.unconfirmed}", "yellow"
        else:
            waiting = f"{many} {'waits' if is_one else 'wait'} in its outbox"
            yield f"{waiting}: Redis, or a part of it, does not take them", "yellow"


def _groups(known: Known) -> Iterator[Sentence]:
    """How far its groups are, and what they wait for."""
    behind = sorted((one for one in known.groups if one.lag), key=lambda one: one.badness, reverse=True)
    for one in behind[:MOST]:
        count = f"{one.lag:,}{'+' if one.is_more else ''} {'message' if one.lag == 1 else 'messages'}"
        oldest = "" if one.unread is None else f", the oldest from {duration(one.unread)} ago"
        nobody = "" if one.readers else "; nobody reads in it now"
        told = f"Its group {one.group} is {count} behind on {one.topic}{oldest}{_in_hand(one)}{nobody}"
        yield told, "yellow" if (one.unread or 0.0) > LONG or not one.readers else ""
    for one in known.groups:
        if not one.lag and (one.held or 0.0) > LONG:
            yield f"Its group {one.group} has all of {one.topic}{_in_hand(one)}", "yellow"
    if len(behind) > MOST:
        yield f"It is behind on {len(behind) - MOST} more (`hm lag`)", ""
    for clause in known.waits:
        yield clause, ""


def _in_hand(one: GroupBacklog) -> str:
    if not one.pending:
        return ""
    since = f", the oldest for {duration(one.held)}" if one.held is not None else ""
    return f"; it has {one.pending:,} in hand{since}"


def lives_of(copies: Sequence[Copy]) -> dict[str, object]:
    """What the keepers of these copies know, for ``--json``: by copy, with times in unix seconds."""
    return {
        copy.name: {
            "failures": copy.lives.failures,
            "next": copy.lives.next,
            "restarts": copy.program.revivals if copy.program is not None else 0,
            "last": None if not copy.lives.lives else _last(copy),
        }
        for copy in copies
    }


def _last(copy: Copy) -> dict[str, object]:
    last, cause = copy.lives.lives[-1], copy.cause
    place = copy.stood or (cause.place if cause is not None else "")
    how = {"began": last.began, "ended": last.ended, "status": last.status, "signal": last.signal}
    return {**how, "words": last.words, "place": place}
