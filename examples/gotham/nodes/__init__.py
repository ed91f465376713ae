"""The nodes of gotham that run: what is imported here. `hm create_node NAME` adds a line; uncomment it."""
# ruff: noqa: F401

from .batman import batman
from .batsignal import batsignal
