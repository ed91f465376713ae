"""A node that sends the numbers of an errand durably, and asks after each whether it is kept."""

from __future__ import annotations

import time

from benchmarks.errand import ACCEPTED, PAUSE, REFUSED, Errand
from hivemind import Refused, Service, Unconfirmed, service

errand = Errand.here("sender")


@service("errand", durable=True)
def send(service: Service) -> None:
    for number in errand.due():
        began = time.monotonic()
        service.send(number)
        errand.note(ACCEPTED if is_kept(service) else REFUSED, number, began)
    service.sleep_for(PAUSE)


def is_kept(service: Service) -> bool:
    while True:
        try:
            service.flush(5.0)
        except Unconfirmed:  # it is still in the outbox
            continue
        except Refused:
            return False
        return True
