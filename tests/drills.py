"""All drills in hives of their own: ``python -m tests.drills [--quick] [--json FILE]``, which is `make drills`.

Most are in a hive with its own Redis. Its disk is filled in one that has a small disk, where we are root, and slow in
one of its own, where there is a compiler; a primary is replaced in one behind Sentinels, and in one on a Cluster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .clusters import Cluster
from .conftest import may_make_namespaces
from .disk_kit import slow_disk, small_disk
from .hive_kit import SENDER, Hive, hive_in, well
from .sentinel import Guarded
from .servers import find_server, installed
from .slow_disk_drill import slow_disk_drills
from .waiting import eventually

Reports = list[dict[str, Any]]
ROOM = "48m"  #: what the append-only file of a drill needs, and the logs

LIMIT = 14 * 60.0  #: seconds
USUAL = "HEARTBEAT = 2.0\nLEASE = 6.0\nSTOP_TIMEOUT = 10.0"  #: the promises are those of a hive that sets nothing


@contextmanager
def a_hive(more: str = "") -> Iterator[Hive]:
    """A hive that sets nothing but ``more``, and is well."""
    with tempfile.TemporaryDirectory() as folder, hive_in(Path(folder) / "gotham", more=f"{USUAL}\n{more}") as hive:
        hive.node("batman", SENDER)
        hive.node("robin")
        hive.start()
        eventually(lambda: well(hive), within=60)
        yield hive


def run(hive: Hive, *words: str) -> Iterator[dict[str, Any]]:
    """The reports of `hm drill`, each shown as it comes."""
    command = hive.command("hm", "drill", *words, "--yes", "--json")
    with subprocess.Popen(
        command, cwd=hive.folder, env=hive.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            report = json.loads(line)
            print(shown(report), flush=True)
            yield report
        said = process.stderr.read()
        if process.wait() not in (0, 1) or "error:" in said:
            raise SystemExit(f"hm drill {' '.join(words)}: {said}")


def with_a_small_disk() -> Iterator[dict[str, Any]]:
    """The disk of a hive's Redis, filled."""
    if not may_make_namespaces():
        print("!!! fill disk: LEFT OUT, for that one has to be root", flush=True)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        small_disk(Path(folder) / "gotham/var", ROOM),
        hive_in(Path(folder) / "gotham", more=USUAL) as hive,
    ):
        hive.node("batman", SENDER)
        hive.start()
        eventually(lambda: well(hive), within=60)
        yield from run(hive, "fill", "disk")


def with_a_slow_disk() -> Iterator[dict[str, Any]]:
    """The disk of a hive's Redis, slowed down."""
    with tempfile.TemporaryDirectory() as folder, hive_in(Path(folder) / "gotham", more=USUAL) as hive:
        disk = slow_disk(Path(folder))
        if disk is None:
            print("!!! slow disk: LEFT OUT, for that one needs a C compiler", flush=True)
            return
        hive.environ |= disk.environment
        hive.node("batman", SENDER)
        hive.start()
        eventually(lambda: well(hive), within=60)
        for report in slow_disk_drills(hive.engine, disk):
            print(shown(report), flush=True)
            yield report


def with_replicas() -> Iterator[dict[str, Any]]:
    """A primary, replaced: by Sentinels, and in a Cluster."""
    binary = find_server(installed()[0])
    assert binary is not None
    with Guarded(binary) as guarded, a_hive(f"REDIS_URL = {guarded.url!r}") as hive:
        yield from run(hive, "failover")
    with Cluster(binary, replicas=3) as cluster, a_hive(f"REDIS_URL = {cluster.url!r}\nPATTERNS = 'resolved'") as hive:
        yield from run(hive, "failover")


def every(*, is_quick: bool) -> Iterator[dict[str, Any]]:
    """All there are."""
    with a_hive() as hive:
        yield from run(hive, "all", "--flush", *(["--quick"] if is_quick else []))
    if not is_quick:
        yield from with_a_small_disk()
        yield from with_a_slow_disk()
        yield from with_replicas()


def shown(one: dict[str, Any]) -> str:
    figures = ", ".join(f"{what} {one[what]}" for what in ("noticed", "back", "sent", "lost", "doubled", "missed"))
    verdict = "kept" if one["kept"] else f"NOT KEPT: {'; '.join(one['broken'])}"
    return f"{one['fault']:<20}{figures}: {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    reports: Reports = list(every(is_quick=chosen.quick))
    if chosen.json is not None:
        shape = {"server": reports[0]["server"], "at": reports[0]["at"], "drills": reports} if reports else {}
        chosen.json.write_text(json.dumps(shape, indent=1) + "\n")
    print(f"{sum(one['kept'] for one in reports)} of {len(reports)} drills kept all promises")
    return 0 if reports and all(one["kept"] for one in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
