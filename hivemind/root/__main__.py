"""``python -m hivemind.root``: run the root of the hive one is in, as hived does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..collector import held_off

with held_off():
    from ..errors import HivemindError
    from ..settings import find_hive, load_settings
    from .controller import run_root


def main() -> int:
    """Run HIVE_CONTROLLER of the hive around the current folder; return the exit code."""
    try:
        settings = load_settings(find_hive(Path.cwd(), None, os.environ))
    except HivemindError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return run_root(settings, verbose="--verbose" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
