"""Spoilt input for ever, for one of the doors, guided by which code it reaches: needs ``pip install atheris``.

python -m tests.fuzz "a message" [options of libFuzzer, such as -max_total_time=600]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def main() -> int:
    try:
        import atheris
    except ImportError:
        print("pip install atheris, where there is one for your Python")
        return 2
    with atheris.instrument_imports(include=["hivemind"]):
        from hivemind.settings import load_settings
        from hivemind.supervisor.paths import HivePaths

        from .doors import DOORS
        from .hive_kit import Hive
    if len(sys.argv) < 2 or sys.argv[1] not in DOORS:
        print("one of:", *DOORS, sep="\n  ")
        return 2
    door = DOORS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as folder:
        files = HivePaths.of(load_settings(Hive(Path(folder)).folder, {}))
        files.make()

        @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @given(rng=st.randoms(use_true_random=False))
        def once(rng: Random) -> None:
            door.try_it(rng, files)

        bytes_in: Any = once.hypothesis.fuzz_one_input  # type: ignore[attr-defined]  # hypothesis adds it
        atheris.Setup(sys.argv, bytes_in)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
