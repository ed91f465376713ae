"""Who handles the orders of the web shops. Run: hm run kitchen.py"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from hivemind import Message, Node, resource, subscription


class Kitchen(Node):
    @resource
    def book(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect("cooked.sqlite3", check_same_thread=False, isolation_level=None)) as book:
            book.execute("CREATE TABLE IF NOT EXISTS cooked (id TEXT PRIMARY KEY, item TEXT)")
            yield book

    @subscription("order.new", durable=True, since="all")
    def cook(self, order: dict[str, Any], message: Message, book: sqlite3.Connection) -> None:
        added = book.execute("INSERT OR IGNORE INTO cooked VALUES (?, ?)", (message.id, order["item"]))
        if added.rowcount:  # once, though a message may come twice
            print(f"cooking {order['item']} for {message.sender.partition('-')[0]}")
