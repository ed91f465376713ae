"""What is asked of every hived from the page: one errand each, remembered for a while with what became of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..errors import RedisError
from ..picture.unheard import unheard
from ..settings import Settings
from ..supervisor.actions import Request
from ..supervisor.control import Answer, ask, silence
from .busy import Busy

log = logging.getLogger(__name__)

KEPT = 100  #: errands that are remembered
AT_ONCE = 20  #: errands that are on their way; who comes then is told to come again

CUT = "this root ends, and cannot see it through: who was asked does it all the same"
NOBODY = "no hived of this hive answers: `hived start` in the hive's folder starts it on that machine; then ask again"


@dataclass(slots=True)
class Errand:
    """One request to all hiveds for ``target``, a node or one copy of it, and what they answered so far.

    ``begun`` and ``ended`` are in unix seconds. ``status`` is that of the HTTP answer, and ``error`` says what is wrong
    with the whole: nobody answers, or nobody knows the target; ``cut``, why nobody will know how it ended.
    """

    target: str
    request: Request
    begun: float
    ended: float | None = None
    status: int = 200
    error: str = ""
    cut: str = ""
    said: dict[tuple[str, str], Answer] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def node(self) -> str:
        """The node that it concerns."""
        return self.target.partition(".")[0]

    @property
    def answers(self) -> list[Answer]:
        """Of those hiveds that have something to do with it, by host."""
        return [self.said[key] for key in sorted(self.said) if self.said[key].programs]

    @property
    def doing(self) -> str:
        """What is being done now, "" if nobody says so, or it is over."""
        if self.cut:
            return self.cut
        told = [answer.doing for answer in self.answers if answer.doing and not answer.done]
        return "" if self.over.is_set() else "; ".join(told)

    @property
    def is_well(self) -> bool:
        """Whether it is over, and all of it was done."""
        done = all(answer.done and all(one.ok for one in answer.results) for answer in self.answers)
        return self.over.is_set() and not self.error and done

    def to_json(self) -> dict[str, Any]:
        """What the API answers; stable names."""
        return {
            "verb": str(self.request.verb),
            "target": self.target,
            "ok": None if self.cut else self.is_well,
            "done": self.over.is_set() and all(answer.done for answer in self.answers),
            "doing": self.doing,
            "error": self.error,
            "hosts": [
                {
                    "host": answer.hived.host,
                    "done": answer.done,
                    "waiting": answer.waiting,
                    "programs": [
                        {"program": one.program, "ok": one.ok, "text": one.text} for one in results_of(answer)
                    ],
                }
                for answer in self.answers
            ],
        }


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one program; ``ok`` is None while nobody knows."""

    program: str
    ok: bool | None
    text: str


def results_of(answer: Answer) -> list[Told]:
    """What became of each program; while it is not over, also those of which nothing has been said yet."""
    known = [Told(one.program, one.ok, one.text) for one in answer.results]
    named = {one.program for one in known}
    return known if answer.done else [*known, *(Told(name, None, "") for name in answer.programs if name not in named)]


class Errands:
    """Sends requests to the hiveds of a hive, over connections of their own. ``changed`` is called on every news."""

    def __init__(self, endpoint: Endpoint, settings: Settings, changed: Callable[[], None]) -> None:
        self._endpoint, self._settings, self._changed = endpoint, settings, changed
        self._known: deque[Errand] = deque(maxlen=KEPT)
        self._tasks: set[asyncio.Task[None]] = set()

    def of(self, node: str) -> Errand | None:
        """The last one that concerned ``node``."""
        return next((one for one in reversed(self._known) if one.node == node), None)

    def begin(self, target: str, request: Request, unknown: Callable[[str], str]) -> Errand:
        """Ask for it; ``over`` of what is returned says when all have answered. ``unknown`` says what to make of a
        target that no hived knows. Raises Busy.
        """
        if len(self._tasks) >= AT_ONCE:
            raise Busy("the hiveds have yet to do what was asked before: try again when they have")
        errand = Errand(target, request, time.time())
        self._known.append(errand)
        task = asyncio.create_task(self._run(errand, unknown), name=f"{request.verb} {target}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return errand

    async def close(self) -> None:
        """Wait for nobody's answer any more: who was asked does it all the same. May be called twice."""
        for task in list(self._tasks):
            await end(task)

    async def _run(self, errand: Errand, unknown: Callable[[str], str]) -> None:
        try:
            await self._ask(errand)
            if not errand.said:
                errand.status, errand.error = 504, NOBODY
            elif not errand.answers:
                errand.status, errand.error = 404, unknown(errand.target)
        except RedisError as error:
            errand.status, errand.error = 503, str(error)
        except asyncio.CancelledError:
            errand.status, errand.cut = 202, CUT
            raise
        except Exception:
            log.exception("%s %s could not be asked for", errand.request.verb, errand.target)
            errand.status, errand.error = 500, "the root could not ask for it: its log says why"
        finally:
            errand.ended = time.time()
            errand.over.set()
            self._changed()

    async def _ask(self, errand: Errand) -> None:
        settings = self._settings

        def hear(answer: Answer) -> None:
            errand.said[answer.hived.host, answer.hived.hive] = answer
            self._changed()

        timeout = silence(errand.request.verb, settings.constants.STOP_TIMEOUT)
        hosts = settings.constants.HOSTS
        answers = await ask(self._endpoint, settings.name, errand.request, timeout, tell=hear, hosts=hosts)
        if answers:
            for answer in await asyncio.to_thread(unheard, settings, errand.request, answers):
                hear(answer)
