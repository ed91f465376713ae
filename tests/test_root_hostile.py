"""A hive that runs, with a login, attacked by who may look and by what nodes send: real processes, real routes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import orjson
import pytest

from hivemind.root.tokens import Role, Token, Tokens

from .hive_kit import SENDER, Hive, hive_in
from .waiting import eventually

pytestmark = pytest.mark.slow

KEY = "Zn3xCq8Wb5Lr7Yt2Vd9Ks4Pm6Hj1Gf0A"
EVIL = "</script><svg onload=alert(1)>"
SPEAKER = f"""
from hivemind import Node, service

class Speaker(Node):
    @service("speech", durable=True, every=0.3)
    def speak(self, service):
        self.logger.warning("%s", {EVIL!r} + chr(27) + "[31m")
        service.send({{{EVIL!r}: [{EVIL!r}]}})
"""
OUTSIDE = [
    "../secret",
    "..",
    "../log/batman",
    "/etc/passwd",
    "batman/../../secret",
    "secret\0",
    "secret.log",
    "batman.log",
]


@dataclass
class World:
    hive: Hive
    url: str

    def ask(self, path: str, role: Role = Role.VIEWER, body: bytes | None = None, most: int = -1) -> tuple[int, bytes]:
        token = Tokens(KEY, "gotham").make(Token("eve", role, time.time() + 999))
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read() if most < 0 else answer.read1(most)
        finally:
            connection.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile") / "gotham"
    with hive_in(folder) as hive:
        (folder / "hive.key").write_text(KEY)
        (folder / "secret.log").write_text("2026-01-01 canary")
        hive.environ["HIVEMIND_HIVE_KEY_FILE"] = str(folder / "hive.key")
        hive.node("batman", SENDER)
        hive.node("speaker", SPEAKER)
        hive.start()
        made = World(hive, str(eventually(lambda: hive.status().page, within=30)))
        eventually(lambda: b"speaker.0" in made.ask("/nodes/speaker")[1], within=30)
        yield made


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((f"/api/nodes/batman/{verb}", {"replicas": 0}) for verb in ("start", "stop", "restart", "roll", "scale")),
        ("/api/topics/speech", {"payload": 1}),
        ("/api/dead/drop", {"which": "*", "sure": True}),
        ("/api/dead/replay", {"which": "*"}),
    ],
)
def test_who_may_look_changes_nothing_of_a_hive(world: World, path: str, body: dict[str, object]) -> None:
    before = world.hive.pids()
    status, said = world.ask(path, Role.VIEWER, orjson.dumps(body))
    assert (status, b"log in as an operator" in said) == (403, True)
    eventually(lambda: f"eve, a viewer, was refused: POST {path!r}" in world.hive.log("root"))
    assert world.hive.pids() == before


def test_who_may_change_changes_it_and_the_roots_log_says_who(world: World) -> None:
    before = world.hive.pids()["batman.0"]
    status, said = world.ask("/api/nodes/batman/restart", Role.OPERATOR, b"")
    assert (status, orjson.loads(said)["ok"]) == (200, True)
    assert world.hive.pids()["batman.0"] != before
    eventually(lambda: "eve: POST '/api/nodes/batman/restart'" in world.hive.log("root"))
    assert KEY not in world.hive.log("root")


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("path", ["/events/log/{}", "/nodes/{}", "/events/nodes/{}", "/api/nodes/{}", "/static/{}"])
def test_no_name_leads_out_of_a_folder(world: World, path: str, name: str) -> None:
    for written in (quote(name, safe=""), quote(name, safe="/"), name.replace("/", "%252f").replace("\0", "%00")):
        status, said = world.ask(path.format(written))
        assert status in (400, 404, 405)
        assert b"canary" not in said
        assert b"root:" not in said


def test_what_a_node_sends_and_logs_is_text_on_every_page(world: World) -> None:
    for path in ("/", "/nodes/speaker", "/topics/speech", "/dead", "/network"):
        status, said = world.ask(path)
        assert status == 200
        assert b"<svg onload" not in said
        assert b"\x1b" not in said
    eventually(lambda: b"&lt;svg onload" in world.ask("/nodes/speaker")[1], within=10)
    eventually(lambda: b"&lt;svg onload" in world.ask("/topics/speech")[1], within=10)


@pytest.mark.parametrize("topic", [EVIL, "a b", "a\0b", "*", "x" * 5000, "\u202egnp"])
def test_a_topic_that_cannot_be_is_refused(world: World, topic: str) -> None:
    assert world.ask(f"/api/topics/{quote(topic, safe='')}", Role.OPERATOR, b'{"payload": 1}')[0] in (400, 404)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"payload":' + b"[" * 2000 + b"]" * 2000 + b"}", b'{"payload": 1e999}']
)
def test_a_payload_that_is_a_bomb_harms_nobody(world: World, body: bytes) -> None:
    assert world.ask("/api/topics/bomb", Role.OPERATOR, body)[0] in (200, 400)
    assert world.ask("/topics/bomb")[0] in (200, 404)
    assert world.ask("/healthz")[0] == 200
