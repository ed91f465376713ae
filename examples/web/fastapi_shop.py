"""The same shop in FastAPI, on the event loop. Run: uvicorn fastapi_shop:app"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import hivemind


class State(TypedDict):
    hive: hivemind.AsyncClient


class Order(BaseModel):
    item: str
    count: int = 1


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    async with hivemind.connect(os.environ.get("HIVE"), timeout=2.0) as hive:  # as long as the application
        yield {"hive": hive}


app = FastAPI(lifespan=lifespan)


def status_of(error: hivemind.HivemindError) -> int:
    """502 where the responder raised, 503 where it may go well later; all else is a mistake of ours."""
    if isinstance(error, hivemind.RemoteError):
        return 502
    return 503 if isinstance(error, hivemind.RedisError | hivemind.SendError | hivemind.RequestError) else 500


@app.post("/orders", status_code=202)
async def order(wanted: Order, request: Request) -> dict[str, bool]:
    hive: hivemind.AsyncClient = request.state.hive
    hive.send("order.new", wanted, durable=True)
    await hive.flush(timeout=2.0)  # now Redis has it: it will be handled, whoever is down
    return {"ordered": True}


@app.exception_handler(hivemind.HivemindError)
async def not_now(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, hivemind.HivemindError)
    return JSONResponse({"ordered": False, "why": str(error)}, status_code=status_of(error))
