"""TLS to a Redis that speaks it itself: what the options of the URL do, and a whole hive that is secured over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hivemind import connect
from hivemind.bus.endpoint import Endpoint
from hivemind.errors import RedisUnavailable

from .hive_kit import hive_in, well
from .servers import HOW_TO_INSTALL, Kind, RedisServer, find_server, free_port
from .test_secure_hive import SHOP, TILL, flows, login, secured
from .tls import Authority
from .waiting import eventually

pytestmark = pytest.mark.timeout(120)


@contextmanager
def speaking_tls(authority: Authority, *more: str, host: str = "127.0.0.1") -> Iterator[str]:
    """The address of a server that listens with TLS alone, beside its unix socket; ``host`` is whom its certificate
    names.
    """
    program = find_server(Kind.REDIS7)  # the wheels have no TLS
    if program is None:
        pytest.skip(f"no Redis with TLS: {HOW_TO_INSTALL[Kind.REDIS7]}")
    pem, port = authority.signed(host), free_port()
    files = (f"tls-cert-file {pem}", f"tls-key-file {pem}", f"tls-ca-cert-file {authority.ca_file}")
    with RedisServer(program, lines=(f"tls-port {port}", *files, *more)):
        yield f"rediss://127.0.0.1:{port}"


async def answers(url: str) -> bool:
    connection = await Endpoint.parse(url).open("test")
    try:
        await connection.send_command("PING")
        return bool(await connection.read_response() == b"PONG")
    finally:
        await connection.disconnect()


def authority_in(folder: Path) -> Authority:
    folder.mkdir()
    return Authority(folder)


async def test_a_server_is_trusted_when_our_authority_signed_for_its_name(tmp_path: Path) -> None:
    ours, theirs = authority_in(tmp_path / "ours"), authority_in(tmp_path / "theirs")
    with speaking_tls(ours, "tls-auth-clients no") as url:
        assert await answers(f"{url}?ssl_ca_certs={ours.ca_file}")
        for wrong in (url, f"{url}?ssl_ca_certs={theirs.ca_file}"):
            with pytest.raises(RedisUnavailable, match=r"(?i)certificate verify failed"):
                await answers(wrong)
        assert await answers(f"{url}?ssl_cert_reqs=none")
        with pytest.raises(RedisUnavailable):
            await answers(url.replace("rediss", "redis"))
    with speaking_tls(ours, "tls-auth-clients no", host="elsewhere.example") as url:
        with pytest.raises(RedisUnavailable, match=r"(?i)not valid for"):
            await answers(f"{url}?ssl_ca_certs={ours.ca_file}")
        assert await answers(f"{url}?ssl_ca_certs={ours.ca_file}&ssl_check_hostname=False")


async def test_a_server_that_asks_who_we_are_gets_our_certificate(tmp_path: Path) -> None:
    ours, theirs = authority_in(tmp_path / "ours"), authority_in(tmp_path / "theirs")
    with speaking_tls(ours, "tls-auth-clients yes") as url:
        trusting = f"{url}?ssl_ca_certs={ours.ca_file}"
        mine, foreign = ours.signed("client"), theirs.signed("client")
        assert await answers(f"{trusting}&ssl_certfile={mine}&ssl_keyfile={mine}")
        for wrong in (trusting, f"{trusting}&ssl_certfile={foreign}&ssl_keyfile={foreign}"):
            with pytest.raises(RedisUnavailable):
                await answers(wrong)


def test_a_hive_is_secured_and_works_over_tls(tmp_path: Path) -> None:
    ours = authority_in(tmp_path / "ours")
    mine = ours.signed("client")
    with speaking_tls(ours, "tls-auth-clients yes") as address, hive_in(tmp_path / "gotham") as hive:
        url = f"{address}?ssl_ca_certs={ours.ca_file}&ssl_certfile={mine}&ssl_keyfile={mine}"
        hive.configure(f'REDIS_URL = "{url}"\nNODES = {{"shop": {{"asks": ["price"]}}}}')
        hive.node("shop", SHOP)
        hive.node("till", TILL)
        assert "made: hived, hm, node.shop, node.till, root" in secured(hive)
        hive.start()
        flows(hive)
        eventually(lambda: well(hive), within=20)
        for words in (["status"], ["nodes"], ["request", "price", "4"], ["roll", "till"]):
            done = hive.run("hm", *words)
            assert done.returncode == 0, f"hm {words}: {done.stdout} {done.stderr}"
        user, password = login(hive, "hm")
        with connect(
            f"{address.replace('//', f'//{user}:{password}@')}{url.removeprefix(address)}&hive=gotham"
        ) as client:
            assert client.request("price", 21) == 42
