"""The parts of the documentation that are made from the code. ``python -m tests.docs_made`` writes them anew.

On a page such a part lies between ``<!-- made: NAME -->`` and ``<!-- made -->``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hivemind.constants import Constants, NodeTuning
from hivemind.states import DELIVERY, DRILL, LINK, NODE, SERVICE

from .docs_site import NAMES

DOCS = Path(__file__).resolve().parent.parent / "docs"
LOG_FOLDER = "the platform's log folder and the hive's name"
_PART = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- made -->)", re.DOTALL)


def diagram(table: Mapping[Any, frozenset[Any]]) -> str:
    """The mermaid state diagram of one of the tables in ``hivemind/states.py``."""
    states: list[StrEnum] = list(table)
    rows = [f"    [*] --> {states[0]}"]
    rows += [f"    {state} --> {after}" for state in states for after in states if after in table[state]]
    rows += [f"    {state} --> [*]" for state in states if not table[state]]
    return "\n".join(["```mermaid", "stateDiagram-v2", *rows, "```"])


def table_of(model: type[BaseModel]) -> str:
    """Every field of a settings model with its default and its description."""
    rows = [f"| `{name}` | {_default(field)} | {_escaped(field)} |" for name, field in model.model_fields.items()]
    return "\n".join(["| name | default | what it is |", "|---|---|---|", *rows])


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return LOG_FOLDER
    if isinstance(field.default, str):
        return f'`"{field.default}"`'
    return f"`{field.default!r}`"


def _escaped(field: FieldInfo) -> str:
    return (field.description or "").replace("<", "&lt;")


BREAKS = {
    "kill node": "a node is killed",
    "kill root": "the root is killed",
    "freeze root": "the root hangs",
    "freeze hived": "hived stands still for 8 s",
    "freeze supervisord": "supervisord stands still for 8 s",
    "kill probe": "a reader is killed with durable work in hand",
    "kill hived": "hived is killed",
    "kill supervisord": "supervisord is killed",
    "kill redis": "Redis is killed, and has its disk",
    "freeze node": "a node hangs",
    "freeze probe": "a reader stands still, and goes on when others took over",
    "freeze redis": "Redis stands still for 8 s",
    "slow redis": "Redis stands still four fifths of the time, for 8 s",
    "cut node": "a node's connections are cut for 5 s",
    "cut redis": "all connections are cut for 5 s",
    "flush redis": "Redis loses everything",
    "fill redis": "Redis has no memory left for 5 s",
    "fill disk": "the disk of Redis has no room left for 4 s",
    "slow disk": "the disk of Redis takes 1.5 s for each fsync, for 8 s",
    "kill slow redis": "Redis is killed while its disk takes 1.5 s for each fsync",
    "failover sentinel": "the primary is replaced by Sentinels",
    "failover cluster": "the primary of a Cluster is replaced",
    "storm": "half of all nodes are killed, and all connections cut",
}


def drills() -> str:
    """What is lost at the most when something breaks, when all is back, and what the last run measured."""
    found = json.loads((DOCS / "drills.json").read_text(encoding="utf-8"))
    head = ["| what breaks | you lose at most | noticed | back | in the last run |", "|---|---|---|---|---|"]
    slow = found["drills"][0]["limits"]["stretch"]
    busy = f", on a machine so busy that it starts nodes {slow:g} times slower than it should: times are judged so"
    note = f"Measured on {found['server']}{busy if slow > 1 else ''}."
    return "\n".join([*head, *(_drill(one) for one in found["drills"]), "", note])


def _drill(one: Mapping[str, Any]) -> str:
    limits = one["limits"]
    lost = {0.0: "nothing", None: "what Redis held"}.get(
        limits["lost"], f"{limits['lost']} s of what Redis had confirmed"
    )
    back = f"{limits['back']:g} s{' after it is over' if limits['from_end'] else ''}"
    times = " / ".join("never" if one[what] is None else f"{one[what]:.1f} s" for what in ("noticed", "back"))
    figures = f"{times}; of {one['sent']:,} messages {one['lost']:,} lost, {one['doubled']:,} doubled"
    return f"| {BREAKS[one['fault']]} | {lost} | {limits['noticed']:g} s | {back} | {figures} |"


def outage() -> str:
    """What came of the same breaks for each of those that are compared."""
    found = json.loads((DOCS / "outage.json").read_text(encoding="utf-8"))
    head = "| what breaks | | back | the last of before | refused | lost | doubled | started again |"
    made = "; ".join(f"{name} {value}" for name, value in found["about"].items())
    rows = [head, "|---|---|---|---|---|---|---|---|", *(_outcome(one) for one in found["outcomes"])]
    return "\n".join([*rows, "", f"{made[:1].upper()}{made[1:]}."])


def _outcome(one: Mapping[str, Any]) -> str:
    times = ["never" if one[what] is None else f"{one[what]:.1f} s" for what in ("back", "settled")]
    counts = [f"{one[what]:,}" for what in ("refused", "lost", "doubled", "started")]
    return f"| {' | '.join([one['what'], one['who'], *times, *counts])} |"


def public_names() -> str:
    """Every public name with what it is, in one sentence."""
    rows = [row for group, names in NAMES.items() for row in ("", f"## {group}", "", *map(_named, names))]
    return "\n".join(rows[1:])


def _named(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    text = " ".join((getattr(import_module(module), attribute).__doc__ or "").partition("\n\n")[0].split())
    return f"- `{name}`: {text.replace('``', '`')}"


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": lambda: table_of(Constants),
    "tuning": lambda: table_of(NodeTuning),
    "node_states": lambda: diagram(NODE),
    "service_states": lambda: diagram(SERVICE),
    "link_states": lambda: diagram(LINK),
    "delivery_states": lambda: diagram(DELIVERY),
    "drill_stages": lambda: diagram(DRILL),
    "drills": drills,
    "outage": outage,
    "public_names": public_names,
}


def remade(text: str) -> str:
    """``text`` with every made part as the code makes it now."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def parts_of(page: Path) -> Iterator[str]:
    """The names of the made parts of a page."""
    yield from (found[2] for found in _PART.finditer(page.read_text(encoding="utf-8")))


def main() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        if remade(text) != text:
            page.write_text(remade(text), encoding="utf-8")


if __name__ == "__main__":
    main()
