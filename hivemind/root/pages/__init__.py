"""The pages of the root, in the order of the navigation."""

from __future__ import annotations

from .dead import Dead
from .docs import Docs
from .network import Network
from .node import Node
from .nodes import Nodes
from .overview import Overview
from .page import Hive, Item, NotFound, Page, Visit, WithMore, announced
from .topic import Topic
from .topics import Topics

__all__ = ["PAGES", "Hive", "Item", "NotFound", "Page", "Visit", "WithMore", "announced"]

PAGES: tuple[Page, ...] = (Overview(), Network(), Nodes(), Node(), Topics(), Topic(), Dead(), Docs())
