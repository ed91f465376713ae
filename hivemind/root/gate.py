"""The one place that every change passes, whichever page, API or route of a hive's own it is meant for.

A change is whatever is not GET, HEAD or OPTIONS. Who sends one has to be an operator, and, where a browser's session
says who they are, to bring the token of that session's forms (CSRF): in the field ``csrf`` or the header
``X-CSRF-Token``. So a route has nothing to do for its safety but not to change anything when it is only read.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .bodies import Bodies, BodyRefused, again, form_fields
from .guard import is_change
from .visitor import CSRF_FIELD, CSRF_HEADER, Visitor, remember

log = logging.getLogger(__name__)


class Gate:
    """Finds out who asks, and lets through what they may do."""

    def __init__(self, app: ASGIApp, bodies: Bodies) -> None:
        self._app, self._bodies = app, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 401, 403, 408, 413 or 415."""
        headers = Headers(scope=scope)
        visitor = Visitor()
        remember(scope, visitor)
        if not is_change(scope["method"]):
            await self._app(scope, receive, send)
            return
        try:
            if not visitor.may_change:
                raise BodyRefused(403, "a viewer cannot change anything: log in as an operator")
            self._bodies.check(headers)
            body = await self._bodies.read(receive)
            _check_csrf(visitor, headers, body)
        except BodyRefused as error:
            await _answer(error)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            log.info("%s: %s %r", visitor.name, scope["method"], scope["path"])
            await self._app(scope, again(body, receive), send)


def _check_csrf(visitor: Visitor, headers: Headers, body: bytes) -> None:
    if not visitor.csrf.token:
        return
    given = headers.get(CSRF_HEADER) or form_fields(headers, body).get(CSRF_FIELD, "")
    if not visitor.csrf.is_given(given):
        raise BodyRefused(403, "this form is not of your session any more: load its page again")


async def refused(_: Request, error: Exception) -> Response:
    """The answer where a route raised BodyRefused."""
    assert isinstance(error, BodyRefused)
    return _answer(error)


def _answer(error: BodyRefused) -> Response:
    """Why a change was refused; its body may not have been read, so the connection ends."""
    return PlainTextResponse(f"{error}\n", error.status, headers={"Connection": "close"})
