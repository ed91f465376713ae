"""What `hived status` shows: each program, from supervisord, pidfiles, the plan and, if it answers, the registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..bus.commands import Commands
from ..bus.endpoint import Endpoint
from ..bus.functions import Functions
from ..data.records import BROKEN, Instance, of_process
from ..data.registry import Registry
from ..english import amount, listed
from ..errors import HivemindError, SupervisorError
from ..identity import PidFile, ProcessIdentity
from ..node.loaded import RELEASE, has_loaded
from ..node.relay import Relay
from ..process_table import age
from ..states import NodeState
from .check import unreadable_file
from .client import ProgramInfo, ProgramState
from .cut_off import lately as left_undone
from .engine import QUICK, Engine, host_here, redis_url
from .files import read_json, time_of
from .halt import pidfiles, survivors
from .last_words import last_words
from .lives import Lives, read_lives
from .own_redis import why_away
from .plan import load
from .processes import REDIS
from .standing import in_words, stopped
from .stood import SUPERVISORD, lately
from .strays import strays, with_below
from .topology import Problem, Program
from .wishes import who_stopped, wishes

REGISTRY_TIMEOUT = 1.5  # seconds; status is shown without the registry when Redis is away


WORDS: Mapping[ProgramState, str] = {
    ProgramState.STOPPED: "stopped",
    ProgramState.STARTING: "starting",
    ProgramState.RUNNING: "running",
    ProgramState.BACKOFF: "failing",
    ProgramState.STOPPING: "stopping",
    ProgramState.EXITED: "exited",
    ProgramState.FATAL: "failing",
    ProgramState.UNKNOWN: "unknown",
}


FAILING = WORDS[ProgramState.FATAL]


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One program as people see it. ``pid`` is the node's own, also when a keeper stands in for it."""

    name: str
    state: str
    pid: int | None = None
    uptime: float | None = None  # seconds
    revivals: int = 0
    adopted: bool = False  # outlived a supervisord
    detail: str = ""
    failures: int = 0  # how many of its lives, the last ones, ended early
    next_try: float | None = None  # seconds until the next begins, if it waits
    fault: str = ""  # what is wrong with its nodes' files, while it has the code of before
    release: str = ""  # with which code its next life begins; "": the files
    last_end: str = ""  # how the last of its lives that is over ended, with its last words
    ended: float | None = None  # when that was, in unix seconds

    @property
    def old_code(self) -> str:
        """The verb for the code of before, which it has because of its ``fault``, or will have; "" if it has not."""
        if not self.fault or (self.state == FAILING and not self.release):
            return ""
        return "begins next" if self.state == FAILING else "goes on"


@dataclass(frozen=True, slots=True)
class HiveStatus:
    """One hive on this machine. ``redis``: whether it answered; None where hived does not run, or nobody asked."""

    hive: str
    name: str
    running: bool
    supervisord: int | None
    page: str | None
    redis: bool | None
    programs: tuple[ProgramStatus, ...] = ()
    problems: tuple[Problem, ...] = ()
    host: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)  # which copies are at home on which other host
    silent: str = ""  # why supervisord, which lives, does not say how its programs are
    stood: str = ""  # which of hived and supervisord stood still lately, and was killed for it
    undone: str = ""  # what a roll that was cut off lately has left undone
    standing: str = ""  # which of them stands still now, stopped by a signal
    redis_away: str = ""  # why Redis did not answer
    strays: tuple[int, ...] = ()  # pids of what runs of it though no file names it: ``var`` was removed
    unguarded: tuple[str, ...] = ()  # which programs run on although hived and supervisord have ended

    @property
    def is_well(self) -> bool:
        """Whether all that should run does, and Redis answers."""
        is_up = all(each.state in ("running", "stopped") for each in self.programs)
        return self.running and self.redis is not False and not self.problems and not self.standing and is_up

    @property
    def absent(self) -> str:
        """What to say of a hive whose hived does not run, and what to do."""
        if not self.unguarded:
            return f"hive {self.name} does not run here: `hived start` starts it"
        do = "does" if len(self.unguarded) == 1 else "do"
        told = f"hived does not run here, but {listed(self.unguarded)} still {do}"
        return f"{told}: who ends is not started again; `hived start` adopts all that run, `hived stop` ends them"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``; stable names."""
        return {**asdict(self), "well": self.is_well}


def status(engine: Engine, *, ask_redis: bool = True) -> HiveStatus:
    """Look at everything; never raises because something is away. ``ask_redis``: unless one knows that it is away."""
    identity = engine.supervisord()
    standing = {} if identity is None else stopped(engine)
    infos, silent = _infos(engine, identity) if SUPERVISORD not in standing else ({}, "supervisord stands still")
    plan = load(engine.paths)
    is_asked = identity is not None and ask_redis
    instances = asyncio.run(registered(engine)) if is_asked else None
    known = read_json(engine.paths.known) or {}
    files = pidfiles(engine, plan)
    looked = _Look(infos, instances or (), known.get("revivals", {}), files, silent)
    programs = [looked.at(engine, program) for program in plan.programs]
    asked = wishes(engine.paths.wishes)
    programs += [ProgramStatus(each.name, "stopped", detail=who_stopped(asked, each.name)) for each in plan.stopped]
    programs += [ProgramStatus(each.node, "quarantined", detail=each.text) for each in plan.problems]
    away = (why_away(engine.settings) or "Redis does not answer") if is_asked and instances is None else ""
    if away:
        programs = [replace(one, detail="does not answer") if _is_mute(one) else one for one in programs]
    programs += looked.left_out(plan.programs)
    return HiveStatus(
        str(engine.paths.hive),
        engine.settings.name,
        identity is not None,
        identity.pid if identity is not None else None,
        page(engine) if identity is not None else None,
        instances is not None if is_asked else None,
        tuple(sorted(programs, key=lambda each: each.name)),
        plan.problems,
        host_here(engine.paths),
        {each.name: each.home for each in plan.elsewhere},
        silent=silent,
        stood=lately(engine.paths.stood),
        undone=left_undone(engine.paths),
        standing=in_words(engine, standing),
        redis_away=away,
        strays=() if identity is not None else with_below(strays(engine)),
        unguarded=() if identity is not None else tuple(sorted(survivors(engine))),
    )


@dataclass(frozen=True, slots=True)
class _Look:
    infos: Mapping[str, ProgramInfo]
    instances: Sequence[Instance]
    revivals: Mapping[str, int]
    files: Mapping[str, Path]
    silent: str

    def at(self, engine: Engine, program: Program) -> ProgramStatus:
        """Put together what is known of one program."""
        lives = read_lives(engine.paths, program.name)
        seen = self._seen(engine, program, lives)
        if not lives.lives:
            return seen
        last = lives.lives[-1]
        return replace(seen, last_end=": ".join(filter(None, (last.text, last.words))), ended=last.ended)

    def _seen(self, engine: Engine, program: Program, lives: Lives) -> ProgramStatus:
        info, process = self.infos.get(program.name), self._process(program)
        if info is None:
            state = "unknown" if process is not None else "stopped"
            up = None if process is None else round(max(0.0, time.time() - _since(lives, process, time.time())), 1)
            return ProgramStatus(program.name, state, process.pid if process else None, up, detail=self.silent)
        is_up = info.state in (ProgramState.RUNNING, ProgramState.STARTING, ProgramState.STOPPING)
        holder = self._holder(program, process) if is_up else ""
        if lives.next is not None and process is None and is_up:
            waiting = self._waiting(program, info, lives)
            return replace(waiting, fault=program.fault, release=_release(engine, program))
        mine = of_process(self.instances, process, program.node) if process is not None else None
        started = _since(lives, process, info.started)
        remarks = holder or ("; ".join(_remarks(program, mine)) if is_up else why_not(engine, program, info))
        is_loop = lives.is_loop and is_up and info.state is not ProgramState.STOPPING
        return ProgramStatus(
            program.name,
            "standby" if holder else FAILING if is_loop else _state(info, mine),
            process.pid if process is not None and is_up else info.pid or None,
            round(max(0.0, time.time() - started), 1) if is_up else None,
            int(self.revivals.get(program.name, 0)),
            bool(is_up and process is not None and process.pid != info.pid),
            "; ".join(part for part in (_ends(lives), remarks) if part) if is_loop else remarks,
            lives.failures,
            fault=program.fault or (_broken_since(engine, program, process, started) if is_up and process else ""),
            release=_release(engine, program),
        )

    def _waiting(self, program: Program, info: ProgramInfo, lives: Lives) -> ProgramStatus:
        """A program that has ended early again and again, and waits: what runs for it is its keeper."""
        now = time.time()
        return ProgramStatus(
            program.name,
            WORDS[ProgramState.STOPPING] if info.state is ProgramState.STOPPING else FAILING,
            revivals=int(self.revivals.get(program.name, 0)),
            detail=_ends(lives),
            failures=lives.failures,
            next_try=round(max(0.0, (lives.next or now) - now), 1),
        )

    def left_out(self, programs: Sequence[Program]) -> list[ProgramStatus]:
        """The members of shared processes that run without them: their files were broken when the process began."""
        mine = {each.name for each in programs}
        broken = {
            each.name: each
            for one in self.instances
            if one.instance in mine and not one.is_lost
            for each in one.stats.members
            if each.state == BROKEN
        }
        return [ProgramStatus(each.name, "quarantined", detail=each.error) for each in broken.values()]

    def _process(self, program: Program) -> ProcessIdentity | None:
        path = self.files.get(program.name)
        return PidFile(path).living() if path is not None else None

    def _holder(self, program: Program, process: ProcessIdentity | None) -> str:
        """Who holds the number that this program waits for; "" if itself or nobody."""
        if program.kind != "node" or process is None:
            return ""
        if of_process(self.instances, process, program.node) is not None:
            return ""
        for each in self.instances:
            if each.instance == program.name and not each.is_lost and each.about.process != process:
                return f"its number is held by process {each.about.pid} on {each.about.host}"
        return ""


def _since(lives: Lives, process: ProcessIdentity | None, otherwise: float) -> float:
    """When a program began, in unix seconds, whoever has adopted it since; its keeper may have waited before."""
    if process is None:
        return otherwise
    if lives.began is not None and lives.pid == process.pid:
        return lives.began
    lived = age(process.pid)
    return otherwise if lived is None else time.time() - lived


def _is_mute(one: ProgramStatus) -> bool:
    """Whether that is the hive's own Redis, which is up, where Redis does not answer."""
    return one.name == REDIS and one.state == WORDS[ProgramState.RUNNING] and not one.detail


def _infos(engine: Engine, identity: ProcessIdentity | None) -> tuple[dict[str, ProgramInfo], str]:
    if identity is None:
        return {}, ""
    try:
        return {info.name: info for info in engine.client(QUICK).programs()}, ""
    except SupervisorError as error:
        return {}, str(error)


async def registered(engine: Engine) -> list[Instance] | None:
    """All instances of the hive; None if Redis does not answer in time."""
    try:
        endpoint = Endpoint.parse(redis_url(engine.settings), engine.paths.var).of(engine.settings.name)
        async with asyncio.timeout(REGISTRY_TIMEOUT), Commands(endpoint) as commands:
            return await Registry(commands, Functions(commands), endpoint.names).instances()
    except (HivemindError, TimeoutError):
        return None


def _state(info: ProgramInfo, mine: Instance | None) -> str:
    """As supervisord has it, which calls a process young for two seconds; of a node that is registered as it says."""
    is_up = info.state in (ProgramState.STARTING, ProgramState.RUNNING)
    said = mine.state if mine is not None and is_up and not mine.is_lost else None
    return said if said in (NodeState.WAITING, NodeState.RUNNING) else WORDS[info.state]


def _ends(lives: Lives) -> str:
    """How a program has ended again and again, and when it is tried again."""
    words = lives.lives[-1].words if lives.lives else ""
    return ": ".join(part for part in (lives.text(time.time()), words) if part)


def _remarks(program: Program, mine: Instance | None) -> list[str]:
    """What there is to say of a program that is up."""
    lost = mine.stats.log_lost if mine is not None else 0
    told = [f"{amount(lost, 'line')} of its log could not be written"] if lost else []
    if waits := waits_in_words(mine):
        told.append(f"waits for {waits}")
    return [", ".join(program.sharing), *told] if program.sharing else told


def waits_in_words(instance: Instance | None) -> str:
    """What an instance, or whoever of those that share it, waits for; "" if nobody waits."""
    return " and ".join(dict.fromkeys(what for _, what in instance.waits)) if instance is not None else ""


def why_not(engine: Engine, program: Program, info: ProgramInfo) -> str:
    """Why a program does not run: the fault in its file if there is one, else its last words."""
    if info.state is ProgramState.EXITED:
        return f"ended with {info.exit_status}"
    if info.state is ProgramState.STOPPED:
        return ""
    for node, file in program.members.items():
        problem = unreadable_file(engine.paths.hive, node, file) if file else None
        if problem is not None:
            return str(problem) if program.sharing else problem.text
    own = engine.settings.log_file(program.node, program.number)
    said = last_words(engine.paths.program_log(program.name), own, info.started - 1.0)
    return said or _unheard(program, info.error)


def _broken_since(engine: Engine, program: Program, process: ProcessIdentity, started: float) -> str:
    """What is wrong with a file that has changed since the program ``started``, in unix seconds, and has loaded it: who
    still loads may yet fail of it.
    """
    if not has_loaded(Relay.at(engine.paths.program_pid(program.name)), process.pid):
        return ""
    for node, file in program.members.items():
        if file and not 0 < time_of(file) < started * 1e9:
            problem = unreadable_file(engine.paths.hive, node, file)
            if problem is not None:
                return str(problem) if program.sharing else problem.text
    return ""


def _release(engine: Engine, program: Program) -> str:
    """Which release its next life has the code of, for people; "" if that of the files."""
    env = read_json(engine.paths.program_env(program.name)) if RELEASE in program.env else None
    number = Path(str(env.get(RELEASE, ""))).parent.name.partition("-")[0] if isinstance(env, dict) else ""
    return f"release {number}" if number.isdecimal() else ""


def _unheard(program: Program, error: str) -> str:
    """What to say of a program that ended without a word: supervisord points to a log of its own, which is empty."""
    if "process log" not in error:
        return error
    return f"it ended as soon as it had started, see `hm why {program.node}`"


def page(engine: Engine) -> str | None:
    """Where this hive's page is, if a root of this machine serves one."""
    found = read_json(engine.paths.root)
    try:
        return str(found["url"]) if ProcessIdentity.from_json(found["process"]).is_alive() else None
    except (TypeError, KeyError, ValueError):
        return None
