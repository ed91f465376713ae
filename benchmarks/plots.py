"""Pictures of the outcome for the documentation, as SVG; the same figures give the same file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from .names import DISCARDING, OURS
from .rounds import Outcome
from .scenarios import fanout

ORANGE, GREY = "#c77700", "#8a8f98"  #: Hivemind, and others

mpl.rcParams["svg.hashsalt"] = "hivemind"
mpl.rcParams["svg.fonttype"] = "none"


def draw(outcomes: Mapping[str, Outcome], folder: Path) -> list[Path]:
    """Write a picture for each row that has one, and return their paths."""
    pictures = []
    if "rate" in outcomes:
        pictures.append(_save(bars(outcomes["rate"], "messages a second"), folder / "performance-rate.svg"))
    if "latency" in outcomes:
        figure = bars(outcomes["latency"], "microseconds, one way, when idle")
        pictures.append(_save(figure, folder / "performance-latency.svg"))
    if "fanout" in outcomes:
        pictures.append(_save(lines(outcomes["fanout"]), folder / "performance-fanout.svg"))
    return pictures


def bars(outcome: Outcome, axis: str) -> Figure:
    """One bar for each reading, from the least to the most round."""
    labels = outcome.labels()[::-1]
    middle = [outcome.median(label) for label in labels]
    spread = [
        [value - min(outcome.values(label)) for label, value in zip(labels, middle, strict=True)],
        [max(outcome.values(label)) - value for label, value in zip(labels, middle, strict=True)],
    ]
    figure = Figure(figsize=(8, 0.4 * len(labels) + 0.8), layout="constrained")
    axes = figure.subplots()
    colours = [ORANGE if label.startswith(OURS) else GREY for label in labels]
    axes.barh(labels, middle, xerr=spread, color=colours, ecolor="#444444", capsize=2)
    axes.set_xlabel(axis)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def lines(outcome: Outcome) -> Figure:
    """What Redis spends on a delivery, by the number of subscribers."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for kind, colour in ((OURS, ORANGE), (DISCARDING, GREY)):
        names = {size: fanout.cost(kind, size) for size in fanout.SIZES}
        points = [(size, outcome.median(name)) for size, name in names.items() if outcome.values(name)]
        axes.plot([size for size, _ in points], [value for _, value in points], "o-", color=colour, label=kind)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("subscribers")
    axes.set_ylabel("µs of Redis a delivery")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path
