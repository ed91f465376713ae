"""A hive with a root, for the tests of the pages of topics and dead letters: real nodes, a real server, a browser."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from .test_root_process import House, Page

NODES = """
from dataclasses import dataclass
from pathlib import Path
from hivemind import Node, responder, service, subscription

@dataclass
class Order:
    number: int
    customer: str = "Selina"

class Shop(Node):
    @service("orders.new", durable=True)
    def sell(self, service):
        service.send({"number": 1})
        return 1

    @service("clock.tick", every=0.1)
    def tick(self, service):
        service.send("tick")

    @service("alarms.fier", every=5.0)
    def alarm(self, service):
        service.send("smoke")

    @subscription("orders.*", durable=True, since="all", retries=1, backoff=(0.01, 0.02))
    def pack(self, payload: Order):
        if payload.number % 2 and not Path("shelf").exists():
            raise OSError(f"the shelf is empty: {payload.customer}")
        print(f"packed {payload.number}", flush=True)

    @subscription("alarms.fire")
    def fire(self, payload):
        pass

    @responder("stock.of")
    def stock(self, payload: str) -> int:
        return 3

Shop.exec_()
"""


@dataclass
class Shown:
    """What the tests look at: the page, and the processes behind it."""

    house: House
    page: Page

    def url(self, path: str) -> str:
        return self.page.url + path

    def tree(self, path: str) -> Any:
        """The first event of a page."""
        connection = http.client.HTTPConnection(urlsplit(self.page.url).netloc, timeout=10)
        try:
            connection.request("GET", f"/events{path}")
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            while not (line := answer.readline()).startswith(b"data: "):
                assert line, "the stream ended"
            return orjson.loads(line[6:])
        finally:
            connection.close()

    def rows(self, path: str, name: str) -> dict[str, Any]:
        """A list of a page: the fields of its items, by key."""
        return {one["key"]: one["fields"] for one in self.tree(path)["lists"][name]}

    def post(self, path: str, value: object = None, *, form: bool = False, **headers: str) -> tuple[int, str]:
        """Send a change, as a program or, with the right headers, as a browser without a script does."""
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        body = urlencode(value).encode() if form and isinstance(value, dict) else orjson.dumps(value)
        sent = {"X-Hivemind": "1", "Content-Type": kind} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection = http.client.HTTPConnection(urlsplit(self.page.url).netloc, timeout=15)
        try:
            connection.request("POST", path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
