"""``python -m hivemind.root``: run the root of the hive one is in, as hived does."""

from __future__ import annotations

import sys

from ..collector import held_off

with held_off():
    from ..errors import HivemindError
    from ..node.program import settings_here
    from .controller import run_root


def main() -> int:
    """Run HIVE_CONTROLLER of the hive around the current folder; return the exit code."""
    try:
        settings, fault = settings_here()
    except HivemindError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return run_root(settings, verbose="--verbose" in sys.argv[1:], of_settings=fault)


if __name__ == "__main__":
    sys.exit(main())
