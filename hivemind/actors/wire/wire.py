"""All connections of one address: those that it made, and those that others made to it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ...errors import NoActor, RemoteError
from ..answer import Answer
from ..mailbox import DeadLetter, Turn
from ..pid import PID
from ..watches import Watch
from .encoding import ANSWER, ASK, request, response
from .inbound import Asked, Inbound, parts_of
from .outbound import Outbound
from .routes import Request, route_for

if TYPE_CHECKING:
    from ..system import System

log = logging.getLogger(__name__)

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a message."""
KEPT = 1000
"""Addresses that are remembered though nothing goes there now."""
ACCEPTED, ACCEPTED_OLD = response(202), response(202, is_old=True)


class Wire:
    """Reaches actors at other addresses, and lets them reach those here. On the loop."""

    def __init__(self, system: System, *, is_strict: bool = False, max_body: int = MAX_BODY) -> None:
        self.system, self.is_strict, self.max_body = system, is_strict, max_body
        self._open = set[Inbound]()
        self._outbound: dict[tuple[str, int], Outbound] = {}
        self._server: asyncio.Server | None = None
        self._asked: dict[int, Answer] = {}
        self._numbers = itertools.count(1)

    async def serve(self, listening: socket.socket) -> None:
        """Take connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Inbound(self, self._open), sock=listening)

    def listen_no_more(self) -> None:
        """Free the port; connections stay."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """End all connections: who is linked to somebody here hears of it."""
        self.listen_no_more()
        for inbound in tuple(self._open):
            inbound.close()
        for outbound in tuple(self._outbound.values()):
            await outbound.close()
        await asyncio.sleep(0)

    # -- to others

    def send(self, sender: PID, to: PID, mailbox: str, body: bytes) -> None:
        """Send it there."""
        self._to(to).write(request(sender, to, mailbox, body), DeadLetter(sender, to, mailbox, body, ""))

    def ask(self, sender: PID, to: PID, mailbox: str, body: bytes, answer: Answer) -> None:
        """The same; a peer that is no Hivemind never answers."""
        number = next(self._numbers)
        self._asked = {known: each for known, each in self._asked.items() if not each.is_done}
        self._asked[number] = answer
        data = request(sender, to, mailbox, body, b"Hivemind-Ask: %d\r\n" % number)
        self._to(to).write(data, DeadLetter(sender, to, mailbox, body, ""))

    def watch(self, watch: Watch) -> None:
        """Tell it when the connection there is lost or refused."""
        self._to(watch.to).watch(watch)

    def unwatch(self, watch: Watch) -> None:
        """Not any more."""
        self._to(watch.to).watches.discard(watch)

    def _to(self, pid: PID) -> Outbound:
        key = pid.ip, pid.port
        found = self._outbound.get(key)
        if found is None:
            if len(self._outbound) >= KEPT:
                self._outbound = {each: one for each, one in self._outbound.items() if not one.is_idle}
            found = self._outbound[key] = Outbound(pid.ip, pid.port, self.system.bury)
        return found

    # -- from others

    def message(self, asked: Asked) -> bytes:
        """A message for somebody here: it is accepted when it waits for its turn, as in libprocess."""
        assert asked.sender is not None
        name, mailbox = parts_of(asked.path)
        if ANSWER in asked.headers:
            self._answered(asked)
        elif self.system.find(name) is None:
            self.system.bury(DeadLetter(asked.sender, self._pid(name), mailbox, asked.body, "there is no such actor"))
            if ASK in asked.headers:
                self._reply(asked, name, "no actor", NoActor(f"{name}/{mailbox}", "there is no such actor"))
            return response(404, is_old=asked.is_old)
        else:
            answer = self._answer_to(asked, name, mailbox) if ASK in asked.headers else None
            self.system.deliver(asked.sender, self._pid(name), mailbox, asked.body, answer)
        return ACCEPTED_OLD if asked.is_old else ACCEPTED

    def _pid(self, name: str) -> PID:
        return PID(self.system.ip, self.system.port, name)

    def _answer_to(self, asked: Asked, name: str, mailbox: str) -> Answer:
        """What sends the answer to who asked."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def send(done: asyncio.Future[Any]) -> None:
            error = done.exception()
            if error is None:
                self._reply(asked, name, "given", done.result())
            else:
                self._reply(asked, name, "no actor" if isinstance(error, NoActor) else "raised", error)

        future.add_done_callback(send)
        return Answer(future, f"{name}/{mailbox}", lambda _: None)

    def _reply(self, asked: Asked, name: str, how: str, said: Any) -> None:
        assert asked.sender is not None
        number = asked.headers[ASK]
        if isinstance(said, NoActor):
            body = said.reason.encode()
        elif isinstance(said, RemoteError):
            body = orjson.dumps({"kind": said.kind, "text": said.text})
        elif isinstance(said, bytes) or said is None:
            body = said or b""
        else:
            how = "raised"
            body = orjson.dumps(
                {"kind": "TypeError", "text": f"a handler answers with bytes, not {type(said).__name__}"}
            )
        line = b"Hivemind-Answer: %b %b\r\n" % (number, how.encode())
        self._to(asked.sender).write(request(self._pid(name), asked.sender, "answer", body, line))

    def _answered(self, asked: Asked) -> None:
        """The answer to something that was asked from here; one that came too late is for nobody."""
        number, _, how = asked.headers[ANSWER].partition(b" ")
        answer = self._asked.pop(int(number), None) if number.isdigit() else None
        if answer is None:
            return
        if how == b"given":
            answer.give(asked.body)
        elif how == b"no actor":
            answer.fail(NoActor(answer.what, asked.body.decode(errors="replace")))
        else:
            answer.fail(_raised(answer.what, asked))

    # -- routes

    def request(self, asked: Asked, inbound: Inbound) -> None:
        """A request for a route: its handler runs when it is its actor's turn."""
        name, rest = parts_of(asked.path)
        cell = self.system.find(name)
        found = route_for(cell.process.declared.routes, rest) if cell is not None else None
        if cell is None or found is None:
            inbound.answer(asked, response(404, b"404 Not Found.", "text/plain", is_old=asked.is_old))
            return
        handler, behind = found
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked.headers.items()}
        made = Request(asked.verb, behind, asked.query, headers, asked.body)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: self._route_done(asked, inbound, made, done))
        answer = Answer(future, f"{asked.verb} {asked.path}", lambda _: None)
        cell.put(Turn(handler.function, (cell.process, made), handler.is_async, "", answer))

    def _route_done(self, asked: Asked, inbound: Inbound, made: Request, done: asyncio.Future[Any]) -> None:
        if done.exception() is not None:
            said = response(500, b"500 Internal Server Error.", "text/plain", is_old=asked.is_old)
        else:
            try:
                body, kind = made.answer(done.result())
                kind = made.answer_headers.pop("Content-Type", kind)
                more = "".join(f"{name}: {value}\r\n" for name, value in made.answer_headers.items())
                said = response(made.status, body, kind, is_old=asked.is_old, headers=more)
                if asked.verb == "HEAD":
                    said = said[: len(said) - len(body)]
            except TypeError as error:
                log.error("%s %s: the answer has no form: %s", asked.verb, asked.path, error)
                said = response(500, b"500 Internal Server Error.", "text/plain", is_old=asked.is_old)
        inbound.answer(asked, said)
        inbound.send_out()


def _raised(what: str, asked: Asked) -> RemoteError:
    try:
        said: Mapping[str, Any] = orjson.loads(asked.body)
        kind, text = str(said["kind"]), str(said["text"])
    except (ValueError, KeyError, TypeError):
        kind, text = "an error", "which has no form"
    return RemoteError(what, kind, text, str(asked.sender))
