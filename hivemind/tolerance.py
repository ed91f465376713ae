"""What is done for ever, from time to time, and need not succeed each time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import RedisError


@contextmanager
def tolerated(log: logging.Logger, what: str) -> Iterator[None]:
    """Inside, what Redis does not do is left for the next time, and a fault of ours is logged: neither is raised."""
    try:
        yield
    except RedisError as error:
        log.debug("%s: %s", what, error)
    except Exception:
        log.exception("%s", what)
