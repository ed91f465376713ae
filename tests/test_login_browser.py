"""The login in a real browser: by hand, with the keyboard, until it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from hivemind.root.app import Site
from hivemind.root.tokens import Role, Token, Tokens

from .page_kit import PHONE, PROGRAM, WHY_NOT, Tab, chromium, tab
from .root_kit import FakeSource, Running, instance, running

KEY = "Zn3xCq8Wb5Lr7Yt2Vd9Ks4Pm6Hj1Gf0A"
pytestmark = [pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT), pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture
def page() -> Iterator[Running]:
    with running(FakeSource([instance("batman.0")]), Site(tokens=Tokens(KEY, "gotham"))) as made:
        yield made


def url_of(page: Running) -> str:
    return f"http://127.0.0.1:{page.port}"


def log_in(found: Tab, role: Role = Role.VIEWER) -> None:
    """With the keyboard: the field has the focus."""
    found.page.keyboard.type(Tokens(KEY, "gotham").make(Token("alice", role, time.time() + 999)))
    found.page.keyboard.press("Enter")


def test_a_person_logs_in_with_the_keyboard_and_comes_to_where_they_were_going(browser: Browser, page: Running) -> None:
    with tab(browser, url_of(page)) as found:
        found.open("/nodes?limit=5")
        assert found.page.title() == "Log in · gotham · Hivemind"
        log_in(found)
        found.page.wait_for_selector('#connection[data-state="live"]')
        assert found.page.url == f"{url_of(page)}/nodes?limit=5"
        [cookie] = found.page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["expires"]) == (True, "Strict", -1)
        assert found.evaluate("document.cookie") == ""
        assert found.page.locator(".leave").inner_text().startswith("alice, viewer")


def test_a_wrong_token_is_told_and_not_shown(browser: Browser, page: Running) -> None:
    with tab(browser, url_of(page), faults=True) as found:
        found.open("/login")
        found.page.keyboard.type("hm_<b>wrong</b>")
        found.page.keyboard.press("Enter")
        assert found.page.get_by_role("alert").inner_text() == "this is no token of this hive."
        assert found.page.locator("#token").input_value() == ""
        assert "wrong" not in found.page.content()


def test_a_page_of_who_logged_out_elsewhere_goes_to_the_login(browser: Browser, page: Running) -> None:
    with tab(browser, url_of(page), faults=True) as found:
        found.open("/nodes")
        log_in(found)
        found.page.wait_for_selector('#connection[data-state="live"]')
        other = found.page.context.new_page()
        other.goto(url_of(page))
        other.get_by_role("button", name="Log out").click()
        other.wait_for_selector("#token")
        page.refresh()
        found.page.wait_for_url("**/login?next=/nodes", timeout=30_000)
        other.go_back()
        assert other.locator("#token").count() == 1, "going back shows nothing of the hive"


@pytest.mark.parametrize("width", [1280, PHONE])
def test_nothing_keeps_anybody_from_logging_in(browser: Browser, page: Running, width: int) -> None:
    for scheme in ("light", "dark"):
        with tab(browser, url_of(page), scheme=scheme, width=width) as found:
            found.open("/login?next=/nodes")
            assert Axe().run(found.page).response["violations"] == []
            assert found.evaluate("document.documentElement.scrollWidth") <= width
            log_in(found, Role.OPERATOR)
            found.page.wait_for_selector('#connection[data-state="live"]')
            assert found.evaluate("document.documentElement.scrollWidth") <= width
            assert Axe().run(found.page).response["violations"] == []
