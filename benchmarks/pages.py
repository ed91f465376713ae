"""The parts of the documentation that a run writes: between ``<!-- measured: NAME -->`` and ``<!-- measured -->``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from . import report
from .rounds import Outcome, short
from .scenarios import idle

DOCS = Path(__file__).resolve().parent.parent / "docs"
_PART = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- measured -->)", re.DOTALL)


def rewritten(text: str, parts: Mapping[str, str]) -> str:
    """``text`` with the parts that there are; the others stay as they were."""
    return _PART.sub(lambda part: f"{part[1]}\n{parts[part[2]]}\n\n{part[3]}" if part[2] in parts else part[0], text)


def write(parts: Mapping[str, str], folder: Path = DOCS) -> list[Path]:
    """Rewrite every page that has one of them, and return those that changed."""
    changed = []
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := rewritten(text, parts)) != text:
            page.write_text(new, encoding="utf-8")
            changed.append(page)
    return changed


def parts(about: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """What the pages say of each row; of the idle one twice."""
    found = {key: report.as_markdown(about, outcome) for key, outcome in outcomes.items()}
    return found | ({"cost": cost(outcomes["idle"])} if "idle" in outcomes else {})


def cost(outcome: Outcome) -> str:
    """The table of what idle nodes cost."""
    what = {
        idle.MEMORY: "memory (RSS), MiB",
        idle.CPU: "CPU, % of one core",
        idle.COMMANDS: "commands to Redis a second",
    }
    head = f"| | {' | '.join(idle.CASES)} |\n|---|{'---|' * len(idle.CASES)}"
    rows = [
        f"| {text} | {' | '.join(_cell(outcome, who, kind) for who in idle.CASES)} |" for kind, text in what.items()
    ]
    return "\n".join([head, *rows])


def _cell(outcome: Outcome, who: str, what: str) -> str:
    label = idle.label(who, what)
    return short(outcome.median(label)) if outcome.values(label) else ""
