"""A shop in Flask: an order comes in over HTTP and goes on as a durable message. Run: gunicorn flask_shop:app"""

from __future__ import annotations

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

import hivemind

app = Flask(__name__)
hive = hivemind.connect(os.environ.get("HIVE"), timeout=2.0)  # opens when it is first used, in each worker process


@app.post("/orders")
def order() -> ResponseReturnValue:
    hive.send("order.new", request.get_json(), durable=True)
    hive.flush(timeout=2.0)  # now Redis has it: it will be handled, whoever is down
    return {"ordered": True}, 202


@app.errorhandler(hivemind.HivemindError)
def not_now(error: hivemind.HivemindError) -> ResponseReturnValue:
    return {"ordered": False, "why": str(error)}, 503
