"""Networks of small independent processes that are nearly impossible to take down."""

from __future__ import annotations

__version__ = "0.1.0"
