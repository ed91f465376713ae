"""The AsyncAPI document of a hive: what it has to have by AsyncAPI 3.0, and what hostile instances make of it.

No package of the registry carries AsyncAPI's own JSON Schema, so what is checked is written out here: the objects that
3.0 demands, their required fields, and that every reference leads somewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from hivemind import Node, responder, subscription
from hivemind.data.records import (
    MOST_OF_PAYLOADS,
    Instance,
    MemberRecord,
    ResponderRecord,
    Stats,
    SubscriptionRecord,
    about_from,
)
from hivemind.node.payload_types import MOST, payload_types
from hivemind.picture.asyncapi import document, said_by
from hivemind.picture.shapes import shape

from .root_kit import FakeSource, instance, running
from .waiting import eventually

DEEP = '{"anyOf":[' * 505 + "{}" + "]}" * 505  # as deep as our parser reads


@dataclass
class Item:
    sku: str
    count: int = 1


class Order(BaseModel):
    number: int
    items: list[Item]
    note: str | None = None


class Shop(Node):
    @subscription("orders.*")
    async def pack(self, payload: Order) -> None: ...

    @subscription("lamps.*", durable=True)
    async def light(self, payload: str) -> None: ...

    @subscription("anything")
    async def take(self, payload: Any) -> None: ...

    @responder("stock.of")
    async def stock(self, payload: str) -> list[Item]:
        return []


def shop(text: str | None = None, incarnation: int = 1) -> Instance:
    node = Shop("shop")
    node._hm.bind()
    made = instance("shop.0", received={"orders.*": 3}, incarnation=incarnation)
    stats = replace(made.stats, responders=(ResponderRecord("stock.of"),))
    return replace(
        made, stats=stats, about=replace(made.about, payloads=payload_types([node]) if text is None else text)
    )


def made_of(*instances: Instance) -> dict[str, Any]:
    found = document("gotham", "redis://127.0.0.1:6379/0", instances, ["kept.alone"])
    check(found)
    return orjson.loads(orjson.dumps(found))  # type: ignore[no-any-return]


def check(found: dict[str, Any]) -> None:
    """What AsyncAPI 3.0 demands of the objects that we write."""
    assert found["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= found["info"].keys()
    assert all({"host", "protocol"} <= one.keys() for one in found["servers"].values())
    for channel in found["channels"].values():
        assert channel["address"] is None or isinstance(channel["address"], str)
        for message in channel["messages"].values():
            assert "payload" in at(found, message["$ref"])
    for operation in found["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = at(found, operation["channel"]["$ref"])
        for named in operation.get("messages", []):
            assert named["$ref"].startswith(operation["channel"]["$ref"])
            assert at(found, named["$ref"]) in channel["messages"].values()
        for named in operation.get("reply", {}).get("messages", []):
            assert at(found, named["$ref"])
    for schema in [one["payload"] for one in found["components"]["messages"].values()]:
        Draft202012Validator.check_schema(schema)
        assert all(at(found, ref) is not None for ref in refs(schema))
    for schema in found["components"]["schemas"].values():
        assert all(at(found, ref) is not None for ref in refs(schema))


def at(found: Any, ref: str) -> Any:
    assert ref.startswith("#/")
    for step in ref[2:].split("/"):
        found = found[step]
    return found


def refs(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for one in value for ref in refs(one)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [ref for one in value.values() for ref in refs(one)]


def test_topics_requests_and_payloads_of_a_hive_are_in_it() -> None:
    found = made_of(shop(), instance("till.0", sent={"orders.new": 3, "lamps/x": 1}))
    assert found["channels"]["orders.new"]["address"] == "hm:gotham:t:orders.new"
    assert found["operations"]["till.send.orders.new"]["action"] == "send"
    received = found["operations"]["shop.receive.orders.new"]
    payload = at(found, at(found, received["messages"][0]["$ref"])["$ref"])["payload"]
    assert payload["properties"]["number"] == {"title": "Number", "type": "integer"}
    whole = {**payload, "components": found["components"]}
    assert Draft202012Validator(whole).is_valid({"number": 1, "items": [{"sku": "rope"}]})
    assert not Draft202012Validator(whole).is_valid({"number": 1, "items": [{"count": 1}]})
    asked = found["operations"]["shop.receive.stock.of.requests"]
    assert at(found, at(found, asked["messages"][0]["$ref"])["$ref"])["payload"] == {"type": "string"}
    assert asked["reply"]["channel"]["$ref"] == "#/channels/stock.of.replies"
    assert asked["reply"]["messages"]
    assert found["channels"]["kept.alone"]["summary"] == "nobody listens"
    assert found["channels"]["lamps_x"]["title"] == "lamps/x"


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[1, 2]",
        '{"hears": [1], "asked": 7}',
        '{"hears": {"[": {"type": "string"}, "orders.*": 7}}',
        '{"hears": {"orders.*": {"$ref": "http://evil.example/x"}}}',
        '{"hears": {"orders.*": {"$ref": "#/components/x"}}}',
        '{"hears": {"orders.*": {"$defs": 7, "$ref": "#/$defs/x"}}}',
        '{"hears": {"orders.*": {"$defs": {"a/b": {"$ref": "#/$defs/a/b"}}, "items": {"$ref": "#/$defs/a"}}}}',
        '{"hears": {"orders.*": ' + '{"items": ' * 500 + "{}" + "}" * 502,
        '{"hears": {"orders.*": {"enum": [' + "1, " * 2000 + "1]}}}",
        '{"hears": {"orders.*": ' + DEEP + "}}",
        '{"hears": {"orders.*": ' + DEEP.replace("anyOf", "oneOf") + "}}",
    ],
)
def test_whatever_an_instance_says_the_document_stays_one_and_so_does_the_page(text: str) -> None:
    assert len(text) <= MOST_OF_PAYLOADS
    for said in (text, f'{{"shop": {text}}}'):
        instances = [shop(said), instance("till.0", sent={"orders.new": 3})]
        found = made_of(*instances)
        assert "shop.receive.orders.new" in found["operations"]
        assert "evil" not in str(found)
    with running(FakeSource(instances)) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        status, _, body = page.get("/docs")
    assert status == 200
    assert "orders.new" in body


def test_what_an_instance_says_of_payloads_is_bounded_on_both_sides() -> None:
    class Large(Node):
        pass

    node = Large("large")
    for number in range(200):
        node.add_subscription(f"topic.{number}", lambda payload: None)
    many = Shop("shop")
    many._hm.bind()
    assert len(payload_types([many] * 3)) == len(payload_types([many])) < MOST + 200
    assert about_from({"payloads": "x" * (MOST_OF_PAYLOADS + 1)}, "shop.0").payloads == ""
    assert about_from({"payloads": ["x"]}, "shop.0").payloads == ""
    assert payload_types([node]) == ""
    assert "payloads" not in shop().to_json()


def test_of_the_copies_of_a_node_the_newest_has_the_word() -> None:
    old = replace(shop('{"shop": {"hears": {"orders.*": {"type": "string"}}}}', 1), instance="shop.1")
    new = shop('{"shop": {"hears": {"orders.*": {"type": "integer"}}}}', 2)
    found = made_of(new, old, instance("till.0", sent={"orders.new": 3}))
    assert found["components"]["messages"]["orders.new.shop"]["payload"] == {"type": "integer"}


def test_nodes_that_share_a_process_each_have_their_own_word_and_nobody_elses() -> None:
    hears = (SubscriptionRecord("orders.*", member="shop"), SubscriptionRecord("orders.*", member="till"))
    stats = Stats(members=(MemberRecord("shop"), MemberRecord("till")), subscriptions=hears)
    till = {"hears": {"orders.*": {"type": "string"}}}
    said = {**orjson.loads(shop().about.payloads), "till": till, "root": till}
    both = instance("trade.0", stats=stats)
    both = replace(both, about=replace(both.about, payloads=orjson.dumps(said).decode()))
    messages = made_of(both, instance("door.0", sent={"orders.new": 3}))["components"]["messages"]
    assert messages["orders.new.till"]["payload"] == {"type": "string"}
    assert "number" in messages["orders.new.shop"]["payload"]["properties"]
    assert set(said_by([both])) == {"shop", "till"}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        (
            {"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"], "type": "object"},
            "{a: integer, b?: anything}",
        ),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"type": "array", "items": {"$ref": "#/$defs/X"}, "$defs": {"X": {"enum": ["a"]}}}, "['a', …]"),
        ({"$ref": "#/$defs/X", "$defs": {"X": {"$ref": "#/$defs/X"}}}, "X"),
        ({"type": 7, "properties": 3}, "anything"),
        (7, "anything"),
    ],
)
def test_a_schema_is_told_on_one_line(schema: Any, text: str) -> None:
    assert shape(schema) == text


def test_stats_without_responders_need_no_word() -> None:
    assert document("gotham", "redis://h", [instance("a.0", stats=Stats())])["channels"] == {}
