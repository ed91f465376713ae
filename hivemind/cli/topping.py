"""`hm top`: the picture that the root's page shows, drawn in a terminal.

::

    registry, streams, hived ─► Monitor ─► snapshot ─► Sheet ─► lines ─► Writer ─► the terminal
                                                 keys ─► View ──┘         a thread

The terminal is put back as it was, however it ends, but for SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from ..bus.bus import Bus
from ..bus.endpoint import Endpoint
from ..cancelling import end
from ..data.registry import NOTICES, Registry, told_of
from ..node.runner import new_loop
from ..picture.health import Level
from ..picture.monitor import Monitor
from ..picture.past import Step
from ..picture.snapshot import Snapshot
from ..picture.source import HiveSource
from ..settings import Settings
from ..supervisor.engine import redis_url
from . import output
from .context import redis_address
from .nodes import no_such_node
from .reading import quiet, read_instances
from .streams import Writer, stop_on_signals
from .top_rows import NODES as NODE_COLUMNS
from .top_rows import TOPICS as TOPIC_COLUMNS
from .top_rows import Sheet, as_object, node_sheets, nodes_sheet, topics_sheet, totals
from .top_view import NODE, TOPICS, View, heading, keys_in, pressed

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  #: a screen of its own without a cursor, and back
#: to the upper left corner; wipe the rest of a line, and what is below
HOME, REST, BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
PATIENCE = 3.0  #: beats that who looks once waits for rates
GOODBYE = 1.0  #: seconds in which a terminal has to take what puts it back
COLOURS = {Level.WELL: "green", Level.NOTE: "yellow", Level.TROUBLE: "red", Level.UNKNOWN: "red"}
HELP = "↑↓ choose  Enter open  Esc back  Tab nodes/topics  s sort  / filter  q quit"


class Onlooking(HiveSource):
    """Where a monitor looks that leaves no trace: a root keeps the past."""

    async def past(self, finished: Sequence[Step]) -> Sequence[Step]:
        """Nothing is written."""
        del finished
        return ()


def show(settings: Settings, view: View, *, is_live: bool, as_json: bool) -> None:
    """Show it until Ctrl-C, SIGTERM or q; once, where it is not ``is_live``, or nobody looks on.

    Raises RedisError in words that say what to do, and ClickException where there is no such node.
    """
    quiet()
    known = {name for one in read_instances(settings) for name in (one.node, *one.nodes)}
    is_once = as_json or not is_live or not sys.stdout.isatty()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_show(settings, view, known, is_once=is_once, as_json=as_json))


async def _show(settings: Settings, view: View, known: set[str], *, is_once: bool, as_json: bool) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    endpoint = Endpoint.parse(redis_url(settings), settings.var)
    async with Bus(endpoint, settings.name, f"hm-top-{secrets.token_hex(4)}.0") as bus:
        source = Onlooking(bus, Registry(bus.commands, bus.functions, bus.names), settings)
        heartbeat = settings.constants.HEARTBEAT
        monitor = Monitor(source, settings.name, redis_address(settings), every=heartbeat)
        bus.live.listen(bus.names.control(NOTICES), lambda body: monitor.notice(told_of(body)))
        running = asyncio.create_task(monitor.run(), name="monitor")
        try:
            if is_once:
                _print(await _with_rates(monitor, stop, PATIENCE * heartbeat), settings, view, known, as_json)
            else:
                await _Screen(monitor, view, stop).run()
        finally:
            monitor.close()
            await end(running)


async def _with_rates(monitor: Monitor, stop: asyncio.Event, patience: float) -> Snapshot:
    """The hive as soon as all that live have beaten twice, so that there are rates."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            async for snapshot in monitor.updates():
                views = [view for view in snapshot.instances if not view.record.is_lost]
                rates = [one.rate for view in views for one in view.services]
                rates += [one.rate for view in views for one in view.subscriptions]
                rates += [one.rate for view in views for one in view.responders]
                if stop.is_set() or (snapshot.read_at is not None and None not in rates):
                    break
    return monitor.snapshot


def _print(snapshot: Snapshot, settings: Settings, view: View, known: set[str], as_json: bool) -> None:
    if as_json:
        output.as_json(as_object(snapshot))
        return
    sheets = _sheets(snapshot, view)
    if not sheets:
        raise no_such_node(view.node, known, settings)
    output.say(snapshot.health.sentence, COLOURS[snapshot.health.level])
    output.say(totals(snapshot))
    for sheet in sheets:
        output.say()
        rows = [row.cells(sheet.columns) for row in sheet.rows]
        output.table([*sheet.columns], rows, styles=[row.style for row in sheet.rows])


def _sheets(snapshot: Snapshot, view: View) -> list[Sheet]:
    if view.kind == NODE:
        return node_sheets(snapshot, view.node, time.time())
    sheet = topics_sheet(snapshot) if view.kind == TOPICS else nodes_sheet(snapshot)
    return [sheet.arranged(view.sort, view.wanted)]


class _Screen:
    """The terminal while somebody looks on; ``stop`` ends it."""

    def __init__(self, monitor: Monitor, view: View, stop: asyncio.Event) -> None:
        self._monitor, self._view, self._stop = monitor, view, stop
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Draw whenever something has changed. Raises OSError when the terminal is gone."""
        loop, writer = asyncio.get_running_loop(), Writer()
        following = asyncio.create_task(self._follow())
        stopping = asyncio.create_task(self._stop.wait())
        with suppress(NotImplementedError, AttributeError):
            loop.add_signal_handler(signal.SIGWINCH, self._changed.set)
        with _keys_at_once(self._typed):
            try:
                await writer.write(ENTER.encode())
                while not self._stop.is_set():
                    self._changed.clear()
                    drawing = asyncio.ensure_future(writer.write(self._picture().encode(errors="replace")))
                    await asyncio.wait((drawing, stopping), return_when="FIRST_COMPLETED")
                    if drawing.done():
                        drawing.result()
                    changing = asyncio.create_task(self._changed.wait())
                    await asyncio.wait((changing, stopping), return_when="FIRST_COMPLETED")
                    await end(changing)
            finally:
                await end(following)
                await end(stopping)
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await writer.write(LEAVE.encode())

    async def _follow(self) -> None:
        async for _ in self._monitor.updates():
            self._changed.set()

    def _typed(self, typed: str) -> None:
        """What was typed; "" when the terminal is gone."""
        if not typed:
            self._stop.set()
        for key in keys_in(typed):
            sheet = (_sheets(self._monitor.snapshot, self._view) or [Sheet({}, ())])[0]
            names = [str(row.values[sheet.key]) for row in sheet.rows]
            view = pressed(self._view, key, names, [*sheet.columns])
            if view is None:
                self._stop.set()
                return
            self._view = view
        self._changed.set()

    def _picture(self) -> str:
        width, height = _size()
        lines = [*_head(self._monitor.snapshot, self._view, width)]
        foot = f"filter: {self._view.wanted}▏" if self._view.is_typing else HELP
        lines += _body(self._monitor.snapshot, self._view, width, max(1, height - len(lines) - 2))
        lines += [""] * (height - len(lines) - 1)
        shown = [*lines[: height - 1], _styled(foot[: width - 1], "dim")]
        return HOME + f"{REST}\r\n".join(shown) + REST + BELOW


def _head(snapshot: Snapshot, view: View, width: int) -> Iterator[str]:
    columns = [*TOPIC_COLUMNS] if view.kind == TOPICS else [*NODE_COLUMNS]
    clock = time.strftime("%H:%M:%S")
    yield _styled(_cut(f"{clock}  {snapshot.health.sentence}", width - 1), COLOURS[snapshot.health.level])
    yield _cut(totals(snapshot), width - 1)
    yield ""
    yield _styled(output.printable(heading(view, columns))[: width - 1], "cyan")


def _cut(text: str, width: int) -> str:
    """As much of it as there is room for; a mark where that is not all."""
    shown = output.printable(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def _body(snapshot: Snapshot, view: View, width: int, height: int) -> Iterator[str]:
    sheets = _sheets(snapshot, view)
    if not sheets:
        yield f"nobody knows a node called {output.printable(view.node)}"
    for at, sheet in enumerate(sheets):
        if at:
            yield ""
        names = [str(row.values[sheet.key]) for row in sheet.rows]
        chosen = (names.index(view.chosen) if view.chosen in names else 0) if view.kind != NODE else -1
        most = max(1, height - 1)
        first = max(0, min(chosen - most // 2, len(names) - most))  # the chosen one stays in sight
        part = sheet.rows[first : first + most]
        cells = [row.cells(sheet.columns) for row in part]
        yield from output.drawn([*sheet.columns], cells, [row.style for row in part], width - 1, chosen - first)


def _size() -> tuple[int, int]:
    try:
        width, height = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        width, height = 0, 0
    return width or 80, height or 24


def _styled(text: str, style: str) -> str:
    return output.styled(text, style) if output.coloured(sys.stdout) else text


@contextmanager
def _keys_at_once(typed: Any) -> Iterator[None]:
    """Let keys come without Enter, and unseen; on the loop. Where there is no such terminal, none come."""
    try:
        import termios
        import tty

        file = sys.stdin.fileno()
        before = termios.tcgetattr(file)
    except (ImportError, OSError, ValueError, termios.error):
        yield
        return
    loop = asyncio.get_running_loop()
    changed = termios.tcgetattr(file)
    changed[6][termios.VSUSP] = b"\x00"  # Ctrl-Z would leave the terminal as it is now
    termios.tcsetattr(file, termios.TCSADRAIN, changed)
    tty.setcbreak(file, termios.TCSADRAIN)

    def read() -> None:
        try:
            data = os.read(file, 1024)
        except OSError:
            data = b""
        if not data:
            loop.remove_reader(file)
        typed(data.decode(errors="replace"))

    loop.add_reader(file, read)
    try:
        yield
    finally:
        loop.remove_reader(file)
        termios.tcsetattr(file, termios.TCSADRAIN, before)
