"""Resources: what a node makes when it starts, gives to who names it, and frees when it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

from hivemind import AsyncService, DeclarationError, HivemindError, Node, Service, resource, service, subscription
from hivemind.node.base import BaseNode
from hivemind.testing import HiveTest

from .waiting import eventually

HEARD: list[str] = []


@pytest.fixture(autouse=True)
def nothing_heard() -> Iterator[None]:
    HEARD.clear()
    yield
    HEARD.clear()


class Pool:
    """Stands for a pool of connections."""

    def __init__(self, name: str = "pool") -> None:
        self.name = name


class Cache(Pool):
    """Something else."""


class Shop(Node):
    @resource
    async def pool(self) -> AsyncIterator[Pool]:
        HEARD.append("pool made")
        yield Pool()
        HEARD.append("pool freed")

    @resource
    def cache(self, pool: Pool) -> Iterator[Cache]:
        HEARD.append(f"cache made of {pool.name}, on a thread: {not self.is_on_loop}")
        yield Cache("cache")
        HEARD.append("cache freed")

    def on_start(self) -> None:
        HEARD.append(f"start with {self.resources['cache'].name}")

    def on_shutdown(self) -> None:
        HEARD.append(f"shutdown with {self.resources['pool'].name}")

    @subscription("order.loop")
    async def on_loop(self, pool: Pool, payload: str) -> None:
        self.send("packed", [payload, pool.name])

    @subscription("order.thread")
    def on_thread(self, payload: str, store: Cache, message: Any) -> None:
        self.send("packed", [payload, store.name, message.topic])


def test_resources_are_made_in_order_and_freed_in_reverse_around_the_hooks(hive: HiveTest) -> None:
    hive.stop(hive.start(Shop))
    assert [
        *("pool made", "cache made of pool, on a thread: True", "start with cache"),
        *("shutdown with pool", "cache freed", "pool freed"),
    ] == HEARD


def test_a_handler_gets_a_resource_by_its_name_or_by_its_type(hive: HiveTest) -> None:
    hive.start(Shop)
    hive.send("order.loop", "tea")
    assert hive.expect("packed").payload == ["tea", "pool"]
    hive.send("order.thread", "tea")
    assert hive.expect("packed").payload == ["tea", "cache", "order.thread"]


def test_a_service_gets_resources_with_and_without_itself(hive: HiveTest) -> None:
    class Sensor(Node):
        @resource
        def gauge(self) -> int:
            return 7

        @resource(name="unit")
        async def measured_in(self) -> str:
            return "C"

        @service("thread", every=60)
        def read(self, service: Service, gauge: int) -> None:
            service.send(gauge)

        @service("loop", every=60)
        async def read_async(self, unit: str, service: AsyncService) -> None:
            service.send(unit)

        @service("alone", every=60)
        def alone(self, gauge: int) -> None:
            self.send("alone", gauge)

    hive.start(Sensor)
    found = {message.topic: message.payload for message in [hive.expect("*", timeout=5) for _ in range(3)]}
    assert found == {"thread": 7, "loop": "C", "alone": 7}


def test_a_durable_handler_gets_resources(hive: HiveTest) -> None:
    class Durable(Node):
        @resource
        def pool(self) -> Pool:
            return Pool()

        @service("order", durable=True, every=60)
        def sell(self, service: Service) -> None:
            service.send("tea")

        @subscription("order", durable=True, since="all")
        async def pack(self, payload: str, pool: Pool) -> None:
            HEARD.append(f"{payload} {pool.name}")

    hive.start(Durable)
    eventually(lambda: HEARD == ["tea pool"], within=10)


def test_plain_functions_have_the_resources_of_their_module(hive: HiveTest) -> None:
    module = ModuleType("shop")

    @resource
    async def pool(node: BaseNode) -> Pool:
        return Pool(node.name)

    @subscription("order")
    async def pack(payload: str, pool: Pool, node: BaseNode) -> None:
        node.send("packed", pool.name)

    for function in (pool, pack):
        function.__module__ = module.__name__
        vars(module)[function.__name__] = function
    hive.start(module)
    hive.send("order", "tea")
    assert hive.expect("packed").payload == "shop"


def test_a_resource_that_fails_ends_the_start_and_frees_those_before_it(hive: HiveTest) -> None:
    class Broken(Shop):
        @resource
        async def mailer(self, cache: Cache) -> Any:
            raise OSError("no mail server")

    with pytest.raises(HivemindError, match="resource 'mailer' of broken cannot be made: OSError: no mail server"):
        hive.start(Broken)
    assert HEARD[-2:] == ["cache freed", "pool freed"]


def test_a_resource_that_cannot_be_freed_keeps_no_other_from_it(
    hive: HiveTest, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Shop):
        @resource
        def pump(self) -> Iterator[int]:
            yield 1
            raise OSError("stuck")

    hive.stop(hive.start(Stubborn))
    assert HEARD[-2:] == ["cache freed", "pool freed"]
    assert "resource 'pump' could not be freed: OSError: stuck" in caplog.text


def test_a_parameter_that_nobody_knows_is_told_what_there_is() -> None:
    class Typo(Shop):
        @subscription("order.typo")
        async def pack(self, payload: str, chache: int) -> None: ...

    with pytest.raises(DeclarationError, match=r"message, node, pool and cache; not chache, did you mean cache\?"):
        Typo()._hm.bind()


def test_a_service_that_wants_what_is_not_there_is_told_what_there_is() -> None:
    class Typo(Shop):
        @service("sold")
        def sell(self, service: Service, pol: int) -> None: ...

    with pytest.raises(DeclarationError, match=r"resources pool, cache, not service, pol, did you mean pool\?"):
        Typo()._hm.bind()


def test_two_resources_of_one_type_have_to_be_named() -> None:
    class Twins(Shop):
        @resource
        def other(self) -> Pool:
            return Pool()

        @subscription("order.twins")
        async def pack(self, payload: str, store: Pool) -> None: ...

    with pytest.raises(DeclarationError, match="pool, other are all of the type"):
        Twins()._hm.bind()


def test_a_resource_takes_only_what_is_declared_above_it() -> None:
    class Early(Node):
        @resource
        def cache(self, pool: Pool) -> Cache:
            return Cache()

        @resource
        def pool(self) -> Pool:
            return Pool()

    with pytest.raises(DeclarationError, match="resource 'cache' takes pool: it can take node, and resources that"):
        Early()


@pytest.mark.parametrize("name", ["settings", "bound_services"])
def test_a_function_cannot_be_called_like_what_every_node_has(name: str) -> None:
    @subscription("in")
    async def handle(payload: str) -> None: ...

    with pytest.raises(DeclarationError, match=f"a function cannot be called {name}: every node has something"):
        type("Ledger", (Node,), {name: handle})()._hm.bind()


@pytest.mark.parametrize("name", ["message", "payload", "two words"])
def test_a_resource_cannot_be_called_like_something_else(name: str) -> None:
    with pytest.raises(DeclarationError, match="it cannot have that name"):
        resource(name=name)(lambda: 1)


def test_a_payload_of_any_json_type_is_never_taken_for_a_resource(hive: HiveTest) -> None:
    class Plain(Node):
        @resource
        def unit(self) -> str:
            return "C"

        @subscription("in")
        async def pass_on(self, payload: str) -> None:
            self.send("out", payload)

    hive.start(Plain)
    hive.send("in", "x")
    assert hive.expect("out").payload == "x"
