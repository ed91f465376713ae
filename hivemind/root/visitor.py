"""Who asks: what they may do, and the proof that a form was sent from our own page."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from markupsafe import Markup
from starlette.types import Scope

CSRF_FIELD, CSRF_HEADER = "csrf", "x-csrf-token"
_KEY = "hivemind.visitor"


class Role(StrEnum):
    """What somebody may do: a viewer looks, an operator also changes."""

    VIEWER = "viewer"
    OPERATOR = "operator"


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
    """Who sent a request. ``name`` is what the log calls them; ``session`` says whether they can log out."""

    name: str = "somebody on this machine"
    role: Role = Role.OPERATOR
    csrf: Csrf = Csrf()
    session: bool = False

    @property
    def may_change(self) -> bool:
        """Whether they are an operator."""
        return self.role is Role.OPERATOR

    def context(self) -> dict[str, Any]:
        """What templates know of them."""
        return {"csrf": self.csrf, "may_change": self.may_change, "visitor": self}


def remember(scope: Scope, visitor: Visitor) -> None:
    """Note who sent the request."""
    scope[_KEY] = visitor


def visitor_of(scope: Scope) -> Visitor:
    """Who sent the request."""
    found: Visitor = scope[_KEY]
    return found
