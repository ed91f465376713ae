"""What is wrong with a hive's files and settings, in clauses. Pure."""

from __future__ import annotations

from ..english import MOST, listed
from . import remedies
from .declared import Declared

MANY_DO = {"goes on": "go on", "begins next": "begin next"}  #: what several do with the code of before
SHORT, LONG = 120, 320  #: characters of an error in a sentence, and of one that ends with what to write
TODO = ": write "  #: how such an end begins


def settings(should: Declared) -> list[str]:
    """What is wrong with the settings."""
    if not should.settings:
        return []
    return [f"the settings are at fault, and those applied last hold: {should.settings}; mend them and `hived reload`"]


def quarantined(should: Declared) -> dict[str, str]:
    """Which nodes do not run because of their files, each with what to do."""
    found = [f"{one.node} is quarantined: {str(one).removeprefix(f'{one.node}: ')}" for one in should.problems]
    found = found[:MOST] + ([f"{len(found) - MOST} more are quarantined"] if len(found) > MOST else [])
    found = [*found[:-1], f"{found[-1]} ({should.way_out})"] if found and should.way_out else found
    return dict.fromkeys(found, remedies.BROKEN)


def old_code(should: Declared) -> list[str]:
    """Who runs the code of before because its file is not well, by what is wrong with that."""
    names: dict[tuple[str, str], list[str]] = {}
    for each in should.programs.values():
        if each.old_code:
            names.setdefault((each.fault, each.old_code), []).append(each.name)
    found = [
        f"{listed(sorted(who))} {verb if len(who) == 1 else MANY_DO[verb]} with the code of before: {short(fault)}; "
        "mend the file and `hived reload`"
        for (fault, verb), who in names.items()
    ]
    return found[:MOST] + ([f"{len(found) - MOST} more files are not well"] if len(found) > MOST else [])


def short(error: str) -> str:
    """The last line of an error, which says what was raised; whole, or nearly, where it ends with what to write."""
    line = (error.strip().splitlines() or [""])[-1]
    most = LONG if TODO in line else SHORT
    return line if len(line) <= most else f"{line[: most - 1]}…"
