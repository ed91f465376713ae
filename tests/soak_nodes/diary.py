"""A file to which one life of a node appends what it does, a JSON object a line; a killed process loses none of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

FOLDER = "SOAK_DIARIES"


class Diary:
    """The diary of this process in the folder that ``SOAK_DIARIES`` names."""

    def __init__(self, who: str) -> None:
        self.path = Path(os.environ[FOLDER]) / f"{who}.{os.getpid()}.jsonl"
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, **more: Any) -> None:
        """Write one line; it is with the kernel when this returns."""
        os.write(self._file, json.dumps({"what": what, "at": time.time(), **more}).encode() + b"\n")
