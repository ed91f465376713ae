"""Everything that the command line prints: answers on standard output, remarks and errors on standard error.

Colour only where a person reads: never through a pipe, nor with ``NO_COLOR``. What comes from the network is
made printable first, so that no payload can steer the terminal. rich is loaded with the first table on one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

WIDTH = 80  #: columns of a terminal that does not say how many it has
WHY, LEAST = (
    ("note", "error"),
    20,
)  #: the columns that say why a row is not as it should be, and how wide they are at least
MOST_OF_A_CELL = 40  #: columns of a terminal that a text gets at least, however long it is

_STYLES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
}


def say(text: str = "", style: str = "") -> None:
    """One line of the answer, on standard output."""
    _write(sys.stdout, text, style)


def note(text: str) -> None:
    """A remark that is not the answer, on standard error: which hive, a summary, what to do next."""
    _write(sys.stderr, text, "dim")


def progress(text: str, share: float | None = None) -> None:
    """How far something is, for a person who waits: on one line, again and again; through a pipe nothing. ``share`` is
    how much of it is done, from 0 to 1, where that is known.
    """
    if sys.stderr.isatty():
        line = printable(text) if share is None else f"{bar(share)} {min(1.0, max(0.0, share)):4.0%}  {printable(text)}"
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or WIDTH
        except (OSError, ValueError):
            width = WIDTH
        print(f"\r\x1b[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)


def bar(share: float, cells: int = 20) -> str:
    """A bar of so many cells, of which ``share`` is full."""
    full, rest = ("━", "┄") if (sys.stderr.encoding or "").lower().startswith("utf") else ("#", "-")
    done = round(min(1.0, max(0.0, share)) * cells)
    return full * done + rest * (cells - done)


def end_progress() -> None:
    """Wipe that line."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Something is not as it should be, but the command goes on."""
    _write(sys.stderr, f"warning: {text}", "yellow")


def error(text: str) -> None:
    """Why the command failed: ``error: ...`` on standard error, passwords as ``***``."""
    from ..constants import redact

    _write(sys.stderr, f"error: {redact(text)}", "red")


def traceback(error: BaseException | None) -> None:
    """The whole story of an error, on standard error; nothing for None."""
    from traceback import format_exception

    if error is not None:
        note("".join(format_exception(error)).rstrip())


def labelled(label: str, colour: str, text: str, style: str = "") -> None:
    """One line of a merged log, on standard output: who says it, in a colour of its own, and what."""
    label, text = f"{printable(label)} |", printable(text)
    if coloured(sys.stdout):
        label, text = styled(label, colour), styled(text, style)
    print(f"{label} {text}", file=sys.stdout, flush=True)


def usage(line: str, command: str) -> None:
    """How a command that was used wrongly is used, and where to read more."""
    _write(sys.stderr, f"{line}\nTry '{command} -h' for help.", "")


def as_json(value: Any) -> None:
    """``value`` as one JSON document on standard output: indented for a person, else on one line."""
    import orjson

    indent = orjson.OPT_INDENT_2 if sys.stdout.isatty() else 0
    text = orjson.dumps(value, default=str, option=indent | orjson.OPT_NON_STR_KEYS).decode()
    print(printable_json(text), file=sys.stdout, flush=True)


def json_text(value: Any) -> str:
    """``value`` as JSON on one line."""
    import orjson

    return printable_json(orjson.dumps(value, default=str).decode())


def write_lines(lines: Iterable[str]) -> None:
    """Many lines at once on standard output, as they are: whoever makes them has made them printable."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, styles: Sequence[str] = ()) -> None:
    """``rows`` under ``columns``; ``styles`` has a colour for each row, or "". Through a pipe nothing is cut off."""
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells, styles)
    else:
        _plain_table(columns, cells)


def drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str], width: int, chosen: int = -1
) -> list[str]:
    """A table as lines for a terminal that is so wide: a line a row, the ``chosen`` one reversed. Columns for which
    there is no room are left out, the last first; but the last of all, cut off, stays if it says why (``WHY``).
    """
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    wide = _fitted(columns, rows, width)
    columns, rows = [columns[at] for at in wide], [[row[at] for at in wide] for row in rows]
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for at, column in enumerate(columns):
        is_number = all(row[at][:1] in ("", "–") or row[at][:1].isdigit() for row in rows)
        shown.add_column(column, no_wrap=True, overflow="ellipsis", justify="right" if is_number and rows else "left")
    for at, row in enumerate(rows):
        style = styles[at] if at < len(styles) else ""
        cells = (
            Text(cell if len(cell) <= most else f"{cell[: most - 1]}…")
            for cell, most in zip(row, wide.values(), strict=True)
        )
        shown.add_row(*cells, style=f"{style} reverse" if at == chosen else style)
    is_plain = not coloured(sys.stdout)
    text = StringIO()
    Console(
        file=text,
        force_terminal=True,
        no_color=is_plain,
        width=width,
        highlight=False,
        markup=False,
        legacy_windows=False,
    ).print(shown)
    return text.getvalue().splitlines()


def _fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """Which columns there is room for, each with how wide it is; the last takes what is left."""
    wide = [min(MOST_OF_A_CELL, max(len(name), *(len(row[at]) for row in rows), 0)) for at, name in enumerate(columns)]
    last, says_why = len(wide) - 1, columns[-1] in WHY and any(row[-1] for row in rows)
    fitting = [count for count in range(1, len(wide) + 1) if sum(wide[:count]) + 2 * (count - 1) <= width]
    beside = [count for count in fitting if sum(wide[:count]) + 2 * count + LEAST <= width and count <= last]
    if last + 1 not in fitting and says_why and beside:
        wanted = [*range(beside[-1]), last]
        wide[last] = 0
    else:
        wanted = [*range(max([1, *fitting]))]
    rest = width - sum(wide[at] for at in wanted[:-1]) - 2 * len(wanted)
    return {at: wide[at] if at != wanted[-1] else max(wide[at], rest) for at in wanted}


class Listing:
    """A table that is printed in portions, each as wide as the first needs; nothing of it is kept."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._widths: list[int] = []

    def add(self, rows: Sequence[Sequence[object]]) -> None:
        """Print some more rows; the first with the names of the columns."""
        lines = [[printable(str(cell)).replace("\n", " ") for cell in row] for row in rows]
        if not self._widths and lines:
            lines.insert(0, [column.upper() for column in self._columns])
            self._widths = [max(len(line[at]) for line in lines) for at in range(len(self._columns))]
        write_lines(
            "  ".join(cell.ljust(width) for cell, width in zip(line, self._widths, strict=True)).rstrip()
            for line in lines
        )


def printable(text: str) -> str:
    """``text`` with control characters and lone surrogates spelled out: it cannot steer the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\n" else c.encode("unicode_escape").decode() for c in text)


def printable_json(text: str) -> str:
    """The same JSON, in which what could steer a terminal is escaped: of that JSON itself escapes some alone."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def styled(text: str, style: str) -> str:
    """``text`` in a colour, for who has asked ``coloured`` before."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style else text


def coloured(stream: TextIO) -> bool:
    """Whether ``stream`` is read by a person who wants colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def prepare() -> None:
    """Make both streams take any text, whatever their encoding is. Called once, before a command runs."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def finish() -> None:
    """Push out what was printed; raises BrokenPipeError if nobody reads it any more."""
    sys.stdout.flush()


def abandon() -> None:
    """Nobody reads standard output any more (`| head -1`): let the rest go nowhere, without complaints at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _write(stream: TextIO, text: str, style: str) -> None:
    text = printable(text)
    if style and coloured(stream):
        text = styled(text, style)
    print(text, file=stream, flush=True)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[column.upper() for column in columns], *([cell.replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=sys.stdout)
    sys.stdout.flush()


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for at, row in enumerate(rows):
        shown.add_row(*(Text(cell) for cell in row), style=styles[at] if at < len(styles) else "")
    Console(file=sys.stdout, no_color=not coloured(sys.stdout), highlight=False, markup=False).print(shown)
