"""What goes wrong under ``/api/`` has one form, whoever refuses it: an object with ``status``, ``error`` and ``todo``.

Elsewhere, and for a form that was sent without a script, it is text: what is wrong, and in a second line what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

API = "/api/"
TODO: Mapping[int, str] = {
    400: "mend the request: docs/root.md says what each address takes",
    401: "send Authorization: Bearer and a token: `hm token` makes one",
    403: "ask by an address of this site itself, as somebody who may",
    404: "look what there is: /api/nodes and /api/topics have the names, docs/root.md the addresses",
    405: "the header Allow says what this address takes: GET reads, POST changes",
    408: "send the body at once",
    409: "see what is wrong, and ask again for what is left",
    413: "send less at once",
    415: "add the header Content-Type: application/json",
    429: "wait a minute, then use a token that holds",
    431: "send fewer or shorter headers",
    500: "`hm logs root` says why",
    503: "try again in a moment; `hm status` says how the hive is",
    504: "`hived status` on each machine says whether hived runs there; ask again when it does",
}
"""What to do about an answer where nothing better is known, by its status."""
_WORDS: Mapping[str, str] = {  # of the web framework
    "Not Found": "there is nothing at this address",
    "Method Not Allowed": "this address does not take that method",
    "Internal Server Error": "the root failed at this",
}


def problem(status: int, error: str, todo: str = "") -> dict[str, Any]:
    """The object; stable names."""
    return {"status": status, "error": error, "todo": todo or TODO.get(status, ""), "ok": False}


def text_of(error: str, todo: str = "") -> str:
    """The same as text."""
    return f"{error}\n{todo}\n" if todo else f"{error}\n"


def told(scope: Scope, send: Send) -> Send:
    """A ``send`` for the answer to ``scope``: what is wrong with a request to the API it gives the form of all."""
    is_form = "text/html" in Headers(scope=scope).get("accept", "")
    if not scope["path"].startswith(API) or is_form:
        return send
    held: list[Message] = []
    body = bytearray()

    async def as_object(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400 and _is_text(message):
            held.append(message)
            return
        if not held:
            await send(message)
            return
        body.extend(message.get("body", b""))
        if not message.get("more_body", False):
            start = held.pop()
            error, _, todo = body.decode(errors="replace").strip().partition("\n")
            data = orjson.dumps(problem(start["status"], _WORDS.get(error, error), todo))
            headers = MutableHeaders(raw=list(start["headers"]))
            headers["content-type"], headers["content-length"] = "application/json", str(len(data))
            await send({**start, "headers": headers.raw})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})

    return as_object


def _is_text(start: Message) -> bool:
    return Headers(raw=list(start["headers"])).get("content-type", "").startswith("text/plain")
