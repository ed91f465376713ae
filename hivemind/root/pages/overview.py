"""Is the hive well, and if not: what is not, and what to do? And how it was, in the last hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from ...english import amount, duration
from ...picture.past import HOUR, RECENT, STEP, Event, Past, Step, What
from ..drawing import Frame, area, bars, line, thinned, ticks
from ..wording import clock, count, rate
from .page import Item, Visit, frame, item

EVENTS = 20  #: that are shown at once
PROBLEMS = 50  #: of what is not well; more are counted
JUMP = 60  #: seconds by which a link goes back or forth
MARGIN = 3 * STEP  #: seconds for which a step speaks of what comes after it
WIDTH, HEIGHT = 120, 32  #: of a small drawing
BROAD, TALL = 720, 72  #: of that of the hour
COARSE = 20.0  #: seconds of it that are one point
VERBS: Mapping[What, tuple[str, str]] = {
    What.CAME: ("came", "well"),
    What.AGAIN: ("came again", "note"),
    What.LEFT: ("left", "unknown"),
    What.LOST: ("was lost", "trouble"),
    What.SILENT: ("", "trouble"),
    What.ANEW: ("began anew, or another took its place", "trouble"),
}


class Overview:
    """``/``; with ``?at=`` and unix seconds as it was then."""

    path, template, label = "/", "index.html", "Overview"

    async def tree(self, visit: Visit) -> Item:
        """The hive in one sentence, what there is to say of it, worst first, its figures and what happened."""
        health, past = visit.snapshot.health, visit.snapshot.past
        now = visit.snapshot.read_at or visit.now
        at = moment(visit.query.get("at", ""), now)
        found = [("trouble", text) for text in health.troubles] + [("note", text) for text in health.notes]
        end = now if at is None else at
        then = None if at is None else step_at(past, at)
        if at is not None:
            found = [(state, text) for state, texts in said_in(then) for text in texts]
        problems = [_problem(state, text, "" if at else health.todo.get(text, "")) for state, text in found[:PROBLEMS]]
        if len(found) > PROBLEMS:
            problems.append(_problem(found[PROBLEMS][0], f"and {len(found) - PROBLEMS:,} more", ""))
        fields = {"running": count(health.running), "nodes": count(health.nodes), **_travel(past, now, at)}
        happened = [one for one in past.events if one.at <= end + STEP][-EVENTS:]
        lists = {
            "problems": problems,
            "figures": _figures(past.until(end), end),
            "events": [_event(one) for one in reversed(happened)],
        }
        return frame(visit, fields | ({} if at is None else _then(visit.snapshot.hive, then)), lists, _level(at, then))


def step_at(past: Past, at: float) -> Step | None:
    """The step that speaks of a moment; None where nobody looked."""
    steps = past.until(at)
    return steps[-1] if steps and at - steps[-1].at <= MARGIN else None


def said_in(step: Step | None) -> Sequence[tuple[str, Sequence[str]]]:
    """What was not well then, and what was worth a look."""
    return (("trouble", step.troubles), ("note", step.notes)) if step is not None else ()


def _then(hive: str, step: Step | None) -> dict[str, str]:
    """The sentence of then, in the place of that of now."""
    if step is None:
        return {"health": f"Nobody looked at {hive} then.", "level": "cannot be seen"}
    ran = f"{hive} was well: {amount(round(step.instances), 'instance')} ran"
    said = "; ".join(text for _, texts in said_in(step) for text in texts)
    told = "; ".join(filter(None, (ran, said)))
    if step.level == "trouble":
        told = f"{hive} was not well: {said}" if said else f"{hive} was not well"
    return {"health": f"{told}.", "level": step.level}


def _level(at: float | None, step: Step | None) -> str | None:
    """The colour of the page, where it is not that of now."""
    return None if at is None else step.level if step is not None else "unknown"


def moment(asked: str, now: float) -> float | None:
    """The moment that an address asks for, within the last hour; None for now. Raises ValueError for what is none."""
    if not asked:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) < 12):
        raise ValueError("at: write unix seconds, such as 1795321514")
    return max(now - HOUR, min(now, float(asked)))


def _problem(state: str, text: str, todo: str) -> Item:
    return item(text, state, {"text": text, "todo": todo})


def _travel(past: Past, now: float, at: float | None) -> dict[str, str]:
    """The hour as a drawing, and where in it we are."""
    steps, end = thinned(past.until(now, HOUR), COARSE), now if at is None else at
    most = max([1.0, *(max(one.sent, one.received) for one in steps)])
    view = Frame(now, HOUR, BROAD, TALL, most)
    bad = [one.at for one in past.events if VERBS[one.what][1] == "trouble"]
    return {
        "then": "" if at is None else f"As it was at {clock(at)}, {duration(now - at)} ago",
        "back": "" if at is None else "?",
        "earlier": f"?at={int(max(now - HOUR, end - JUMP))}",
        "later": f"?at={int(at + JUMP)}" if at is not None and at + JUMP < now else "",
        "at": str(int(end)),
        "first": str(int(now - HOUR)),
        "last": str(int(now)),
        "moment": clock(end),
        "cursor": view.x(end),
        "sent": line(view, steps, lambda one: one.sent),
        "under": area(view, steps, lambda one: one.sent),
        "received": line(view, steps, lambda one: one.received),
        "trouble": bars(view, [one for one in steps if one.level == "trouble"]),
        "happened": ticks(view, (one.at for one in past.events if one.at not in bad), 8),
        "lost": ticks(view, bad, 14),
        "most": rate(most) if steps else "",
    }


def _figures(steps: Sequence[Step], end: float) -> list[Item]:
    last = steps[-1] if steps and end - steps[-1].at <= MARGIN else None
    lost = sum(one.lost for one in steps)

    def figure(key: str, name: str, value: str, of: Callable[[Step], float], state: str = "") -> Item:
        view = Frame(end, RECENT, WIDTH, HEIGHT, max([1.0, *map(of, steps)]))
        drawn = {"line": line(view, steps, of), "under": area(view, steps, of)}
        return item(key, state, {"name": name, "value": "–" if last is None else value, **drawn})

    seen = last or Step(end)
    return [
        figure("sent", "sent", rate(seen.sent), lambda one: one.sent),
        figure("received", "received", rate(seen.received), lambda one: one.received),
        figure("lost", "lost in 10 min", count(round(lost)), lambda one: one.lost, "trouble" if lost else ""),
        figure("lag", "lag", count(round(seen.lag)), lambda one: one.lag),
        figure("letters", "dead letters", count(round(seen.letters)), _letters, "note" if seen.letters else ""),
        figure("instances", "instances", count(round(seen.instances)), lambda one: one.instances),
    ]


def _letters(step: Step) -> float:
    return step.letters


def _event(event: Event) -> Item:
    verb, state = VERBS[event.what]
    node = event.who.rpartition(".")[0]
    fields = {
        "at": clock(event.at),
        "then": f"?at={int(event.at)}",
        "who": event.who if node else "",
        "page": f"/nodes/{quote(node, safe='')}" if node else "",
        "other": "" if node else event.who,
        "what": verb,
        "why": event.why,
    }
    return item(f"{event.at}/{event.what}/{event.who}", state, fields)
