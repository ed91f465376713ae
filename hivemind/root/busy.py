"""What is bounded says so: for whoever would be one too many."""

from __future__ import annotations

from ..errors import HivemindError


class Busy(HivemindError):
    """There are as many of these at once as one root has; the text says of what."""
