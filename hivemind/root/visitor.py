"""Who asks: what they may do, and the proof that a form was sent from our own page."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.types import Scope

from .tokens import Role

CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
_KEY = "hivemind.visitor"


@dataclass(frozen=True, slots=True)
class Csrf:
    """What a form has to bring along, bound to the session; ``{{ csrf }}`` in a template is its hidden field.

    ``token`` is "" where there is no session, and nothing to bring: then nothing is written.
    """

    token: str = ""

    def __html__(self) -> Markup:
        """The hidden field of a form."""
        field = Markup('<input type="hidden" name="{}" value="{}">')
        return field.format(CSRF_FIELD, self.token) if self.token else Markup()

    def is_given(self, given: str) -> bool:
        """Whether ``given`` is this token; takes as long whatever is wrong with it."""
        return hmac.compare_digest(self.token.encode(), given.encode())


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request. ``name`` is what the log calls them; ``role`` is None for somebody who may see nothing."""

    name: str
    role: Role | None
    csrf: Csrf = Csrf()

    @property
    def may_look(self) -> bool:
        """Whether they may see the hive."""
        return self.role is not None

    @property
    def may_change(self) -> bool:
        """Whether they are an operator."""
        return self.role is Role.OPERATOR

    @property
    def is_logged_in(self) -> bool:
        """Whether they can log out."""
        return bool(self.csrf.token)

    def context(self) -> dict[str, Any]:
        """What templates know of them."""
        return {"csrf": self.csrf, "may_change": self.may_change, "visitor": self}


LOCAL = Visitor("somebody on this machine", Role.OPERATOR)
"""Where there is no login, whoever reaches the page."""
NOBODY = Visitor("nobody", None)
"""Who has not logged in."""


def remember(scope: Scope, visitor: Visitor) -> None:
    """Note who sent the request."""
    scope[_KEY] = visitor


def visitor_of(scope: Scope) -> Visitor:
    """Who sent the request."""
    found: Visitor = scope[_KEY]
    return found
