"""What the documentation asks of redis-cli, for machines without one: ``redis-cli -s SOCKET WORD...``."""

from __future__ import annotations

import sys
from pathlib import Path

from hivemind.bus.server_program import ask


def main() -> None:
    option, path, *words = sys.argv[1:]
    assert option == "-s"
    print(ask(Path(path), *words, timeout=5.0))


if __name__ == "__main__":
    main()
