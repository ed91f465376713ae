from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hivemind.data.backlog import GroupBacklog, TopicBacklog
from hivemind.data.durability import Durability
from hivemind.data.entries import KeptTopic
from hivemind.picture.durable import DurableView

from .browser import Browser, find_browser
from .root_kit import FakeSource, instance, running
from .waiting import eventually

PROGRAM = find_browser()
WIDE = 15.0  # a browser on a busy machine

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="!!! THE PAGE IS NOT TESTED IN A BROWSER: install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


def connection(browser: Browser) -> str:
    return browser.text("#connection")


def test_an_event_changes_the_page_and_adds_and_removes_rows(browser: Browser) -> None:
    source = FakeSource([instance("batman.0", beat=100.0, received={"bat-signal-*": 12})])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes/batman")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        assert browser.text('[data-key="batman.0"] [data-field="received"]') == "12"

        source.listed = [instance("batman.0", beat=102.0, received={"bat-signal-*": 20}), instance("batman.1")]
        page.refresh()
        eventually(lambda: browser.text('[data-key="batman.1"] h3') == "batman.1", WIDE)
        assert browser.text('[data-key="batman.0"] [data-field="received"]') == "20"
        assert browser.text('[data-key="batman.0"] [data-field="rate"]') == "4.0/s"

        source.listed = [instance("batman.1", beat=None)]
        page.refresh()
        eventually(lambda: browser.text('[data-key="batman.1"] [data-field="state"]') == "lost", WIDE)
        assert browser.evaluate("document.querySelectorAll('.instance').length") == 1
        assert browser.evaluate("document.querySelector('#page').dataset.state") == "trouble"


def test_no_column_runs_into_the_next_however_narrow_the_window(browser: Browser) -> None:
    with running(FakeSource([instance("batman.0", received={"bat-signal-*": 12}, sent={"lamp": 1})])) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes/batman")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        browser.evaluate("document.querySelector('.page').style.width = '700px'")
        cut = "[...document.querySelectorAll('th')].filter(one => one.scrollWidth > one.clientWidth).length"
        assert browser.evaluate("document.querySelectorAll('th').length") > 10
        assert browser.evaluate(cut) == 0


def test_hostile_names_run_nothing_whether_the_server_or_an_event_brings_them(browser: Browser) -> None:
    evil = "</script><svg onload=window.hacked=1><img src=x onerror=window.hacked=1>"
    source = FakeSource([instance("batman.0", sent={evil: 1})])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes/batman")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        source.listed.append(instance("batman.1", sent={evil: 2}, metadata={evil: evil}))
        page.refresh()
        eventually(lambda: browser.text('[data-key="batman.1"] .name') == evil, WIDE)
        assert browser.text('[data-key="batman.0"] .name') == evil
        assert browser.evaluate("'hacked' in window") is False
        assert browser.evaluate("document.querySelectorAll('main svg, main img').length") == 0
        turns = (
            "[...document.querySelectorAll('[data-field]')].filter(e => getComputedStyle(e).unicodeBidi !== 'isolate')"
        )
        assert browser.evaluate(f"{turns}.map(e => e.outerHTML)") == [], "a name could turn what stands beside it"


def test_a_hidden_tab_gives_its_stream_back_and_takes_it_again_when_shown(browser: Browser) -> None:
    with running(FakeSource([instance()])) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        show(browser, hidden=True)
        page.source.listed.append(instance("joker.0"))
        page.refresh()
        eventually(lambda: len(page.monitor.snapshot.instances) == 2)
        assert browser.text('[data-key="joker"] .name') == ""
        show(browser, hidden=False)
        eventually(lambda: browser.text('[data-key="joker"] .name') == "joker", WIDE)


def test_a_page_whose_root_is_gone_says_so_and_comes_back_with_it(browser: Browser) -> None:
    with running(FakeSource([instance("batman.0")])) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        port = page.port
    eventually(lambda: connection(browser) == "connection lost, retrying", WIDE)
    assert browser.text('[data-key="batman"] .name') == "batman"
    with running(FakeSource([instance("joker.0")]), port=port):
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        eventually(lambda: browser.text('[data-key="joker"] .name') == "joker", WIDE)


def test_a_page_whose_root_hangs_says_so_and_goes_on_with_it(browser: Browser) -> None:
    let_go = threading.Event()
    with running(FakeSource([instance("batman.0")]), every=0.1) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        page.loop.call_soon_threadsafe(let_go.wait, 30)  # it closes no connection
        try:
            browser.evaluate("(now => performance.now = () => now() + 20000)(performance.now.bind(performance))")
            eventually(lambda: connection(browser) == "nothing heard from the root, retrying", WIDE)
        finally:
            let_go.set()
        eventually(lambda: connection(browser).startswith("live"), WIDE)


def test_a_stream_says_that_it_lives_though_there_is_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivemind.root.serving.SIGN", 0.1)
    with running(FakeSource([instance("batman.0")])) as page, page.events() as stream:
        assert stream.nodes()
        while (line := stream.response.readline().strip()) != b"event: sign":
            assert line is not None
        assert stream.response.readline().strip() == b"data: 1"


def show(browser: Browser, *, hidden: bool) -> None:
    value = "true" if hidden else "false"
    browser.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {value}, configurable: true}})")
    browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_kept_topics_appear_with_their_groups_and_go_with_the_last(browser: Browser) -> None:
    def group(lag: int) -> DurableView:
        state = GroupBacklog("orders.new", "shop", lag, 2, 3.0, 4.0, ("shop.0",))
        return DurableView(Durability((TopicBacklog(KeptTopic("orders.new", 1), 9, 900, 1, (state,)),)))

    source = FakeSource([instance("shop.0")])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/topics")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        assert browser.evaluate("getComputedStyle(document.querySelector('.kept')).display") == "none"
        source.view = group(5)
        page.refresh()
        eventually(lambda: browser.text('.kept [data-key="shop"] [data-field="lag"]') == "5", WIDE)
        assert browser.evaluate("getComputedStyle(document.querySelector('.kept')).display") == "block"
        source.view = DurableView()
        page.refresh()
        eventually(lambda: browser.evaluate("document.querySelectorAll('.kept .instance').length") == 0, WIDE)


def test_what_is_typed_leaves_the_nodes_that_match_also_when_others_come(browser: Browser) -> None:
    source = FakeSource([instance("batman.0"), instance("joker.0")])
    with running(source) as page:
        browser.open(f"http://127.0.0.1:{page.port}/nodes")
        eventually(lambda: connection(browser).startswith("live"), WIDE)
        browser.evaluate(
            "(at => { at.value = 'BAT'; at.dispatchEvent(new Event('input')); })(document.querySelector('#match'))"
        )
        assert shown(browser) == ["batman"]
        source.listed += [instance("batgirl.0"), instance("robin.0")]
        page.refresh()
        eventually(lambda: shown(browser) == ["batgirl", "batman"], WIDE)


def shown(browser: Browser) -> list[str]:
    rows = "[...document.querySelectorAll('tr[data-key]')].filter(row => row.checkVisibility())"
    return list(browser.evaluate(f"{rows}.map(row => row.dataset.key)"))
