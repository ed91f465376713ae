"""The root's page attacked as from a browser, or from the network; chapters as in the OWASP ASVS."""

from __future__ import annotations

import http.client
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import orjson
import psutil
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hivemind.picture.snapshot import Snapshot
from hivemind.root import bodies, server, serving
from hivemind.root.app import Site
from hivemind.root.bodies import MAX_BODY, fields_of
from hivemind.root.pages.page import Page

from .root_kit import FakeSource, Running, instance, running
from .waiting import eventually

FORM = "application/x-www-form-urlencoded"


async def echo(request: Request) -> Response:
    """What a change said."""
    return JSONResponse(dict(await fields_of(request)))


async def fail(request: Request) -> Response:
    raise RuntimeError("s3cret of the server")


ROUTES = [Route("/echo", echo, methods=["POST", "GET"]), Route("/fail", fail, methods=["POST", "GET"])]


@pytest.fixture
def page() -> Iterator[Running]:
    with running(FakeSource([instance("batman.0")]), Site(routes=ROUTES)) as made:
        yield made


def post(page: Running, body: bytes, path: str = "/echo", **headers: str) -> tuple[int, bytes]:
    """Post as our own page does; ``headers`` come on top, those that are "" are left out."""
    own = {"Origin": f"http://127.0.0.1:{page.port}", "Content-Type": FORM}
    own |= {name.replace("_", "-"): text for name, text in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request("POST", path, body, {name: text for name, text in own.items() if text})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def raw(page: Running, request: bytes, wait: float = 5.0) -> bytes:
    """All that is answered to bytes that need be no HTTP."""
    with socket.create_connection(("127.0.0.1", page.port), timeout=wait) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while data := connection.recv(65536):
                answer += data
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


# -- whose change it is


def test_our_own_page_and_programs_can_change_something(page: Running) -> None:
    assert post(page, b"a=1&a=2&b=%3Cb%3E") == (200, b'{"b":"<b>","a":"1"}')
    assert post(page, b'{"a":1}', Content_Type="application/json; charset=utf-8") == (200, b'{"a":1}')
    assert post(page, b"", Content_Type="") == (200, b"{}")
    assert post(page, b"a=1", Origin="", X_Hivemind="1")[0] == 200
    assert post(page, b"a=1", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "ftp://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://evil@127.0.0.1:{port}"},
        {"Origin": ""},
        {"Origin": "", "Referer": "http://127.0.0.1:{port}/"},
        {"Origin": "", "Sec_Fetch_Site": "cross-site", "X_Hivemind": "1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_a_post_of_another_site_changes_nothing(page: Running, headers: dict[str, str]) -> None:
    told = {name: text.format(port=page.port) for name, text in headers.items()}
    assert post(page, b"a=1", **told)[0] == 403


@pytest.mark.parametrize("name", ["X_HTTP_Method_Override", "X_HTTP_Method", "X_Method_Override"])
def test_the_method_cannot_be_changed_by_a_header_or_a_field(page: Running, name: str) -> None:
    page_status, _, body = page.get("/api/nodes?_method=DELETE", **{name: "POST"})
    assert (page_status, orjson.loads(body)["hive"]) == (200, "gotham")
    assert post(page, b"_method=GET", "/api/nodes", **{name: "GET"})[0] == 405


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "JUNK"])
def test_a_method_that_nobody_knows_is_a_change(page: Running, method: str) -> None:
    assert page.get("/api/nodes", method)[0] in (400, 403)


@pytest.mark.parametrize("kind", ["text/plain", "text/xml", "application/octet-stream", "", "evil\tapplication/json"])
def test_a_body_of_another_kind_is_refused(page: Running, kind: str) -> None:
    assert post(page, b"a=1", Content_Type=kind)[0] in (400, 415)


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b"a=%ff", FORM), (b"a&" * 200, FORM), (b"\xff", FORM)],
)
def test_a_body_that_cannot_be_read_is_the_senders_mistake(page: Running, body: bytes, kind: str) -> None:
    assert post(page, body, Content_Type=kind)[0] == 400


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_can_link_to_the_page_and_embed_nothing_of_it(page: Running, site: str) -> None:
    link = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert page.get("/", **link)[0] == 200
    for path in ("/events/nodes", "/events/log/batman", "/events/tail/bat-signal"):  # each takes up a stream
        assert page.get(path, **link)[0] == 403
    for mode, kind in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")):
        for path in ("/api/nodes", "/static/hivemind.js", "/metrics"):
            assert page.get(path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=kind)[0] == 403


# -- how much, how long


def test_a_large_body_is_refused_whether_its_length_is_told_or_not(page: Running) -> None:
    assert post(page, b"a=" + b"x" * (MAX_BODY - 2))[0] == 200
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nX-Hivemind: 1\r\nContent-Type: {FORM}\r\n".encode()
    told = raw(page, head + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1))
    assert told.startswith(b"HTTP/1.1 413"), "before it is sent"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert raw(page, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5).startswith(b"HTTP/1.1 413")
    assert raw(page, head + b"Content-Length: 99999999999999999999999\r\n\r\n").startswith(
        (b"HTTP/1.1 413", b"HTTP/1.1 400")
    )
    assert page.get("/healthz")[0] == 200


def test_a_body_that_comes_a_byte_now_and_then_is_cut_and_holds_nobody_up(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIME", 0.3)
    head = (
        f"POST /echo HTTP/1.1\r\nHost: localhost\r\nX-Hivemind: 1\r\nContent-Type: {FORM}\r\nContent-Length: 9\r\n\r\n"
    )
    begun = time.monotonic()
    assert raw(page, head.encode() + b"a").startswith(b"HTTP/1.1 408")
    assert time.monotonic() - begun < 3.0
    assert post(page, b"a=1")[0] == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Long: " + "x" * 20_000],
        [f"X-{at}: 1" for at in range(101)],
        ["Cookie: " + "a=b; " * 4000],
    ],
)
def test_long_heads_are_refused(page: Running, lines: list[str]) -> None:
    answer = raw(page, "\r\n".join(["GET / HTTP/1.1", "Host: localhost", *lines, "", ""]).encode())
    assert answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
    assert b"batman" not in answer


def test_a_long_address_is_refused(page: Running) -> None:
    assert page.get("/nodes?after=" + "x" * 17_000)[0] in (400, 431)


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +4",
        "Content-Length: 4_0",
        "Content-Length : 4",
        "Transfer-Encoding:\x0bchunked",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_hides_another_one_is_refused_whole(page: Running, framing: str, method: str) -> None:
    head = (
        f"{method} /api/nodes HTTP/1.1\r\nHost: localhost\r\nX-Hivemind: 1\r\nContent-Type: {FORM}\r\n{framing}\r\n\r\n"
    )
    answer = raw(page, head.encode() + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "lines", [["Host: localhost", "Host: evil.example"], ["Host: evil.example", "Host: localhost"], []]
)
def test_there_is_one_host(page: Running, lines: list[str]) -> None:
    answer = raw(page, "\r\n".join(["GET /api/nodes HTTP/1.1", *lines, "", ""]).encode(), 1.0)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403"))


def test_an_address_with_another_host_in_it_does_not_change_whose_page_it_is(page: Running) -> None:
    answer = raw(page, b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"evil.example" not in answer


# -- many, and slow


def test_connections_beyond_the_limit_are_hung_up_on_and_nobody_else(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_OPEN", 20)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", page.port), 5)) for _ in range(30)]
        eventually(lambda: sum(map(_is_cut, idle)) == 10)
        kept = next(one for one in idle if not _is_cut(one))
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        kept.settimeout(5)
        assert kept.recv(100).startswith(b"HTTP/1.1 200")
    eventually(lambda: page.get("/healthz")[0] == 200)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address")
def test_one_address_does_not_take_all_connections_from_the_others(
    page: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_OF_ONE", 5)
    with ExitStack() as stack:
        where, stranger = ("127.0.0.1", page.port), ("127.0.0.2", 0)
        ours = [stack.enter_context(socket.create_connection(where, 5)) for _ in range(8)]
        theirs = [stack.enter_context(socket.create_connection(where, 5, stranger)) for _ in range(8)]
        eventually(lambda: sum(map(_is_cut, theirs)) == 3)
        assert not any(map(_is_cut, ours)), "who is on this machine, or behind a proxy on it, has no such limit"
        assert page.get("/healthz")[0] == 200


def test_who_says_nothing_is_cut_and_makes_room(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OPEN", 5)
    monkeypatch.setattr(server._Protocol, "DEADLINE", 0.3)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", page.port), 5)) for _ in range(5)]
        eventually(lambda: all(map(_is_cut, idle)))
        assert page.get("/healthz")[0] == 200


@pytest.mark.parametrize("path", ["/api/nodes?limit=10000", "/events/nodes?limit=10000", "/nodes?limit=10000"])
def test_who_takes_no_answer_is_cut(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK", 0.1)
    many = [instance(f"node{at}.0", sent={"x" * 100: 1}) for at in range(8000)]
    with running(FakeSource(many), every=0.2) as page:
        eventually(lambda: page.monitor.snapshot.instances)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", page.port))
            deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert deaf.recv(20).startswith(b"HTTP/1.1 200")
            assert _served(page) == 1
            eventually(lambda: _served(page) == 0, within=15)
        assert page.get("/healthz")[0] == 200


def test_who_takes_a_long_answer_slowly_gets_it_all(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK", 0.05)
    with page.events("/nodes") as stream:
        stream.next()
        for at in range(4):
            time.sleep(0.1)  # longer than what is stuck may last
            page.source.listed.append(instance(f"joker{at}.0"))
            page.refresh()
            assert stream.next()["key"] == "hive"


def test_many_addresses_of_one_page_are_not_all_remembered(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_VIEWERS", 3)
    encoded, remembered = serving.Pages._encoded, []

    async def counted(self: serving.Pages, page: Page, request: Request, snapshot: Snapshot) -> str:
        text = await encoded(self, page, request, snapshot)
        remembered.append(len(self._made[1]))
        return text

    monkeypatch.setattr(serving.Pages, "_encoded", counted)
    for at in range(12):
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
        connection.request("GET", f"/events/nodes?junk={at}")
        assert connection.getresponse().readline().startswith(b"event: snapshot")
        connection.close()
        eventually(lambda: page.get("/healthz")[0] == 200)
    assert len(remembered) >= 12
    assert max(remembered) == 3


def _served(page: Running) -> int:
    """How many connections the server has."""
    found = psutil.Process().net_connections("tcp")
    return sum(one.laddr.port == page.port and one.status == psutil.CONN_ESTABLISHED for one in found)


def _is_cut(one: socket.socket) -> bool:
    one.settimeout(0.01)
    try:
        return one.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


# -- what an answer says


def test_a_failure_tells_nothing_of_the_server_and_is_guarded_as_all_answers(page: Running) -> None:
    for method in ("GET", "POST"):
        status, headers, body = page.get("/fail", method, X_Hivemind="1")
        assert (status, body) == (500, "Internal Server Error")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/nodes", "/events/x", "/api/nodes", "/metrics", "/healthz", "/nothing", "/echo"]
)
def test_what_the_hive_is_like_is_kept_in_no_cache_and_in_no_frame(page: Running, path: str) -> None:
    _, headers, _ = page.get(path)
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "unsafe" not in headers["content-security-policy"]
    assert "server" not in headers
