"""All drills in a hive of their own: ``python -m tests.drills [--quick] [--json FILE]``, which is `make drills`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .hive_kit import SENDER, Hive, hive_in, well
from .waiting import eventually

LIMIT = 14 * 60.0  #: seconds
USUAL = "HEARTBEAT = 2.0\nLEASE = 6.0\nSTOP_TIMEOUT = 10.0"  #: the promises are those of a hive that sets nothing


def run(hive: Hive, *, is_quick: bool) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of `hm drill all`, and its reports, each shown as it comes."""
    words = ("drill", "all", "--yes", "--json", *(["--quick"] if is_quick else []))
    reports = []
    with subprocess.Popen(
        hive.command("hm", *words), cwd=hive.folder, env=hive.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            reports.append(json.loads(line))
            print(shown(reports[-1]), flush=True)
        return process.wait(), reports


def shown(one: dict[str, Any]) -> str:
    figures = ", ".join(f"{what} {one[what]}" for what in ("noticed", "back", "sent", "lost", "doubled", "missed"))
    verdict = "kept" if one["kept"] else f"NOT KEPT: {'; '.join(one['broken'])}"
    return f"{one['fault']:<18}{figures}: {verdict}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, hive_in(Path(folder) / "gotham", more=USUAL) as hive:
        hive.node("batman", SENDER)
        hive.node("robin")
        hive.start()
        eventually(lambda: well(hive), within=60)
        code, reports = run(hive, is_quick=chosen.quick)
    if chosen.json is not None:
        shape = {"server": reports[0]["server"], "at": reports[0]["at"], "drills": reports} if reports else {}
        chosen.json.write_text(json.dumps(shape, indent=1) + "\n")
    print(f"{sum(one['kept'] for one in reports)} of {len(reports)} drills kept all promises")
    return code


if __name__ == "__main__":
    sys.exit(main())
