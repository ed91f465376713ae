"""The outcome as a table for the terminal, as Markdown for the documentation, and as one line of JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from .marks import Mark
from .rounds import Outcome, short

SIGNS = {True: "yes", False: "NO", None: "not measured"}
Line = tuple[str, str, str]


def readings(outcome: Outcome) -> list[Line]:
    """What was measured: label, median with its unit, spread."""
    lines = []
    for label in outcome.labels():
        values = outcome.values(label)
        spread = f"{short(min(values))} … {short(max(values))}" if len(values) > 1 else ""
        lines.append((label, f"{short(outcome.median(label))} {outcome.row.unit}".strip(), spread))
    return lines


def verdicts(outcome: Outcome) -> list[Line]:
    """What was wanted: in words, the value beside the mark, whether it is met."""
    return [
        (mark.what, f"{'-' if value is None else short(value)} (wanted {mark.bound} {mark.wanted:g})", SIGNS[is_met])
        for mark, value, is_met in outcome.verdicts()
    ]


def as_text(outcomes: Iterable[Outcome]) -> str:
    """For a terminal."""
    parts = []
    for outcome in outcomes:
        lines = [*readings(outcome), *verdicts(outcome)]
        widths = [max((len(line[column]) for line in lines), default=0) for column in range(3)]
        parts.append(f"\n{outcome.row.key}: {outcome.row.title}")
        parts += ["  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        parts += [f"  failed: {fault}" for fault in outcome.faults]
    return "\n".join(parts)


def as_markdown(about: Mapping[str, str], outcome: Outcome) -> str:
    """One row for a page: a line for each reading and each mark, and when and on what it was measured."""
    made = "; ".join(f"{name} {value}" for name, value in about.items())
    lines = [*readings(outcome), *map(_wanted, outcome.verdicts())]
    head = [f"| {outcome.row.title} | median, or ratio | least … most, or wanted |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines), "", f"{made[:1].upper()}{made[1:]}."])


def _wanted(verdict: tuple[Mark, float | None, bool | None]) -> Line:
    mark, value, is_met = verdict
    return mark.what, "" if value is None else f"**{short(value)}**", f"{mark.bound} {mark.wanted:g}: {SIGNS[is_met]}"


def as_json(about: Mapping[str, str], outcomes: Iterable[Outcome]) -> str:
    """One line, with every round."""
    rows = {
        outcome.row.key: {
            "unit": outcome.row.unit,
            "rounds": outcome.rounds,
            "median": {label: outcome.median(label) for label in outcome.labels()},
            "marks": [
                {"what": mark.what, "bound": mark.bound, "wanted": mark.wanted, "value": value, "met": is_met}
                for mark, value, is_met in outcome.verdicts()
            ],
            "faults": outcome.faults,
        }
        for outcome in outcomes
    }
    return orjson.dumps({"about": about, "rows": rows}).decode()
