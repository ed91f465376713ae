"""A node that has nothing to do: one service, one subscription."""

from __future__ import annotations

from hivemind import Service, service, subscription


@service("idle", every=3600.0)
def rest(service: Service) -> None:
    """Nothing."""


@subscription("nothing")
async def never(payload: str) -> None:
    """Nobody sends it."""
