"""The nodes of watchtower that run: what is imported here. `hm create_node NAME` adds a line; uncomment it."""
# ruff: noqa: F401

from .alarm import alarm
from .beacon import beacon
from .clerk import clerk
from .gauges import gauges
from .lookout import lookout
from .register import register
from .usual import usual
