"""How a process runs a node: settings, Redis, logging, the event loop, signals."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import importlib
import io
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import unquote, urlsplit

from .. import log
from ..bus.bus import Bus
from ..bus.credentials import NODE, OPERATOR, ROOT, has_user
from ..bus.embedded import Embedded
from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..log_lines import form_of
from ..settings import Settings
from .base import BaseNode
from .life import Life, Place
from .loaded import note_loaded
from .places import raised_by_author, reason_of
from .pulse import pulse
from .signals import Signals

logger = logging.getLogger("hivemind.runner")

KEPT = 20_000  #: new containers that are there at once when the garbage collector looks at them
LATE, LOOK = 1.0, 0.01  #: seconds that a Redis which begins beside us may take for its socket, and between two looks
SUPERVISED = "HIVEMIND_SUPERVISED"  #: environment variable that hived sets for the nodes it starts


@dataclass(frozen=True, slots=True)
class How:
    """How a node is run: which copy of it, how chatty, and whether by hived; what ``fault`` the settings on disk have,
    if it runs with those that were applied last.
    """

    place: Place
    verbose: bool = False
    is_supervised: bool = False
    fault: str = ""


def run(node: BaseNode, settings: Settings, how: How) -> int:
    """Run ``node`` until SIGTERM, Ctrl-C or its own end, and return the exit code of the process: 0, or 1 when it
    could not start. Ctrl-C a second time ends it at once.
    """
    stop_logging = start_logging(node.name, settings, how)
    try:
        if how.fault:
            logger.warning("the settings are at fault, and those that were applied last hold: %s", how.fault)
        node._hm.bind()
        if how.place.relay is not None and settings.hive is not None:
            note_loaded(how.place.relay, settings.hive, is_successor=how.place.is_successor)
        calm_collector()
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_serve(node, settings, how))
    except Exception as error:
        logger.error("%s cannot run: %s", node.name, reason_of(error), exc_info=raised_by_author(error))
        return 1
    finally:
        stop_logging()


def cannot_run(node: str, settings: Settings, how: How, error: Exception) -> int:
    """Log why ``node`` cannot even be begun, where its log would be; the exit code of the process."""
    stop_logging = start_logging(node, settings, how)
    try:
        logger.error("%s cannot run: %s", node, reason_of(error))
        return 1
    finally:
        stop_logging()


def calm_collector() -> None:
    """Let the garbage collector never look again at what start-up made, and at messages only when many stay: looking
    at each few hundred of them while they pass took a sixth of a receiver's time.
    """
    gc.freeze()
    gc.set_threshold(KEPT, *gc.get_threshold()[1:])


def place_in(settings: Settings, node: str) -> Place:
    """The place of a copy started by hand: it comes after those that hived runs."""
    if settings.hive is None:
        return Place(0)
    tuning = settings.constants.NODES.get(node)
    return Place(tuning.replicas if tuning else 1)


def ensure_redis(settings: Settings) -> str:
    """Where the hive's Redis is; where REDIS_URL names none, its own is started first unless it runs."""
    return settings.redis_url or Embedded.of(settings).ensure()


def login_of(node: str, settings: Settings, how: How) -> str:
    """Who logs in at Redis where ``node`` runs: itself, as the root does; a node of which the hive knows nothing, and
    that somebody runs by hand, does so as that one's commands do.
    """
    who = ROOT if node == ROOT else f"{NODE}{node}"
    return who if how.is_supervised or has_user(settings.var, who) else OPERATOR


def wait_for_socket(url: str, limit: float = LATE) -> None:
    """Return when the socket of a Redis on this machine is there: hived begins it and us at once, and we may be faster.
    After ``limit`` seconds in any case.
    """
    parts, deadline = urlsplit(url), time.monotonic() + limit
    while parts.scheme == "unix" and not os.path.exists(unquote(parts.path)) and time.monotonic() < deadline:  # noqa: PTH110 - raises nothing
        time.sleep(LOOK)


def version() -> str:
    """The installed version of this library."""
    try:
        return metadata.version("hivemind-net")
    except metadata.PackageNotFoundError:
        return "0"


async def _serve(node: BaseNode, settings: Settings, how: How) -> int:
    asked = asyncio.Event()

    def ask() -> None:
        logger.info("stopping" if how.is_supervised else "stopping; once more ends it at once")
        asked.set()

    limit = settings.constants.STOP_TIMEOUT
    with Signals(ask, limit):
        url = await asyncio.to_thread(ensure_redis, settings)
        await asyncio.to_thread(wait_for_socket, url)
        bus = Bus(Endpoint.parse(url, settings.var, login_of(node.name, settings, how)), settings.name, node.name)
        life = Life(node, settings, bus, how.place, version())
        async with pulse(life, {} if how.is_supervised else os.environ):  # hived looks into the registry
            starting = asyncio.create_task(life.start())
            try:
                return await _until_asked(starting, asked, life)
            finally:
                await end(starting)
                await life.stop(limit)


async def _until_asked(starting: asyncio.Task[None], asked: asyncio.Event, life: Life) -> int:
    waits = [asyncio.ensure_future(asked.wait()), asyncio.ensure_future(life.ended.wait())]
    try:
        await asyncio.wait([starting, *waits], return_when="FIRST_COMPLETED")
        if starting.done() and (error := starting.exception()) is not None:
            logger.error("%s cannot start: %s", life.node.name, reason_of(error), exc_info=raised_by_author(error))
            return 1
        await asyncio.wait(waits, return_when="FIRST_COMPLETED")
        return 0
    finally:
        for wait in waits:
            wait.cancel()


def start_logging(node: str, settings: Settings, how: How) -> Callable[[], None]:
    """Let this process log as the node called ``node``; what is returned flushes and ends that."""
    constants = settings.constants
    stop = log.setup(
        level="DEBUG" if how.verbose else constants.LOG_LEVEL,
        file=settings.log_file(node, how.place.number) if how.is_supervised else None,
        max_bytes=constants.LOG_MAX_BYTE_SIZE,
        backups=constants.LOG_BACKUP_COUNT,
        terminal=not how.is_supervised,
        own_streams=how.is_supervised,
        form=form_of(constants.LOG_FORMAT, settings.name, f"{node}.{how.place.number}"),
    )
    if not how.is_supervised and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what a node prints is seen at once, also through a pipe
    if hasattr(faulthandler, "register"):
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    return stop


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed (it is optional, and does not exist for Windows), else of asyncio."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
