"""A node that sends one message as soon as it runs."""

from __future__ import annotations

from hivemind import Service, service


@service("first")
def say(service: Service) -> int:
    service.send("here I am")
    return 1
