"""What the page of dead letters does beside showing: replays them, and drops them, as ``hm dead`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ..bus.streams import Streams
from ..data.letters import Letters
from ..data.picking import NoLetters, Picked, Replayed, count_of, drop, pick, replay, said_of_dropped
from ..errors import InvalidName, RedisError
from .bodies import RequestRefused, fields_of, is_ticked, wants_page
from .pages import Hive
from .problems import problem

LONGEST = 300  #: characters of what is picked
SURE = 'add "sure": true'
GONE = "/dead and `hm dead list` show those that are there"


class Burying:
    """``/api/dead/…``. A change says ``which`` letters: a topic, a pattern, or one as the page calls it, and of which
    ``group`` (all, if it says nothing); to replay for ``every_group``; to drop that it is ``sure``.
    """

    def __init__(self, hive: Hive | None) -> None:
        self._hive = hive

    def routes(self) -> list[Route]:
        """To be added to those of the pages."""
        return [
            Route("/api/dead/replay", self.replay, methods=["POST"]),
            Route("/api/dead/drop", self.drop, methods=["POST"]),
        ]

    async def replay(self, request: Request) -> Response:
        """Have letters handled again; the answer says what became of them."""
        said = await fields_of(request)
        done = Replayed(is_ticked(said, "every_group"))
        failed = await self._do(said, lambda letters, picked: replay(letters, picked, done))
        texts = [*done.successes(), *done.failures("every group"), *failed]
        is_well = done.is_well and not failed
        return _answer(request, said, texts or ["nothing was replayed"], is_well=is_well)

    async def drop(self, request: Request) -> Response:
        """Remove letters for good."""
        said = await fields_of(request)
        if not is_ticked(said, "sure"):
            raise RequestRefused(400, "what is dropped is gone: say that you are sure", SURE)
        dropped: Counter[str] = Counter()
        failed = await self._do(said, lambda letters, picked: drop(letters, picked, dropped))
        texts = [*said_of_dropped(dropped), *failed]
        return _answer(request, said, texts or [f"{count_of(0)} there: nothing was dropped"], is_well=not failed)

    async def _do(self, said: Mapping[str, Any], job: Callable[[Letters, Picked], Awaitable[None]]) -> list[str]:
        """Do it with the letters that are meant, and return what went wrong. Raises RequestRefused."""
        if self._hive is None:
            raise RequestRefused(503, "there is no Redis")
        which, group, bus = said.get("which", ""), said.get("group", ""), self._hive.bus
        if not (isinstance(which, str) and isinstance(group, str) and 0 < len(which) <= LONGEST):
            raise RequestRefused(400, "which: write a topic, a pattern, or a dead letter as the page calls it")
        letters = Letters(Streams(bus.commands, bus.functions, bus.names))
        try:
            picked = await pick(letters, (which,), 0.0, group)
        except InvalidName as error:
            raise RequestRefused(400, str(error)) from None
        except NoLetters as error:
            raise RequestRefused(404, str(error), GONE) from None
        except RedisError as error:
            raise RequestRefused(503, str(error)) from None
        try:
            await job(letters, picked)
        except RedisError as error:
            return [str(error)]
        return []


def _answer(request: Request, said: Mapping[str, Any], texts: list[str], *, is_well: bool) -> Response:
    """A form without a script is led back to the letters of its group, or told what failed."""
    if wants_page(request):
        if not is_well:
            return PlainTextResponse("; ".join(texts), 409)
        group = str(said.get("group") or "")
        return RedirectResponse(f"/dead?{urlencode({'group': group})}" if group else "/dead", 303)
    text = "; ".join(texts)
    if is_well:
        return JSONResponse({"said": text, "ok": True})
    return JSONResponse(problem(409, text) | {"said": text}, 409)
