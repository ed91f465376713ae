from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event, Timer

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hivemind.data.records import Instance
from hivemind.errors import RedisUnavailable
from hivemind.root import app, server, serving
from hivemind.root.app import Site
from hivemind.root.pages.nodes import Nodes
from hivemind.root.pages.page import Item, Visit

from .root_kit import FakeSource, Running, instance, running
from .waiting import eventually

EVIL = "</script><svg onload=alert(1)>"


@pytest.fixture
def page() -> Iterator[Running]:
    source = FakeSource([instance("batman.0", received={"bat-signal-*": 12}), instance("root.0")])
    with running(source) as made:
        eventually(lambda: made.monitor.snapshot.instances)
        yield made


def test_the_page_is_complete_without_a_script(page: Running) -> None:
    for path, texts in {
        "/nodes": ("gotham", "redis://127.0.0.1:1", "gotham is well", 'href="/nodes/batman"', ">running<", "cave"),
        "/nodes/batman": ("gotham is well", "batman.0", "bat-signal-*", "cave", "4242"),
    }.items():
        status, headers, html = page.get(path)
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        for text in texts:
            assert text in html


def test_every_answer_forbids_foreign_scripts_and_frames_and_sniffing(page: Running) -> None:
    for path in ("/", "/api/nodes", "/healthz", "/static/hivemind.js", "/nothing-here"):
        _, headers, _ = page.get(path)
        assert "default-src 'self'; script-src 'self'; object-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9476", "[::1]:9476", "LOCALHOST", "localhost."])
def test_names_of_this_machine_are_served(page: Running, host: str) -> None:
    assert page.get("/", Host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9476", "127.0.0.1.evil.example", "", "localhost@evil"])
@pytest.mark.parametrize("path", ["/", "/events/", "/api/nodes", "/static/hivemind.js"])
def test_any_other_host_is_refused_everywhere(page: Running, host: str, path: str) -> None:
    status, _, body = page.get(path, Host=host)
    assert status == 403
    assert "batman" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(page: Running, method: str) -> None:
    assert page.get("/", method, X_Hivemind="1")[0] == 405
    assert page.get("/", method)[0] == 403
    assert page.get("/api/nodes", method, Origin="http://evil.example")[0] == 403


def test_names_and_texts_of_the_registry_are_escaped() -> None:
    evil = f"{EVIL}\x00\x1b[2J\x9b2J"
    hostile = instance(f"{EVIL}.0", sent={evil: 1}, received={evil: 1}, metadata={EVIL: EVIL, "url": "javascript:x"})
    too = replace(hostile, instance="joker.0")
    with running(FakeSource([hostile, too])) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        for path in ("/nodes", "/nodes/joker"):
            html = page.get(path)[2]
            assert "<svg" not in html
            assert "&lt;svg onload=alert(1)&gt;" in html
            assert 'href="javascript' not in html
            assert not {"\x00", "\x1b", "\x9b"} & set(html), "a terminal would obey them"
            assert html.count("<script") == html.count('<script type="module" src="/static/')


def test_the_script_puts_texts_in_as_text_and_nothing_as_markup() -> None:
    assert "textContent" in (app.HERE / "static" / "hivemind.js").read_text()
    for script in (app.HERE / "static").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", script.read_text()
        )


def test_no_asset_comes_from_elsewhere() -> None:
    for path in (*(app.HERE / "static").iterdir(), *(app.HERE / "templates").iterdir()):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn", text), path


def test_the_api_gives_the_nodes_as_json(page: Running) -> None:
    status, headers, body = page.get("/api/nodes")
    found = orjson.loads(body)
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "no-store")
    assert [node["node"] for node in found["nodes"]] == ["batman", "root"]
    assert found["nodes"][0]["instances"][0]["subscriptions"][0]["received"] == 12


def test_the_api_gives_one_node_with_what_hived_says_of_it(page: Running) -> None:
    found = orjson.loads(page.get("/api/nodes/batman")[2])
    assert (found["node"], found["states"], found["hosts"], found["total"]) == ("batman", {"running": 1}, ["cave"], 1)
    assert [one["instance"] for one in found["instances"]] == ["batman.0"]
    for path in ("/api/nodes/joker", "/nodes/joker", "/events/nodes/joker", "/nodes/.."):
        assert page.get(path)[0] == 404
    assert "There is no node called joker" in page.get("/nodes/joker")[2]


def test_healthz_says_whether_the_root_sees_the_hive(page: Running) -> None:
    assert page.get("/healthz")[0] == 200
    page.source.error = RedisUnavailable("gone")
    page.refresh()
    eventually(lambda: page.get("/healthz")[0] == 503)
    html = page.get("/nodes")[2]
    assert "Redis has not answered since" in html
    assert "batman" in html


def test_who_asks_for_health_before_the_first_look_at_the_hive_waits_for_it() -> None:
    source = Slow([instance()])
    with running(source) as page:
        assert page.monitor.snapshot.read_at is None
        Timer(0.3, source.go_on.set).start()
        assert page.get("/healthz")[0] == 200
    source = Slow([instance()])
    with running(source) as page:
        assert page.get("/healthz")[0] == 503
        source.go_on.set()


class Slow(FakeSource):
    """Nothing is known before it is told to go on."""

    def __init__(self, listed: list[Instance]) -> None:
        super().__init__(listed)
        self.go_on = Event()

    async def instances(self) -> list[Instance]:
        await asyncio.to_thread(self.go_on.wait, 5.0)
        return await super().instances()


def test_an_event_stream_begins_with_the_present_and_goes_on_with_every_change(page: Running) -> None:
    with page.events() as stream:
        assert [node["key"] for node in stream.nodes()] == ["batman", "root"]
        page.source.listed.append(instance("joker.0"))
        page.refresh()
        assert [node["key"] for node in stream.nodes()] == ["batman", "joker", "root"]


def test_a_page_that_takes_long_to_make_is_made_more_seldom_and_shows_the_newest_in_the_end(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    plain = Nodes.tree

    async def slow(self: Nodes, visit: Visit) -> Item:
        made.append(time.monotonic())
        until = time.thread_time() + 2 * serving.CHEAP
        while time.thread_time() < until:
            pass
        return await plain(self, visit)

    monkeypatch.setattr(Nodes, "tree", slow)
    with page.events() as stream:
        names = [[node["key"] for node in stream.nodes()]]
        for name in ("joker", "penguin", "riddler"):
            page.source.listed.append(instance(f"{name}.0"))
            page.refresh()
            eventually(lambda name=name: page.monitor.snapshot.nodes[-2].name == name)  # type: ignore[misc]
        while "riddler" not in names[-1]:
            names.append([node["key"] for node in stream.nodes()])
    assert names[-1] == ["batman", "joker", "penguin", "riddler", "root"]
    assert all(later - earlier >= 2 * serving.CHEAP * serving.SHARE for earlier, later in pairwise(made))
    assert len(made) <= 3


async def test_a_page_that_waits_is_not_charged_with_the_work_of_others() -> None:
    async def others() -> None:
        until = time.thread_time() + 0.05
        while time.thread_time() < until:
            pass

    async def text() -> str:
        await asyncio.create_task(others())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(1)
        return "made"

    made, took = await serving.timed(text())
    assert (made, took < 0.02) == ("made", True)


def test_viewers_beyond_the_limit_are_told_to_come_again(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_VIEWERS", 2)
    with page.events() as first, page.events() as second:
        first.next(), second.next()
        status, headers, _ = page.get("/events/")
        assert (status, headers["retry-after"]) == (503, "10")
        assert page.get("/healthz")[0] == 200
    eventually(lambda: _opens(page))


def test_another_site_cannot_use_up_the_event_streams(page: Running) -> None:
    assert page.get("/events/", Sec_Fetch_Site="cross-site")[0] == 403
    assert page.get("/events/", Sec_Fetch_Site="same-site")[0] == 403


def test_the_server_stops_at_once_also_with_the_page_open() -> None:
    with running(FakeSource([instance()])) as page, page.events() as stream:
        stream.next()
        page.stop()
        while stream.response.readline():
            pass
        eventually(lambda: page.stopped_in >= 0)
    assert page.stopped_in < 2.0


def test_a_viewer_that_never_reads_does_not_keep_the_server_from_stopping() -> None:
    many = [instance(f"node{at}.0", sent={"x" * 100: 1}) for at in range(3000)]
    with running(FakeSource(many), every=0.05) as page, socket.create_connection(("127.0.0.1", page.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /events/nodes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert deaf.recv(100).startswith(b"HTTP/1.1 200")
        page.stop()
        eventually(lambda: page.stopped_in >= 0)
        assert page.stopped_in < 4.0


def test_a_request_that_never_ends_is_cut(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._Protocol, "DEADLINE", 0.2)
    with socket.create_connection(("127.0.0.1", page.port), timeout=5) as slow:
        begun = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert slow.recv(100) == b""
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    "path",
    ["/static/..%2f..%2fapp.py", "/static/../app.py", "/static/%2e%2e/app.py", "/static/%00", "/static/" + "x" * 3000],
)
def test_nothing_outside_the_static_folders_is_served(page: Running, path: str) -> None:
    assert page.get(path)[0] == 404


def test_a_link_out_of_a_static_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "secret.txt").write_text("canary")
    (tmp_path / "public" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with running(FakeSource(), Site(static=[tmp_path / "public"])) as page:
        assert page.get("/static/link.txt")[0] == 404


def test_a_hives_own_files_and_templates_are_found_first(tmp_path: Path) -> None:
    (tmp_path / "hivemind.css").write_text("/* ours */")
    (tmp_path / "index.html").write_text(
        '{% extends "hivemind/index.html" %}{% block footer %}{{ motto }}{% endblock %}'
    )
    site = Site(static=[tmp_path], templates=[tmp_path], context=lambda: {"motto": "I am <the night>"})
    with running(FakeSource([instance()]), site) as page:
        assert page.get("/static/hivemind.css")[2] == "/* ours */"
        assert page.get("/static/hivemind.js")[0] == 200
        eventually(lambda: "batman" in page.get("/nodes")[2])
        assert "I am &lt;the night&gt;" in page.get("/")[2]


def test_a_hives_own_route_is_served_and_refuses_changes_from_another_site() -> None:
    async def signal(request: Request) -> Response:
        return PlainTextResponse("lit")

    with running(FakeSource(), Site(routes=[Route("/signal", signal, methods=["GET", "POST"])])) as page:
        assert page.get("/signal")[2] == "lit"
        assert page.get("/signal", "POST", X_Hivemind="1")[2] == "lit"
        assert page.get("/signal", "POST")[0] == 403
        assert page.get("/signal", "POST", Origin=f"http://127.0.0.1:{page.port}")[2] == "lit"
        assert page.get("/signal", "POST", Origin="http://evil.example")[0] == 403
        for no_url in ("null", "http://[", "//["):
            assert page.get("/signal", "POST", Origin=no_url)[0] == 403


def _opens(page: Running) -> bool:
    with page.events() as stream:
        return stream.response.status == 200
