"""``python -m hivemind.node TARGET [--number N | --of N | --check]``: what hived's programs run, and other engines'.

``--check`` without a target asks whether what the settings name can be imported.

``NAME=TARGET NAME=TARGET --name PROCESS`` runs several nodes together in one process. The hive is the one that
HIVEMIND_HIVE names, else the one around the current folder.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from ..errors import HivemindError
from ..last_settings import last_settings, settings_or_applied
from ..settings import Settings, find_hive, load_settings
from .checking import Verdict, check, check_settings
from .life import Place
from .loading import load_target
from .relay import Relay
from .runner import SUPERVISED, How, place_in, run, start_logging
from .shared import SharedProcess

logger = logging.getLogger("hivemind.node")

MEMBER = re.compile(r"(?P<name>[A-Za-z][\w-]*)=(?P<target>.+)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or check one node; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hivemind.node", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="[NAME=]TARGET")
    parser.add_argument("--name", default="", help="what the hive calls it, or the process that several share")
    parser.add_argument("--number", type=int, default=None, help="run as exactly this copy")
    parser.add_argument("--of", type=copies, default=None, metavar="N", help="run as one of N copies, any that is free")
    parser.add_argument("--successor", action="store_true", help="take over from the copy that runs, when told")
    parser.add_argument("--verbose", action="store_true", help="log at DEBUG")
    parser.add_argument("--check", action="store_true", help="import it only; print JSON")
    chosen = parser.parse_args(arguments)
    if SUPERVISED in os.environ:
        faulthandler.enable(file=2)  # who dies of a SIGSEGV says where it was
    try:
        settings, fault = settings_here()
    except HivemindError as error:
        return complain(error)
    shared = members(chosen.targets)
    if (shared and not chosen.name) or len(chosen.targets) != len(shared or chosen.targets[:1]):
        parser.error("several nodes in one process: NAME=TARGET for each, and a --name for the process")
    if chosen.check:
        targets = [*shared.values()] or chosen.targets
        return (
            max(answer(check(target, settings)) for target in targets) if targets else answer(check_settings(settings))
        )
    if not chosen.targets:
        parser.error("name a node: package.module, package.module:Class or file.py")
    return start_shared(chosen, shared, settings, fault) if shared else start(chosen, settings, fault)


def settings_here() -> tuple[Settings, str]:
    """The settings of the hive that we are in. A program of hived's gets those that were applied last where these are
    at fault, and what that is: it was killed, and has to come back. Raises HivemindError.
    """
    if SUPERVISED not in os.environ:
        return load_settings(find_hive(Path.cwd(), None, os.environ)), ""
    return unless_middleware_is_missing(*settings_or_applied(os.environ))


def unless_middleware_is_missing(settings: Settings, fault: str) -> tuple[Settings, str]:
    """The same, unless MIDDLEWARE names what is not there, and named something else when it was applied last."""
    last = last_settings(settings.hive) if settings.hive is not None and settings.constants.MIDDLEWARE else None
    if last is None or last.constants.MIDDLEWARE == settings.constants.MIDDLEWARE:
        return settings, fault
    verdict = check_settings(settings)
    return (settings, fault) if verdict.ok else (last, verdict.reason)


def copies(text: str) -> int:
    """The number of copies that ``--of`` names."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("there has to be one copy at least")
    return number


def members(targets: Sequence[str]) -> dict[str, str]:
    """The members of a shared process: what is written as NAME=TARGET."""
    found = (MEMBER.fullmatch(target) for target in targets)
    return {one["name"]: one["target"] for one in found if one is not None}


def answer(verdict: Verdict) -> int:
    """Say in a line of JSON whether something can be loaded, or why not; return the exit code."""
    sys.stdout.write(f"{orjson.dumps(verdict).decode()}\n")  # the text, not the bytes: behind whatever the node printed
    return 0 if verdict.ok else 1


def start_shared(chosen: argparse.Namespace, shared: dict[str, str], settings: Settings, fault: str = "") -> int:
    """Run several nodes in this process until it stops."""
    try:
        process = SharedProcess(chosen.name, shared, settings)
    except HivemindError as error:
        return complain(error)
    return run(process, settings, replace(how(chosen, settings, chosen.name), fault=fault))


def start(chosen: argparse.Namespace, settings: Settings, fault: str = "") -> int:
    """Load a node and run it until it stops."""
    is_supervised = SUPERVISED in os.environ
    try:
        node = load_target(chosen.targets[0], settings).build()
        if chosen.name:
            node._hm.rename(chosen.name)
    except HivemindError as error:
        if not (is_supervised and chosen.name):
            return complain(error)
        stop_logging = start_logging(chosen.name, settings, How(Place(chosen.number or 0), is_supervised=True))
        logger.error("%s", error)
        stop_logging()
        return 1
    return run(node, settings, replace(how(chosen, settings, node.name), fault=fault))


def how(chosen: argparse.Namespace, settings: Settings, name: str) -> How:
    """Which copy it is to be, and what else was chosen."""
    relay = Relay.of(os.environ)
    place = place_in(settings, name)
    if chosen.of is not None:
        place = Place(0, is_fixed=True, copies=chosen.of)
    if chosen.number is not None:
        place = Place(chosen.number, is_fixed=True, relay=relay, is_successor=chosen.successor and relay is not None)
    return How(place, chosen.verbose, SUPERVISED in os.environ)


def complain(error: HivemindError) -> int:
    """Say why nothing can be run, where there is no log yet; return the exit code."""
    sys.stderr.write(f"error: {error}\n")
    return 1
