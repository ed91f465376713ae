"""hived on the bus: does what `hm start|stop|restart|scale` ask, and tries broken nodes again when files change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from ..bus.bus import Bus
from ..bus.facts import clock_of
from ..data.records import BROKEN, Instance
from ..errors import ConfigurationError, HivemindError, RedisError
from ..identity import this_host
from ..settings import load_settings
from . import wishes
from .actions import Done, Request, Result, Verb, act, find, matches, select
from .apply import apply
from .control import CHANNEL, Hived, decode_request, encode_answer
from .crashes import crashes_here
from .engine import Engine, engine_for
from .files import time_of
from .holding import held_by
from .journal import BY, told
from .log_server import LogServer
from .machine import facts_here
from .narrow import Meant
from .plan import Plan, load
from .put_off import until_supervisord_answers
from .report import report_here
from .roll_turn import Telling, turn
from .rolling import held
from .rollout import rollout
from .swap import Outcome
from .topology import Program

log = logging.getLogger("hived")

FILES = 1.0  # seconds between looks at the files of broken nodes


class Servant:
    """Answers requests one after the other. ``on_settings`` is called when hived itself must read its settings anew,
    ``seen`` for the instances as the registry last had them.
    """

    def __init__(
        self, engine: Engine, bus: Bus, on_settings: Callable[[], None], seen: Callable[[], Sequence[Instance]]
    ) -> None:
        self.engine, self.bus, self._on_settings, self._seen = engine, bus, on_settings, seen
        self.me = Hived(this_host(), str(engine.paths.hive), os.getpid())
        self._logs = LogServer(engine.settings, self.me, bus.notify)
        self._turn = asyncio.Lock()
        self._tried: dict[str, int] = {}
        self._tried_members: dict[str, int] = {}
        self._heard: deque[str] = deque(maxlen=100)
        self._tasks: set[asyncio.Task[None]] = set()
        bus.live.listen(bus.names.control(CHANNEL), self._hear)

    async def run(self) -> None:
        """Watch the files of broken nodes for ever."""
        while True:
            await asyncio.sleep(FILES)
            if self._is_held_up():
                continue
            changed = await asyncio.to_thread(self._changed)
            if changed and not self.engine.paths.stopping.exists():
                log.info("%s changed: trying again", ", ".join(changed))
                await self._try_again()
            mended = await asyncio.to_thread(self._mended_members)
            if mended and not self.engine.paths.stopping.exists():
                log.info("the file of a node that %s left out has changed: restarting it", ", ".join(mended))
                await self._restart(mended)

    def _is_held_up(self) -> bool:
        """Whether who changes what runs here is stopped: whatever is tried now would fail, and not be tried again."""
        holder = held_by(self.engine.paths.lock)
        return holder is not None and holder.is_stopped

    def _changed(self) -> list[str]:
        """The files of broken nodes that changed since they were found broken, or since the last try."""
        mending = load(self.engine.paths).mending
        known = {path: self._tried.get(path, stamp) for path, stamp in mending.items()}
        self._tried = {path: time_of(path) for path in known}
        return [path for path, stamp in known.items() if self._tried[path] != stamp]

    def _mended_members(self) -> list[str]:
        """The programs that run without a member because its file was broken when they began, and it changed since."""
        programs = {each.name: each for each in load(self.engine.paths).programs}
        found = []
        for one, file in _left_out(programs, self._seen()):
            stamp = time_of(file)
            key = f"{one.instance}/{one.incarnation}/{file}"
            known = self._tried_members.setdefault(key, stamp if stamp < one.about.started * 1e9 else 0)
            self._tried_members[key] = stamp
            if stamp != known:
                found.append(one.instance)
        return list(dict.fromkeys(found))

    async def _restart(self, programs: Sequence[str]) -> None:
        async with self._turn:
            wishes.note(self.engine.paths.wishes, programs, "restarted by hived: a file of it was mended")
            try:
                done = await asyncio.to_thread(act, self.fresh(), Request(Verb.RESTART, tuple(programs)))
            except HivemindError as error:
                log.warning("not restarted: %s", error)
                return
        self._tell_waiting(done.waiting)
        for result in done.results:
            if not result.ok:
                log.warning("%s: %s", result.program, result.text)

    async def _try_again(self) -> None:
        async with self._turn:
            try:
                problems = await asyncio.to_thread(self._apply)
            except HivemindError as error:
                log.warning("the hive stays as it is: %s", error)
                return
        for problem in problems:
            log.warning("%s", problem)

    def _apply(self) -> Sequence[object]:
        engine = self.fresh()
        with engine.lock():
            done = apply(engine, _mended(load(engine.paths)))
        self._tell_waiting(done.waiting)
        for outcome in done.rolled.outcomes.values():
            if not outcome.is_well:
                log.warning("%s: %s", outcome.program, outcome.text)
        for name, first in done.rolled.held.items():
            log.warning("%s: %s", name, held(first))
        if done.settings_changed:
            self._on_settings()
        return done.problems

    def _tell_waiting(self, names: Sequence[str]) -> None:
        if names:
            log.info("there are changes for %s: `hived reload` applies them", ", ".join(names))

    def fresh(self) -> Engine:
        """The engine with the settings as they are now; if they are wrong now, as they were."""
        try:
            return engine_for(load_settings(self.engine.paths.hive, os.environ))
        except ConfigurationError as error:
            log.warning("the settings of before go on: %s", error)
            return self.engine

    def _hear(self, body: bytes) -> None:
        found = decode_request(body)
        if found is not None and found[0].verb is Verb.LOGS:
            self._logs.hear(*found)
        elif found is not None and found[1] not in self._heard:  # it is repeated until it is answered
            self._heard.append(found[1])
            task = asyncio.create_task(self._answer(*found))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _facts(self) -> str:
        try:
            skew, _ = await clock_of(self.bus.commands)
        except RedisError:
            skew = None
        facts = await asyncio.to_thread(facts_here, self.engine, skew)
        return facts.to_json()

    async def _answer(self, request: Request, reply: str) -> None:
        if request.verb is Verb.FIND:
            self.bus.notify(reply, encode_answer(self.me, [], find(self.engine, request.targets)))
            return
        if request.verb is Verb.FACTS:
            self.bus.notify(reply, encode_answer(self.me, [], [Result("", True, await self._facts())]))
            return
        if request.verb is Verb.STATUS:
            report = await asyncio.to_thread(report_here, self.engine)
            self.bus.notify(reply, encode_answer(self.me, [], [Result("", True, report.to_json())]))
            return
        if request.verb is Verb.CRASHES:
            meant = [each.name for each in select(load(self.engine.paths), request.targets)]
            crashes = await asyncio.to_thread(crashes_here, self.engine.settings, meant)
            results = [Result(each.program, True, each.to_json()) for each in crashes]
            self.bus.notify(reply, encode_answer(self.me, [], results))
            return
        names = matches(self.engine, request)
        if not names:
            self.bus.notify(reply, encode_answer(self.me, [], []))
            return
        self.bus.notify(reply, encode_answer(self.me, names, None))
        await until_supervisord_answers(self.engine, partial(self._put_off, names, reply))
        telling = Telling(partial(self.bus.notify, reply), self.me, names)
        async with telling if request.verb is Verb.ROLL else nullcontext(), self._turn:
            by = f" by {request.options[BY]}" if request.options.get(BY) else ""
            log.info("asked%s to %s %s", by, request.verb, ", ".join(names))
            wishes.note(self.engine.paths.wishes, names, wishes.asked_for(request.verb, request.options.get(BY, "")))
            try:
                done = await self._do(request, telling)
            except HivemindError as error:
                done = Done([Result(name, False, str(error)) for name in names])
        log.info("%s%s: %s", request.verb, by, told([(each.program, each.text) for each in done.results]))
        self._tell_waiting(done.waiting)
        self.bus.notify(reply, encode_answer(self.me, names, done.results, done.waiting))

    def _put_off(self, names: Sequence[str], reply: str, why: str) -> None:
        self.bus.notify(reply, encode_answer(self.me, names, [], doing=why, is_put_off=True))

    async def _do(self, request: Request, telling: Telling) -> Done:
        if request.verb is not Verb.ROLL:
            return await asyncio.to_thread(act, self.fresh(), request)
        loop = asyncio.get_running_loop()

        def tell(outcome: Outcome) -> None:
            loop.call_soon_threadsafe(telling.hear, outcome)

        async with turn(self.bus, f"{self.me.host}:{self.me.hive}:{self.me.pid}"):
            return await asyncio.to_thread(rollout, self.fresh(), request, tell)


def _left_out(programs: Mapping[str, Program], seen: Iterable[Instance]) -> Iterator[tuple[Instance, str]]:
    """Which of our instances run without a member that could not be loaded, each with that one's file."""
    for one in seen:
        program = programs.get(one.instance)
        if program is not None and not one.is_lost and one.about.host == this_host():
            for member in one.stats.members:
                if member.state == BROKEN and program.members.get(member.name):
                    yield one, program.members[member.name]


def _mended(before: Plan) -> Meant:
    """The programs that a change of a broken file concerns: those that it kept from running, or from running anew."""
    broken, known = {each.node for each in before.problems}, {each.name for each in (*before.programs, *before.stopped)}

    def is_meant(program: Program) -> bool:
        concerned = {program.node, *program.members} & broken or before.mending.keys() & set(program.members.values())
        return bool(concerned) or ("nodes" in broken and program.name not in known)

    return is_meant
