"""``python -m hivemind.node``: see ``program``."""

from __future__ import annotations

import sys

from ..collector import held_off

with held_off():
    from .program import main

if __name__ == "__main__":
    sys.exit(main())
