"""``python -m hivemind.root``: run the root of the hive one is in, as hived does.

It runs behind everything else on its machine: what nobody needs takes no turn from a node, least of all where it dies
and starts again and again.
"""

from __future__ import annotations

import os
import sys

from ..collector import held_off

BEHIND = 10  #: what it adds to its niceness

if sys.platform != "win32":
    os.nice(BEHIND)

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
