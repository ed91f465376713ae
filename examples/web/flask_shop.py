"""A shop in Flask: an order comes in over HTTP and goes on as a durable message. Run: gunicorn flask_shop:app"""

from __future__ import annotations

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

import hivemind

app = Flask(__name__)
hive = hivemind.connect(os.environ.get("HIVE"), timeout=2.0)  # opens when it is first used, in each worker process


def status_of(error: hivemind.HivemindError) -> int:
    """502 where the responder raised, 503 where it may go well later; all else is a mistake of ours."""
    if isinstance(error, hivemind.RemoteError):
        return 502
    return 503 if isinstance(error, hivemind.RedisError | hivemind.SendError | hivemind.RequestError) else 500


@app.post("/orders")
def order() -> ResponseReturnValue:
    hive.send("order.new", request.get_json(), durable=True)
    hive.flush(timeout=2.0)  # now Redis has it: it will be handled, whoever is down
    return {"ordered": True}, 202


@app.errorhandler(hivemind.HivemindError)
def not_now(error: hivemind.HivemindError) -> ResponseReturnValue:
    return {"ordered": False, "why": str(error)}, status_of(error)
