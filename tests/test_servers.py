"""The test servers themselves: what every other test relies on."""

from __future__ import annotations

import time

import hiredis
import pytest

from .conftest import MakeServer
from .servers import RedisServer
from .waiting import eventually

pytestmark = pytest.mark.every_server


def test_a_server_is_up_within_a_second(make_server: MakeServer) -> None:
    begun = time.monotonic()
    assert make_server().command("PING") == "PONG"
    assert time.monotonic() - begun < 1.0


def test_data_survive_a_kill_and_are_gone_when_asked(own_server: RedisServer) -> None:
    own_server.command("SET", "hero", "Batman")
    own_server.restart(keep_data=True, kill=True)
    assert own_server.command("GET", "hero") == "Batman"
    own_server.restart(keep_data=False)
    assert own_server.command("GET", "hero") is None


def test_a_frozen_server_keeps_connections_but_says_nothing(own_server: RedisServer) -> None:
    own_server.freeze()
    with pytest.raises(TimeoutError):
        own_server.command("PING", timeout=0.1)
    own_server.thaw()
    assert own_server.command("PING") == "PONG"


def test_it_takes_further_configuration_and_a_port(make_server: MakeServer) -> None:
    server = make_server(tcp=True, lines=("requirepass secret",))
    assert server.port != 6379
    with pytest.raises(hiredis.ReplyError, match="NOAUTH"):
        server.command("GET", "hero")


def test_waiting_says_what_it_waited_for() -> None:
    numbers = iter(range(1000))
    assert eventually(lambda: next(numbers) > 3) is True
    with pytest.raises(AssertionError, match=r"not within 0.02 s: .*never"):
        eventually(lambda: [] if "never" else 1, within=0.02)
