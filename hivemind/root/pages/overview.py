"""Is the hive well, and if not: what is not?"""

from __future__ import annotations

from ..wording import count
from .page import Item, Visit, frame, item


class Overview:
    """``/``."""

    path, template, label = "/", "index.html", "Overview"

    async def tree(self, visit: Visit) -> Item:
        """The hive in one sentence, and what there is to say of it, worst first."""
        health = visit.snapshot.health
        found = [("trouble", text) for text in health.troubles] + [("note", text) for text in health.notes]
        fields = {"running": count(health.running), "nodes": count(health.nodes)}
        return frame(visit, fields, {"problems": [item(text, state, {"text": text}) for state, text in found]})
