"""The nodes of watchtower that run: what is imported here. `hm create_node NAME` adds a line; uncomment it."""
# ruff: noqa: F401

from .alarm import alarm
from .gauges import gauges
from .usual import usual
