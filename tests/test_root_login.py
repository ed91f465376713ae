"""The login of the root's page, attacked; chapters as in the OWASP ASVS: authentication, sessions, access control."""

from __future__ import annotations

import base64
import http.client
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

import orjson
import pytest
from itsdangerous import URLSafeSerializer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from hivemind.errors import ConfigurationError
from hivemind.root import server, slowing
from hivemind.root.app import Site
from hivemind.root.login import own_path
from hivemind.root.pages import PAGES
from hivemind.root.tokens import Role, Token, TokenRefused, Tokens, new_key, weakness
from hivemind.root.visits import IDLE, LONGEST, MOST, Sessions

from .root_kit import FakeSource, Running, instance, running
from .waiting import eventually

KEY = "Zn3xCq8Wb5Lr7Yt2Vd9Ks4Pm6Hj1Gf0A"
COOKIE = "hivemind-gotham"
ADDRESSES = ["/", "/nodes", "/topics", "/api/nodes", "/api/durable", "/metrics", "/events/", "/events/nodes", "/signal"]


async def signal(request: Request) -> Response:
    return PlainTextResponse("lit")


def token(role: Role = Role.OPERATOR, days: float = 1.0, *, key: str = KEY, hive: str = "gotham") -> str:
    return Tokens(key, hive).make(Token("alice", role, time.time() + days * 86_400))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(slowing, "FIRST", 0.001)
    site = Site(tokens=Tokens(KEY, "gotham"), routes=[Route("/signal", signal, methods=["GET", "POST"])])
    with running(FakeSource([instance("batman.0")]), site) as made:
        eventually(lambda: made.monitor.snapshot.instances)
        yield made


@dataclass
class Browser:
    """What of a browser a login needs: it keeps cookies, and says where its posts come from."""

    page: Running
    cookies: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    set_cookies: list[str] = field(default_factory=list)

    def ask(
        self, path: str, fields: Mapping[str, str] | None = None, **more: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        headers = {"Accept": "text/html", **{name.replace("_", "-"): text for name, text in more.items()}}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        if fields is not None:
            headers |= {"Origin": self.origin or f"http://127.0.0.1:{self.page.port}"}
            headers |= {"Content-Type": "application/x-www-form-urlencoded"}
        connection = http.client.HTTPConnection("127.0.0.1", self.page.port, timeout=15)
        try:
            body = None if fields is None else urlencode(fields)
            connection.request("GET" if fields is None else "POST", path, body, headers)
            answer = connection.getresponse()
            self.set_cookies = answer.headers.get_all("Set-Cookie") or []
            self._keep()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def log_in(self, role: Role = Role.OPERATOR, back: str = "/") -> str:
        """Log in; where that leads."""
        status, headers, _ = self.ask("/login", {"token": token(role), "next": back})
        assert status == 303
        return str(headers["location"])

    def csrf(self) -> str:
        """The token of the forms on the page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.ask("/")[2])
        assert found is not None
        return found[1]

    def _keep(self) -> None:
        for header in self.set_cookies:
            name, _, rest = header.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies = (
                {**self.cookies, name: value} if value else {k: v for k, v in self.cookies.items() if k != name}
            )


# -- without anything


@pytest.mark.parametrize("path", [*ADDRESSES, *(page.path for page in PAGES if "{" not in page.path), "/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_who_shows_nothing_sees_nothing(page: Running, path: str, method: str) -> None:
    status, headers, body = page.get(path, method)
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert "batman" not in body


@pytest.mark.parametrize(
    "path", ["/login/", "//login", "/login/../nodes", "/%6cogin/x", "/healthz/", "/static/../nodes"]
)
def test_no_way_of_writing_an_address_opens_another_one(page: Running, path: str) -> None:
    status, _, body = page.get(path)
    assert status == 401
    assert "batman" not in body


def test_a_person_is_sent_to_the_login_and_from_there_to_where_they_were_going(page: Running) -> None:
    browser = Browser(page)
    status, headers, _ = browser.ask("/nodes?limit=5&after=a.0")
    assert (status, headers["location"]) == (303, "/login?next=/nodes%3Flimit%3D5%26after%3Da.0")
    html = browser.ask(headers["location"])[2]
    assert 'value="/nodes?limit=5&amp;after=a.0"' in html
    assert "batman" not in html
    assert browser.log_in(back="/nodes?limit=5&after=a.0") == "/nodes?limit=5&after=a.0"
    assert "batman" in browser.ask("/nodes")[2]


def test_health_is_open_and_says_nothing_of_the_hive(page: Running) -> None:
    assert (page.get("/healthz")[0], page.get("/healthz")[2]) == (200, '{"ok":true}')
    assert "well" in page.get("/healthz", **bearer(token(Role.VIEWER)))[2]


def test_what_the_login_page_needs_is_open_and_a_hives_own_files_are_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("static")
    (folder / "plan.txt").write_text("the plan")
    with running(FakeSource(), Site(tokens=Tokens(KEY, "gotham"), static=[folder])) as page:
        assert page.get("/static/hivemind.css")[0] == 200
        assert page.get("/static/plan.txt")[0] == 401
        assert page.get("/static/plan.txt", **bearer(token()))[2] == "the plan"


# -- tokens


def test_a_program_shows_its_token(page: Running) -> None:
    for role in Role:
        for path in ("/api/nodes", "/metrics", "/"):
            assert page.get(path, **bearer(token(role)))[0] == 200


def forged() -> dict[str, str]:
    """Tokens that are none, by what is wrong with them."""
    real = token()
    body, _, signature = real.removeprefix("hm_").rpartition(".")
    said = orjson.dumps({"name": "eve", "role": "operator", "until": time.time() + 999, "id": "0"})
    plain = base64.urlsafe_b64encode(said).rstrip(b"=").decode()
    foreign = URLSafeSerializer(KEY, salt="hivemind.token.gotham").dumps(
        {"name": "eve", "role": "operator", "until": 9e9}
    )
    return {
        "empty": "",
        "no signature": f"hm_{body}",
        "empty signature": f"hm_{body}.",
        "changed signature": f"hm_{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "another body": f"hm_{plain}.{signature}",
        "viewer's signature": f"hm_{body}.{token(Role.VIEWER).rpartition('.')[2]}",
        "no prefix": real.removeprefix("hm_"),
        "other key": token(key=new_key()),
        "other hive": token(hive="metropolis"),
        "over": token(days=-0.001),
        "another algorithm": f"hm_{foreign}",
        "too long": real + "A" * 2000,
        "a bomb": "hm_." + "A" * 900,
        "JWT none": "eyJhbGciOiJub25lIn0.eyJyb2xlIjoib3BlcmF0b3IifQ.",
    }


@pytest.mark.parametrize("wrong", forged())
def test_a_token_that_was_tampered_with_lets_nobody_in(page: Running, wrong: str) -> None:
    text = forged()[wrong]
    assert page.get("/api/nodes", **bearer(text))[0] == 401
    browser = Browser(page)
    status, _, html = browser.ask("/login", {"token": text, "next": "/"})
    assert (status, browser.cookies) == (401, {})
    assert text not in html or not text


def test_a_token_that_says_nonsense_lets_nobody_in() -> None:
    signer = Tokens(KEY, "gotham")._signer
    said: object
    for said in (
        [],
        "x",
        None,
        {},
        {"name": "a", "role": "admin", "until": 9e9},
        {"name": "a", "role": "viewer", "until": "x"},
    ):
        with pytest.raises(TokenRefused):
            Tokens(KEY, "gotham").read(f"hm_{signer.dumps(said)}")


@pytest.mark.parametrize("scheme", ["Basic", "Token", "bearer bearer", ""])
def test_a_token_is_shown_in_one_way(page: Running, scheme: str) -> None:
    assert page.get("/api/nodes", Authorization=f"{scheme} {token()}")[0] == 401
    assert page.get(f"/api/nodes?token={token()}")[0] == 401
    assert page.get("/api/nodes", Cookie=f"{COOKIE}={token()}")[0] == 401


def test_a_wrong_token_is_not_made_up_for_by_a_session(page: Running) -> None:
    browser = Browser(page)
    browser.log_in()
    assert browser.ask("/nodes")[0] == 200
    assert browser.ask("/nodes", Authorization="Bearer hm_wrong")[0] == 401


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("", "is not set"),
        ("short", "fewer than 32"),
        ("a" * 64, "repeats"),
        ("password" * 8, "repeats"),
        ("0123456789" * 3 + "01", "repeats"),
        (KEY, ""),
        ("9c1f0be47d2a8365e0b3a6f8d4c57219", ""),
        ("0f3a" * 8, "repeats"),
    ],
)
def test_a_weak_key_is_refused_and_said_nothing_of(key: str, fault: str) -> None:
    assert (fault in weakness(key)) if fault else weakness(key) == ""
    if fault:
        with pytest.raises(ConfigurationError, match="hm token --new-key") as raised:
            Tokens(key, "gotham")
        assert not key or key not in str(raised.value)


# -- roles


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "JUNK"])
@pytest.mark.parametrize("path", ["/signal", "/", "/api/nodes/batman/stop", "/healthz", "/static/hivemind.css"])
def test_a_viewer_and_nobody_change_nothing(page: Running, method: str, path: str) -> None:
    assert page.get(path, method, **bearer(token(Role.VIEWER)))[0] == 403
    assert page.get(path, method, X_Hivemind="1")[0] in (401, 403)


def test_an_operator_changes_what_there_is(page: Running) -> None:
    assert page.get("/signal", "POST", **bearer(token()))[2] == "lit"


def test_a_viewer_is_shown_no_form_that_is_not_theirs(page: Running) -> None:
    browser = Browser(page)
    browser.log_in(Role.VIEWER)
    assert "alice, viewer" in browser.ask("/")[2]
    assert browser.ask("/signal", {"csrf": browser.csrf()})[0] == 403


# -- sessions


def test_a_change_needs_the_token_of_its_own_session(page: Running) -> None:
    browser, other = Browser(page), Browser(page)
    browser.log_in(), other.log_in()
    own, foreign = browser.csrf(), other.csrf()
    assert own != foreign
    assert browser.ask("/signal", {"csrf": own})[0] == 200
    assert browser.ask("/signal", {}, X_CSRF_Token=own)[0] == 200
    for wrong in ("", foreign, own[:-1], own + "A", "\u20ac"):
        assert browser.ask("/signal", {"csrf": wrong})[0] == 403
    assert browser.ask("/signal", {})[0] == 403
    assert browser.ask(f"/signal?csrf={own}", {})[0] == 403
    assert browser.ask("/signal", {"csrf": own}, Sec_Fetch_Site="cross-site")[0] == 403
    browser.origin = "http://evil.example"
    assert browser.ask("/signal", {"csrf": own})[0] == 403
    assert browser.ask("/login", {"token": token()})[0] == 403, "nor are they logged in as somebody else"


def test_a_session_that_was_planted_is_not_taken_over(page: Running) -> None:
    browser = Browser(page, {COOKIE: "planted"})
    browser.log_in()
    first = browser.cookies[COOKIE]
    assert first != "planted"
    assert len(first) >= 40
    browser.log_in()
    assert browser.cookies[COOKIE] != first
    assert Browser(page, {COOKIE: first}).ask("/nodes")[0] == 303, "that of before has ended"
    assert Browser(page, {COOKIE: "planted"}).ask("/nodes")[0] == 303


def test_a_session_ends_when_they_log_out_also_for_who_has_its_cookie(page: Running) -> None:
    browser = Browser(page)
    browser.log_in()
    kept = dict(browser.cookies)
    assert browser.ask("/logout", {})[0] == 403
    assert browser.ask("/logout")[0] == 405
    assert browser.ask("/nodes")[0] == 200
    assert browser.ask("/logout", {"csrf": browser.csrf()})[0] == 303
    assert browser.cookies == {}
    assert Browser(page, kept).ask("/nodes")[0] == 303


def test_events_end_with_the_session(page: Running) -> None:
    browser = Browser(page)
    browser.log_in(Role.VIEWER)
    csrf = browser.csrf()
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.request("GET", "/events/nodes", headers={"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"})
    stream = connection.getresponse()
    assert stream.readline().startswith(b"event: snapshot")
    assert browser.ask("/logout", {"csrf": csrf})[0] == 303
    page.source.listed.append(instance("joker.0"))
    page.refresh()
    assert b"joker" not in stream.read(), "and it ends"
    connection.close()


@pytest.mark.parametrize(
    ("origin", "name", "secure"), [("", COOKIE, False), ("https://127.0.0.1:{}", f"__Host-{COOKIE}", True)]
)
def test_the_cookie_is_for_this_page_alone(page: Running, origin: str, name: str, secure: bool) -> None:
    browser = Browser(page, origin=origin.format(page.port))
    browser.log_in()
    [cookie] = browser.set_cookies
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert cookie.startswith(f"{name}=")
    assert flags == {"httponly", "samesite=strict", "path=/", *(["secure"] if secure else [])}
    assert browser.ask("/nodes")[0] == 200


def test_sessions_end_by_themselves() -> None:
    now = 1000.0
    sessions = Sessions(lambda: now)
    shown = Token("alice", Role.VIEWER, 1000.0 + 2 * LONGEST)
    idle, busy = sessions.begin(shown, "hm_a"), sessions.begin(shown, "hm_a")
    short = sessions.begin(Token("bob", Role.VIEWER, now + 60), "hm_b")
    now += 61
    assert sessions.find(short) is None
    now = 1000.0 + IDLE + 1
    assert sessions.find(busy) is None
    busy = sessions.begin(shown, "hm_a")
    while now < 1000.0 + IDLE + 1 + LONGEST:
        assert sessions.find(busy) is not None
        now += IDLE / 2
    assert sessions.find(busy) is None
    assert sessions.find(idle) is None


def test_one_token_cannot_end_the_sessions_of_another() -> None:
    sessions = Sessions()
    until = time.time() + 999
    mine = sessions.begin(Token("alice", Role.OPERATOR, until), "hm_a")
    theirs = [sessions.begin(Token("eve", Role.VIEWER, until), "hm_e") for _ in range(MOST + 30)]
    assert sessions.find(mine) is not None
    assert [one for one in theirs if sessions.find(one)] == theirs[-MOST:]


# -- where one is sent, who guesses


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "http://evil.example", "https:evil.example",
        "javascript:alert(1)", "/\t/evil.example", "/\n//evil.example", "", "evil", "///evil.example", "/login",
        "/logout",        " //evil.example", "http:///evil.example", "//[", "/" + "x" * 3000, "/\u2044evil.example",
        "/%0d%0aX: 1\r\nX: 2",
    ],
)  # fmt: skip
def test_a_login_leads_nowhere_else(page: Running, path: str) -> None:
    assert own_path(path) == "/"
    assert Browser(page).log_in(back=path) == "/"
    assert (
        'name="next" value="/"' in Browser(page).ask("/login?" + urlencode({"next": path[:1000]}))[2]
        or len(path) > 1000
    )


def test_the_login_page_says_nothing_of_what_was_typed(page: Running) -> None:
    evil = "<script>alert(1)</script>"
    status, headers, html = Browser(page).ask("/login", {"token": evil, "next": f"/{evil}"})
    assert (status, evil in html) == (401, False)
    assert headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_who_guesses_is_slowed_and_nobody_else_is(page: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowing, "FIRST", 0.1)
    monkeypatch.setattr(slowing, "LONGEST", 1.0)
    took = []
    for _ in range(4):
        begun = time.monotonic()
        assert page.get("/api/nodes", **bearer("hm_guess"))[0] == 401
        took.append(time.monotonic() - begun)
    assert took[3] > 0.7
    assert took[3] > 2 * took[1]
    browser = Browser(page)
    browser.log_in()
    statuses: list[int] = []
    guesses = [
        threading.Thread(target=lambda: statuses.append(page.get("/api/nodes", **bearer("hm_guess"))[0]))
        for _ in range(9)
    ]
    for one in guesses:
        one.start()
    eventually(lambda: 429 in statuses)
    assert browser.ask("/nodes")[0] == 200, "who has a session is not concerned"
    assert page.get("/healthz")[0] == 200
    for one in guesses:
        one.join(15)
    assert set(statuses) == {401, 429}


def test_guessers_are_told_apart_also_where_one_socket_hears_both_kinds_of_addresses() -> None:
    assert slowing.network_of("::ffff:192.0.2.1") == slowing.network_of("192.0.2.1")
    assert slowing.network_of("::ffff:192.0.2.1") != slowing.network_of("::ffff:192.0.2.2")
    assert slowing.network_of("::ffff:127.0.0.1") in server.HERE
    assert slowing.network_of("2001:db8::1") == slowing.network_of("2001:db8::2") != slowing.network_of("2001:db8:1::1")


def test_where_a_login_is_needed_addresses_are_ours_and_foreign_names_are_not(page: Running) -> None:
    for host, status in (
        ("192.0.2.7:9476", 401),
        ("[2001:db8::1]:9476", 401),
        ("evil.example", 403),
        ("127.1.evil.example", 403),
        ("[fe80::1%evil.example]", 403),
    ):
        assert page.get("/api/nodes", Host=host)[0] == status


def test_neither_a_token_nor_the_key_is_logged(page: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    browser, text = Browser(page), token()
    browser.log_in()
    browser.ask("/signal", {"csrf": browser.csrf()})
    page.get("/api/nodes", **bearer("hm_wrong"))
    page.get("/signal", "POST", **bearer(text))
    said = "\n".join(one.getMessage() for one in caplog.records)
    assert "'alice' logged in from 127.0.0.1 as operator" in said
    assert "alice: POST '/signal'" in said
    assert not any(secret in said for secret in (KEY, text, browser.cookies[COOKIE], "hm_wrong"))


def test_every_new_key_is_strong_and_another_one() -> None:
    keys = {new_key() for _ in range(200)}
    assert len(keys) == 200
    assert not [key for key in keys if weakness(key)]
