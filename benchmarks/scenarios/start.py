"""How long one waits: for the first message of a node that is started, and for `hm --help`. In seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

import hivemind

from ..bench import READY, Bench, Case, Readings, stage
from ..processes import environment, node
from ..task import Task

FIRST, HELP = "node start to first message", "hm --help"


def first(bench: Bench) -> Readings:
    """From starting the process to the message's arrival at a client that listens already."""
    with (
        stage() as (server, processes),
        hivemind.connect(server.url) as hive,
        hive.subscribe("first") as messages,
    ):
        began = time.perf_counter()
        processes.start(node("first"), Task(server.url, ""))
        if messages.receive(READY) is None:
            processes.check()
            raise TimeoutError("no first message")
        return {FIRST: time.perf_counter() - began}


def help_(bench: Bench) -> Readings:
    """The whole command."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "hivemind.cli.hm", "--help"]
    subprocess.run(command, env=environment(Task("", "")), stdout=subprocess.DEVNULL, check=True)
    return {HELP: time.perf_counter() - began}


CASES: Mapping[str, Case] = {FIRST: Case(first, (FIRST,)), HELP: Case(help_, (HELP,))}
