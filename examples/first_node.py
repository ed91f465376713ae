"""A first node. Run it with `hm run first_node.py`; watch it with `hm tail bat-signal`."""

from hivemind import Service, service, subscription


@service("bat-signal", every=5.0)
def call(service: Service) -> None:
    service.send("Batman! We need help!")


@subscription("bat-signal")
def answer(payload: str) -> None:
    print(f"Batman heard: {payload}")
