"""The login: a page that takes a token and gives a session, and who may ask for what without one.

Pages are for sessions: a cookie that no script reads and that no other site makes a browser send. Programs show the
token itself, with each request: ``Authorization: Bearer``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import jinja2
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from .bodies import Bodies, RequestRefused, fields_of
from .slowing import Slowing
from .tokens import LONGEST, Token, TokenRefused, Tokens
from .visitor import NOBODY, Csrf, Visitor
from .visits import Sessions

LOGIN, LOGOUT, HEALTH = "/login", "/logout", "/healthz"
FOR_PROGRAMS = ("/api/", "/events/", "/metrics", "/static/")
MAX_LOGIN = 8192
"""Bytes of what is posted by who has not shown a token yet."""

log = logging.getLogger(__name__)


class Login:
    """The sessions of one root, and its login page. ``assets`` are the names of files that this page needs."""

    def __init__(self, tokens: Tokens, hive: str, templates: jinja2.Environment, assets: frozenset[str]) -> None:
        self._tokens, self._hive, self._templates = tokens, hive, templates
        self._open = frozenset({LOGIN, HEALTH, *(f"/static/{name}" for name in assets)})
        self._sessions = Sessions()
        self._slowing = Slowing()
        self.bodies = Bodies(MAX_LOGIN, 128)

    def routes(self) -> list[Route]:
        """The page itself, and the end of a session."""
        return [
            Route(LOGIN, self._show),
            Route(LOGIN, self._enter, methods=["POST"]),
            Route(LOGOUT, self._leave, methods=["POST"]),
        ]

    def is_open(self, path: str) -> bool:
        """Whether who has not logged in may ask for that."""
        return path in self._open

    async def visitor(self, scope: Scope, headers: Headers) -> tuple[Visitor, Callable[[], bool]]:
        """Who sent a request, and how to ask later whether that still holds.

        Raises RequestRefused for a token that lets nobody in, after a while.
        """
        shown = headers.get("authorization")
        if shown is not None:
            token = await self._check(_address(scope), _bearer(shown))
            return Visitor(token.name, token.role), lambda: time.time() < token.until
        secret = self._secret(headers)
        session = self._sessions.find(secret)
        if session is None:
            return NOBODY, lambda: True
        return self._of(session.token, session.csrf), lambda: self._sessions.find(secret) is not None

    def refusal(self, scope: Scope, headers: Headers) -> Response:
        """The answer to who has not logged in: a person is sent to the login page."""
        is_person = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if is_person and not scope["path"].startswith(FOR_PROGRAMS):
            query = scope["query_string"].decode("latin-1")
            back = quote(scope["path"] + (f"?{query}" if query else ""), safe="/")
            return RedirectResponse(f"{LOGIN}?next={back}", 303)
        return unknown("log in, or show a token: Authorization: Bearer")

    async def _check(self, address: str, text: str) -> Token:
        if not self._slowing.admits(address):
            raise RequestRefused(429, "too many wrong tokens: wait a while")
        try:
            return self._tokens.read(text)
        except TokenRefused as error:
            log.warning("a token from %s was refused: %s", address, error)
            await self._slowing.wrong(address)
            raise RequestRefused(401, str(error)) from None

    async def _show(self, request: Request) -> Response:
        return self._page(request.query_params.get("next", "/"))

    async def _enter(self, request: Request) -> Response:
        """A session for a token: always a new one, whatever the browser brought along."""
        fields, address = await fields_of(request), _address(request.scope)
        text, back = str(fields.get("token", "")).strip()[: LONGEST + 1], str(fields.get("next", "/"))
        try:
            token = await self._check(address, text)
        except RequestRefused as error:
            return self._page(back, f"{error}.", error.status)
        self._sessions.end(self._secret(request.headers))
        log.info("%r logged in from %s as %s", token.name, address, token.role.value)
        answer = RedirectResponse(own_path(back), 303)
        is_secure = _is_secure(request)
        secret = self._sessions.begin(token, text)
        answer.set_cookie(self._cookie(is_secure), secret, secure=is_secure, httponly=True, samesite="strict")
        return answer

    async def _leave(self, request: Request) -> Response:
        """End the session, here and in the browser."""
        self._sessions.end(self._secret(request.headers))
        answer = RedirectResponse(LOGIN, 303)
        for is_secure in (True, False):
            answer.delete_cookie(self._cookie(is_secure), secure=is_secure, httponly=True, samesite="strict")
        return answer

    def _page(self, back: str, error: str = "", status: int = 200) -> Response:
        html = self._templates.get_template("login.html").render(hive=self._hive, next=own_path(back), error=error)
        return Response(html, status, media_type="text/html")

    def _of(self, token: Token, csrf: str) -> Visitor:
        return Visitor(token.name, token.role, Csrf(csrf))

    def _secret(self, headers: Headers) -> str:
        """What the browser keeps; that of a secure connection comes first, for nobody else on this host can set it."""
        cookies: dict[str, str] = {}
        for header in headers.getlist("cookie"):
            cookies |= cookie_parser(header)
        return cookies.get(self._cookie(True)) or cookies.get(self._cookie(False), "")

    def _cookie(self, is_secure: bool) -> str:
        """The cookie's name: cookies know no ports, so that of each hive has one of its own."""
        return f"{'__Host-' if is_secure else ''}hivemind-{self._hive}"


def unknown(why: str) -> Response:
    """The answer to a program that has shown no token."""
    return PlainTextResponse(f"{why}\n", 401, headers={"WWW-Authenticate": "Bearer", "Connection": "close"})


def own_path(path: str) -> str:
    """``path`` if it leads to a page of ours, else ``/``: nobody is sent elsewhere after a login."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    is_plain = len(path) <= 2000 and all(" " < char <= "~" and char != "\\" for char in path)
    is_ours = path.startswith("/") and not path.startswith("//") and not (parts.scheme or parts.netloc)
    return path if is_plain and is_ours and parts.path not in (LOGIN, LOGOUT) else "/"


def _bearer(header: str) -> str:
    kind, _, token = header.partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _address(scope: Scope) -> str:
    """Where a request comes from, as the connection says; what headers say of that anybody can write."""
    client = scope.get("client")
    return client[0] if client else ""


def _is_secure(request: Request) -> bool:
    """Whether the browser reached us over TLS, which may end at a proxy: then its Origin header still says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
