"""The web examples, in the real frameworks, on the real servers, with several processes."""

from __future__ import annotations

import ast
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import hivemind

from .node_kit import NodeProcess
from .servers import RedisServer, free_port
from .waiting import eventually

WEB = Path(__file__).resolve().parent.parent / "examples" / "web"
GUNICORN = ("-m", "gunicorn", "--workers", "2", "--threads", "2", "--preload", "--bind")
SHOPS = {
    "flask": (*GUNICORN, "127.0.0.1:{port}", "flask_shop:app"),
    "django": (*GUNICORN, "127.0.0.1:{port}", "django_shop:application"),
    "fastapi": ("-m", "uvicorn", "--port", "{port}", "--timeout-graceful-shutdown", "2", "fastapi_shop:app"),
}

each_framework = pytest.mark.parametrize("framework", SHOPS, indirect=True)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if not all(map(find_spec, (name, "gunicorn"))):
        pytest.skip(f"!!! NOT CHECKED with {name}, which is not installed: pip install -e '.[test]'")
    return name


class Shop:
    """A web server that runs an example."""

    def __init__(self, framework: str, folder: Path, hive: str) -> None:
        self.port = free_port()
        words = [word.format(port=self.port) for word in SHOPS[framework]]
        environ = {**os.environ, "HIVE": hive, "PYTHONPATH": str(WEB), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = NodeProcess([sys.executable, *words], folder, environ)

    def order(self, item: str) -> int:
        """Order something; the status of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/orders", json.dumps({"item": item}), {"content-type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def is_open(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def running(framework: str, folder: Path, hive: str) -> Iterator[Shop]:
    shop = Shop(framework, folder, hive)
    try:
        eventually(shop.is_open, within=30)
        yield shop
    finally:
        shop.process.process.terminate()
        try:
            shop.process.process.wait(15)
        except subprocess.TimeoutExpired:
            shop.process.close()
            raise


def at(server: RedisServer, hive_name: str) -> str:
    return f"{server.url}{'&' if '?' in server.url else '?'}hive={hive_name}"


@each_framework
def test_orders_that_were_answered_are_cooked(
    framework: str, tmp_path: Path, server: RedisServer, hive_name: str
) -> None:
    with running(framework, tmp_path, at(server, hive_name)) as shop:
        assert [shop.order(f"soup-{number}") for number in range(12)] == [202] * 12
    assert shop.process.process.returncode in (0, -signal.SIGTERM), shop.process.output
    environ = {**os.environ, "HIVEMIND_REDIS_URL": server.url, "HIVEMIND_HIVE_NAME": hive_name}
    command = [sys.executable, "-u", "-m", "hivemind.node", str(WEB / "kitchen.py")]
    kitchen = NodeProcess(command, tmp_path, {**environ, "PYTHONDONTWRITEBYTECODE": "1"})
    try:
        kitchen.says("cooking", times=12)
        assert {*re.findall(r"cooking (\S+) for client", kitchen.output)} == {f"soup-{number}" for number in range(12)}
    finally:
        kitchen.close()


@each_framework
def test_an_order_is_not_taken_while_redis_is_away_and_is_when_it_is_back(
    framework: str, tmp_path: Path, own_server: RedisServer, hive_name: str
) -> None:
    with running(framework, tmp_path, at(own_server, hive_name)) as shop:
        assert shop.order("soup") == 202
        own_server.kill()
        assert shop.order("stew") == 503
        own_server.start()
        eventually(lambda: shop.order("pie") == 202, within=20)


@each_framework
def test_who_asks_over_http_is_told_whether_waiting_helps(framework: str) -> None:
    text = (WEB / f"{framework}_shop.py").read_text(encoding="utf-8")
    (function,) = [one for one in ast.parse(text).body if isinstance(one, ast.FunctionDef) and one.name == "status_of"]
    found: dict[str, Any] = {"hivemind": hivemind}
    exec(ast.unparse(function), found)
    errors = [
        hivemind.RedisUnavailable("away"),
        hivemind.RequestTimeout("sum", "late"),
        hivemind.NoResponders("sum"),
        hivemind.RemoteError("sum", "KeyError", "'x'"),
        hivemind.HiveNotFound("no hive"),
    ]
    assert [found["status_of"](error) for error in errors] == [503, 503, 503, 502, 500]


@pytest.mark.parametrize("name", ["flask_shop", "django_shop", "fastapi_shop", "kitchen"])
def test_the_page_shows_the_examples_as_they_are(name: str) -> None:
    page = (WEB.parent.parent / "docs" / "web.md").read_text(encoding="utf-8")
    assert f"```python\n{(WEB / name).with_suffix('.py').read_text(encoding='utf-8')}```" in page
