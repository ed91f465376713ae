"""The one place that every request passes, whichever page, API or route of a hive's own it is meant for.

Where there is a login, who looks has to be somebody. A change is whatever is not GET, HEAD or OPTIONS: who sends one
has to be an operator, and, where a browser's session says who they are, to bring the token of that session's forms
(CSRF): in the field ``csrf`` or the header ``X-CSRF-Token``. So a route has nothing to do for its safety but not to
change anything when it is only read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .bodies import Bodies, RequestRefused, again, form_fields
from .guard import is_change
from .login import LOGIN, LOGOUT, Login, unknown
from .problems import text_of
from .visitor import CSRF_FIELD, CSRF_HEADER, LOCAL, Visitor, remember

log = logging.getLogger(__name__)


class Gate:
    """Finds out who asks, and lets through what they may do. ``login`` is None where everybody may do everything."""

    def __init__(self, app: ASGIApp, bodies: Bodies, login: Login | None = None) -> None:
        self._app, self._bodies, self._login = app, bodies, login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 303, 401, 403, 408, 413, 415 or 429."""
        headers = Headers(scope=scope)
        try:
            visitor, holds = await self._visitor(scope, headers)
            remember(scope, visitor)
            if self._login is not None and not visitor.may_look and not self._login.is_open(scope["path"]):
                await self._login.refusal(scope, headers)(scope, receive, send)
            elif not is_change(scope["method"]):
                await _while(holds, self._app, scope, receive, send)
            else:
                body = await self._body(scope, headers, visitor, receive)
                await self._app(scope, again(body, receive), send)
        except RequestRefused as error:
            await _answer(error)(scope, receive, send)
        except ClientDisconnect:
            return

    async def _visitor(self, scope: Scope, headers: Headers) -> tuple[Visitor, Callable[[], bool]]:
        return (LOCAL, _always) if self._login is None else await self._login.visitor(scope, headers)

    async def _body(self, scope: Scope, headers: Headers, visitor: Visitor, receive: Receive) -> bytes:
        """The body of a change that may be made. Raises RequestRefused and ClientDisconnect."""
        path, bodies = scope["path"], self._bodies
        if self._login is not None and path == LOGIN:
            bodies = self._login.bodies
        elif not (visitor.may_change or path == LOGOUT):
            log.warning("%s, a viewer, was refused: %s %r", visitor.name, scope["method"], path)
            raise RequestRefused(403, "a viewer cannot change anything: log in as an operator")
        bodies.check(headers)
        body = await bodies.read(receive)
        if path != LOGIN:
            _check_csrf(visitor, headers, body)
            log.info("%s: %s %r", visitor.name, scope["method"], path)
        return body


async def refused(_: Request, error: Exception) -> Response:
    """The answer where a route raised RequestRefused."""
    assert isinstance(error, RequestRefused)
    return _answer(error)


class _Over(Exception):
    """Who is being answered may not look any more."""


async def _while(holds: Callable[[], bool], app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve; a stream ends with the session of who follows it."""

    async def checked(message: Message) -> None:
        if message.get("more_body", False) and not holds():
            raise _Over
        await send(message)

    try:
        await app(scope, receive, checked)
    except* _Over:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _always() -> bool:
    return True


def _check_csrf(visitor: Visitor, headers: Headers, body: bytes) -> None:
    if not visitor.csrf.token:
        return
    given = headers.get(CSRF_HEADER) or form_fields(headers, body).get(CSRF_FIELD, "")
    if not visitor.csrf.is_given(given):
        raise RequestRefused(403, "this form is not of your session any more: load its page again")


def _answer(error: RequestRefused) -> Response:
    """Why it was refused; the body may not have been read, so the connection ends."""
    if error.status == 401:
        return unknown(str(error))
    return PlainTextResponse(text_of(str(error), error.todo), error.status, headers={"Connection": "close"})
