"""``python -m benchmarks``, which is `make bench`: measures, prints a table and a line of JSON, writes the pages."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from . import machine, pages, report
from .bench import Bench
from .rounds import Outcome, run
from .rows import QUICK, ROWS
from .servers import nats_server

LONG, BRIEF = Bench(), Bench(warmup=0.3, seconds=1.0, is_quick=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help=f"One short round of {', '.join(QUICK)}: under a minute.")
@click.option("--rows", multiple=True, type=click.Choice(list(ROWS)), help="These rows; may be given again.")
@click.option("--rounds", type=click.IntRange(1), help="How many rounds, in place of each row's own.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON there, too.")
@click.option("--write-docs", is_flag=True, help="Rewrite what docs/ says of these rows, and its pictures.")
def main(quick: bool, rows: Sequence[str], rounds: int | None, json_file: Path | None, write_docs: bool) -> None:
    """Measure Hivemind beside its peers. Ends with exit code 1 when a mark is missed or a case failed."""
    if quick and write_docs:
        raise click.UsageError("--quick measures too briefly for the documentation: leave out --quick or --write-docs")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    about = machine.about()
    for name, value in about.items():
        say(f"{name}: {value}")
    if nats_server() is None:
        say("!!! nats-server is not on PATH: GOING ON WITHOUT nats-py")
    bench = BRIEF if quick else LONG
    chosen = [ROWS[key] for key in rows or (QUICK if quick else ROWS)]
    say(f"rows: {', '.join(row.key for row in chosen)}")
    outcomes: list[Outcome] = []
    try:
        for row in chosen:
            outcomes.append(outcome := Outcome(row))
            say(f"\n{row.key}: {row.title}")
            run(outcome, bench, rounds or (1 if quick else row.rounds), say)
    except KeyboardInterrupt:
        say("interrupted; what was measured until then:")
        sys.exit(130)
    finally:
        tell(about, outcomes, json_file)
    if write_docs:
        document(about, outcomes)
    sys.exit(any(outcome.is_wanting for outcome in outcomes))


def tell(about: dict[str, str], outcomes: Sequence[Outcome], json_file: Path | None) -> None:
    """Say what was measured, in a table and in a line of JSON."""
    say(report.as_text(outcomes))
    line = report.as_json(about, outcomes)
    say(f"\n{line}")
    if json_file is not None:
        json_file.write_text(f"{line}\n", encoding="utf-8")


def interrupted(number: int, frame: object) -> None:
    """Ends everything that was started; once is enough, so that nothing ends the ending."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def document(about: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    """Write what was measured into docs/. A row of which a case failed keeps there what it had."""
    from .plots import draw  # noqa: PLC0415 - only here is the plotting library needed

    by_key = {outcome.row.key: outcome for outcome in outcomes if not outcome.faults}
    for path in [*pages.write(pages.parts(about, by_key)), *draw(by_key, pages.DOCS)]:
        say(f"wrote {path.relative_to(pages.DOCS.parent)}")


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
