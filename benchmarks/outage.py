"""``python -m benchmarks.outage``, which is `make outage`: the same breaks for FastStream, for Celery and for Hivemind.

All of them do the same errand side by side, each with a Redis of its own. With ``--write-docs`` the outcome goes into
docs/outage.json, from which docs/performance.md is made.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from . import machine
from .contest import BREAKS, Contender, Outcome, contest
from .names import FASTSTREAM, OURS
from .pages import DOCS
from .processes import node, peer

CELERY = "Celery"
CELERY_WORKER = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.errand_celery", "worker", "--concurrency", "1"]
CONTENDERS = (
    Contender(OURS, node("errand_send"), node("errand_handle")),
    Contender(FASTSTREAM, peer("errand_fast_stream", "send"), peer("errand_fast_stream", "work")),
    Contender(CELERY, peer("errand_celery", "send"), CELERY_WORKER),
)
FILE = DOCS / "outage.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice([one.name for one in CONTENDERS]), help="May be given again.")
@click.option("--breaks", "chosen", multiple=True, type=click.Choice(list(BREAKS)), help="May be given again.")
@click.option("--write-docs", is_flag=True, help=f"Write docs/{FILE.name}.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep diaries and logs in this folder.")
def main(only: Sequence[str], chosen: Sequence[str], write_docs: bool, keep: Path | None) -> None:
    """Break Redis, and a worker, under each of them, and say what came of it. Takes about four minutes."""
    if write_docs and (only or chosen):
        raise click.UsageError("--write-docs is for all of them")
    contenders = [one for one in CONTENDERS if one.name in (only or [each.name for each in CONTENDERS])]
    about = machine.about()
    found: list[Outcome] = []
    for what in chosen or BREAKS:
        click.echo(f"\n{what}")
        for outcome in side_by_side(contenders, what, keep):
            found.append(outcome)
            click.echo(f"  {shown(outcome)}")
    if write_docs:
        shape = {"about": about, "outcomes": [one.to_json() for one in found]}
        FILE.write_text(json.dumps(shape, indent=1) + "\n", encoding="utf-8")
        click.echo(f"\nwrote {FILE.relative_to(DOCS.parent)}")


def side_by_side(contenders: Sequence[Contender], what: str, keep: Path | None) -> Iterator[Outcome]:
    """What came of it for each, in their order."""
    with tempfile.TemporaryDirectory(prefix="hm-outage-") as own, ThreadPoolExecutor(len(contenders)) as threads:
        place = (keep or Path(own)) / "-".join(what.replace(",", "").split())
        running = [threads.submit(contest, one, what, made(place / one.name)) for one in contenders]
        yield from (one.result() for one in running)


def made(folder: Path) -> Path:
    """An empty folder."""
    folder.mkdir(parents=True)
    return folder


def shown(one: Outcome) -> str:
    """One line."""
    back = "never back" if one.back is None else f"back after {one.back:.2f} s"
    settled = "" if one.settled is None else f", all of before done after {one.settled:.2f} s"
    started = f", started again {one.started} times" if one.started else ""
    return (
        f"{one.who:<12}{back}{settled}; {one.sent:,} sent, {one.refused:,} refused, {one.lost:,} lost, "
        f"{one.doubled:,} doubled{started}"
    )


if __name__ == "__main__":
    sys.exit(main())
