"""Going back: a program whose new version is not well runs the code of the last release with which all was well.

The files of the hive stay as they are, to be mended. The program gets the folder of the release in its environment, and
a link there for each file beside the code that is no Python, since a release holds none of those.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..node.loaded import RELEASE
from .archive import all_there
from .check import unloadable
from .client import SupervisorClient
from .engine import Engine
from .files import read_json, time_of
from .plan import load
from .releases import ELSEWHERE, Release, hash_of, hive_files, last_good, promote, releases
from .topology import Problem, Program
from .writing import write


def way_back(engine: Engine) -> Release | None:
    """The release to go back to from what the files are now; None if there is none.

    What was applied last, and has changed since, is one too, if all is well with it now, however new it is.
    """
    paths = engine.paths
    with suppress(OSError):
        now = hash_of(hive_files(paths.hive))
        if paths.draft.exists() and hash_of(hive_files(paths.draft / "files")) != now and all_there(engine) is not None:
            promote(paths)
        return last_good(paths)
    return None


def sent_back(engine: Engine, old: Program, release: Release, fault: str) -> Program:
    """``old``, with its environment, and the code of that release, whatever the files of the hive are: they have that
    ``fault``.
    """
    complete(engine.paths.hive, release)
    return replace(old, env={**old.env, RELEASE: str(release.files)}, fault=fault)


def going_on(engine: Engine, old: Program, release: Release | None, fault: str) -> Program:
    """``old``, which goes on as it was because the files have that ``fault``: what it has in memory. Its next life,
    after a crash, has the code of ``release``.
    """
    return sent_back(engine, old, release, fault) if release is not None else replace(old, fault=fault)


def going_on_despite(engine: Engine, old: Program, release: Release | None, problems: Mapping[str, Problem]) -> Program:
    """A program that goes on because of ``problems`` of its nodes; one that nodes share comes back without those."""
    fault = "; ".join(
        str(problems[name]) if old.sharing else problems[name].text for name in old.members if name in problems
    )
    return going_on(engine, whole(engine, old), None if old.sharing else release, fault)


def to_mend(engine: Engine, programs: Iterable[Program], problems: Mapping[str, Problem]) -> dict[str, int]:
    """The files whose change may solve ``problems`` of ``programs``, each with its time."""
    files = {str(engine.paths.hive / each.file) for each in problems.values() if each.file}
    files |= {file for each in programs for name, file in each.members.items() if name in problems and file}
    return {file: time_of(file) for file in files}


def release_of(engine: Engine, program: Program) -> Release | None:
    """The release that a program was sent back to, if it was and that is still there."""
    files = whole(engine, program).env.get(RELEASE) if RELEASE in program.env else None
    return next((each for each in releases(engine.paths) if str(each.files) == files), None)


def problems_in(engine: Engine, release: Release, programs: Iterable[Program]) -> dict[str, Problem]:
    """What is wrong, by node, with those of ``programs`` that would not load from ``release``."""
    wanted = {name for each in programs for name in each.members}
    nodes = [node for node in engine.nodes() if node.name in wanted]
    return unloadable(engine.paths.hive, nodes, {**engine.environ, RELEASE: str(release.files)})


def hold_back(engine: Engine, programs: Iterable[Program], problems: Mapping[str, Problem]) -> None:
    """Those of ``programs``, which run, with one of ``problems`` go on as they are, and are known to: their next life
    has the last good release, until a file is mended. The caller holds the lock. Raises SupervisorError, OSError.
    """
    olds = [each for each in programs if not problems.keys().isdisjoint(each.members)]
    if olds:
        release = way_back(engine)
        kept = {each.name: going_on_despite(engine, each, release, problems) for each in olds}
        stay(engine, engine.client(), kept, to_mend(engine, olds, problems))


def complete(hive: Path, release: Release) -> None:
    """Link what lies beside the code, in the folders that the release has, and is no code. Never raises."""
    for folder, folders, names in os.walk(release.files):
        here = Path(folder)
        there = hive / here.relative_to(release.files)
        with suppress(OSError):
            for each in there.iterdir():
                is_elsewhere = here == release.files and each.name in ELSEWHERE
                if is_elsewhere or each.suffix == ".py" or each.name.startswith((".", "__pycache__")):
                    continue
                if each.name not in {*folders, *names}:
                    (here / each.name).symlink_to(each)


def whole(engine: Engine, program: Program) -> Program:
    """A program with the environment that a plan on disk leaves out."""
    if not program.env:
        return program
    return replace(program, env=read_json(engine.paths.program_env(program.name)) or {})


_ONE = threading.Lock()  # copies that are rolled side by side go back side by side


def stay(
    engine: Engine, client: SupervisorClient, olds: Mapping[str, Program], mending: Mapping[str, int] | None = None
) -> None:
    """Let plan and supervisord's configuration have these programs as they were, and the plan more files that are
    ``mending``. Raises SupervisorError, OSError.
    """
    with _ONE:
        plan = load(engine.paths)
        programs = [olds[each.name] if each.name in olds else whole(engine, each) for each in plan.programs]
        write(engine, replace(plan, programs=tuple(programs), mending={**plan.mending, **(mending or {})}))
        client.reload()


def told(release: Release) -> str:
    """Which it is, for people."""
    return f"release {release.number} of {time.strftime('%Y-%m-%d %H:%M', time.localtime(release.made))}"
