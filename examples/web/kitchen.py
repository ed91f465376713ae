"""Who handles the orders of the web shops. Run: hm run kitchen.py"""

from __future__ import annotations

from typing import Any

from hivemind import Message, Node, subscription


class Kitchen(Node):
    @subscription("order.new", durable=True, since="all")
    async def cook(self, order: dict[str, Any], message: Message) -> None:
        print(f"cooking {order['item']} for {message.sender.partition('-')[0]}")
