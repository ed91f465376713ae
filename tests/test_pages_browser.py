"""Every page of the root in a real browser: for everybody, on any screen, with the keyboard, and without a fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from hivemind.root.pages import PAGES

from .hive_kit import QUIET, SENDER, Hive, hive_in
from .page_kit import PHONE, PROGRAM, SCHEMES, WHY_NOT, Tab, address_of, chromium, tab
from .waiting import eventually

pytestmark = [pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT), pytest.mark.slow]

SHOP = """
from hivemind import Node, service

class Shop(Node):
    @service("orders.new", durable=True, every=0.3)
    def sell(self, service):
        service.send({"number": 1, "of": "<b>bats</b>"})
"""
KITCHEN = """
from hivemind import Node, Reject, subscription

class Kitchen(Node):
    @subscription("orders.*", durable=True)
    def cook(self, payload):
        raise Reject("there is no <i>fire</i>")
"""
BROKEN = "raise ValueError('no <u>light</u>')\n"
NAMES = {"node": "batman", "topic": "orders.new", "instance": "batman.0"}
MOST = 100 * 1024  # bytes that a page may load
EACH = [page.path for page in PAGES]

# What can be reached with the Tab key and is seen: each is noted until it had the focus.
FOCUSABLE = (
    "a[href], button, input:not([type=hidden], [type=radio]:not(:checked)), select, textarea, summary, "
    "[tabindex]:not([tabindex='-1'])"
)
NOTE = """(what) => {
  const seen = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled;
  window.unreached = new Set([...document.querySelectorAll(what)].filter(seen));
  window.unmarked = [];
  document.addEventListener("focusin", ({ target }) => {
    window.unreached.delete(target);
    const isDrawn = target.closest("svg") !== null;
    const style = getComputedStyle((isDrawn && target.querySelector("rect")) || target);
    const isMarked = isDrawn
      ? style.strokeWidth === "2px"
      : style.outlineStyle !== "none" && style.outlineWidth !== "0px";
    if (target.matches(what) && !isMarked) window.unmarked.push(target.outerHTML.slice(0, 120));
  });
  return window.unreached.size;
}"""
LEFT = """[...window.unreached].filter((one) => one.isConnected && one.checkVisibility())
  .map((one) => one.outerHTML.slice(0, 160))"""
WIDER = """[...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.right > innerWidth + 1 && box.width > 0 && !one.closest(".scroll, svg, .skip, [hidden]");
}).slice(0, 5).map((one) => `${one.tagName} ${one.className} ${Math.round(one.getBoundingClientRect().right)}`)"""
# How wide the page is where the hive's folder, and so the path of its socket in the footer, is as long as it may be.
WITH_A_LONG_PATH = """(() => {
  document.querySelector("footer [data-field=redis]").textContent = `unix:///${"long_".repeat(18)}/redis.sock`;
  return document.documentElement.scrollWidth;
})()"""


@dataclass
class World:
    """A hive that runs, with its page, and the browser."""

    hive: Hive
    url: str
    browser: Browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with hive_in(tmp_path_factory.mktemp("pages") / "gotham") as hive:
        for name, code in (("batman", SENDER), ("robin", QUIET), ("shop", SHOP), ("kitchen", KITCHEN)):
            hive.node(name, code)
        hive.write(
            "config/hive.py", (hive.folder / "config/hive.py").read_text() + 'NODES = {"batman": {"replicas": 2}}\n'
        )
        hive.start()
        url = eventually(lambda: hive.status().page, within=30)
        eventually(lambda: "orders.new" in hive.run("hm", "dead", "list").stdout, within=30)
        hive.node("joker", BROKEN)
        hive.run("hived", "reload")
        with chromium() as browser:
            yield World(hive, str(url), browser)


def described(found: Tab) -> str:
    """What axe-core has to say of a page, a line each: the rule, what to do, and where."""
    answer = Axe().run(found.page)
    return "\n".join(
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in answer.response["violations"]
    )


@pytest.mark.parametrize("path", EACH)
def test_a_page_is_small_and_nothing_keeps_anybody_from_using_it(world: World, path: str) -> None:
    with tab(world.browser, world.url) as found:
        found.live(address_of(path, NAMES))
        found.page.wait_for_timeout(300)  # what is loaded when all is there counts, too
        assert 2_000 < found.transferred < MOST
        for scheme in SCHEMES:
            found.page.emulate_media(color_scheme=scheme)
            assert not (said := described(found)), f"{scheme}: {said}"
        count = found.page.evaluate(NOTE, FOCUSABLE)
        assert count >= 3
        for _ in range(count + 20):
            found.page.keyboard.press("Tab")
        assert found.evaluate(LEFT) == []
        assert found.evaluate("window.unmarked") == []


@pytest.mark.parametrize("path", EACH)
def test_a_phone_shows_a_page_in_its_width_and_lets_it_be_used(world: World, path: str) -> None:
    with tab(world.browser, world.url, width=PHONE) as found:
        found.live(address_of(path, NAMES))
        assert found.evaluate("document.documentElement.scrollWidth") <= PHONE, found.evaluate(WIDER)
        assert found.evaluate(WITH_A_LONG_PATH) <= PHONE, found.evaluate(WIDER)
        assert not (said := described(found)), said


@pytest.mark.parametrize("path", EACH)
def test_a_page_is_complete_without_a_script(world: World, path: str) -> None:
    context = world.browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(world.url + address_of(path, NAMES))
        assert page.locator("main").inner_text().strip()
        assert page.locator("h1").count() == 1
        assert page.locator("nav a").count() >= len([one for one in PAGES if one.label])
    finally:
        context.close()


def test_the_first_tab_leads_past_the_navigation(world: World) -> None:
    with tab(world.browser, world.url) as found:
        found.live("/nodes")
        found.page.keyboard.press("Tab")
        assert found.evaluate("document.activeElement.className") == "skip"
        found.page.keyboard.press("Enter")
        assert found.evaluate("location.hash") == "#main"


def test_a_page_that_is_not_there_is_as_good_a_page(world: World) -> None:
    with tab(world.browser, world.url, faults=True) as found:
        found.page.goto(f"{world.url}/nodes/nobody")
        assert found.page.locator("h1").inner_text() == "Not found"
        assert not (said := described(found)), said


def test_what_is_watched_for_is_seen(world: World) -> None:
    with tab(world.browser, world.url, faults=True) as found:
        found.live("/")
        assert found.faults == []
        found.evaluate("console.error('one')")
        found.evaluate("void fetch('http://127.0.0.1:9/elsewhere').catch(() => 0)")
        found.evaluate(
            "void (document.body.innerHTML += '<img src=x onerror=alert(1)><a href=# style=color:red>two</a>')"
        )
        wanted = (
            "error: one",
            "violates the following Content Security Policy",
            "policy: script-src-attr",
            "404: ",
        )

        def is_all_seen() -> bool:
            found.evaluate("0")  # only who asks is told what happened
            return all(what in "\n".join(found.faults) for what in wanted)

        eventually(is_all_seen)
        assert "image-alt" in described(found)
