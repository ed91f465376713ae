"""The root's pages in a real browser, driven by Playwright: a tab that notes whatever a calm page does not do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright

from .browser import find_browser

Scheme = Literal["light", "dark"]
SCHEMES: Sequence[Scheme] = ("light", "dark")
T = TypeVar("T")

PROGRAM = find_browser()
WHY_NOT = "!!! THE PAGES ARE NOT TESTED IN A BROWSER: install chromium"
PHONE = 390
"""Width of a phone's screen in CSS pixels."""
WIDE = 20_000.0
"""Milliseconds that a browser on a busy machine may need."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]

# Also what a policy forbids without a word in the console is told.
_TELL = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"""


def apart(call: Callable[[], T]) -> T:
    """What ``call`` gives, in a thread of its own: in ours Playwright has a loop, so that ``asyncio.run`` raises."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, without a window. See ``apart`` for what runs a loop while it is open."""
    assert PROGRAM is not None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """One tab. ``faults`` is what went wrong in it so far, ``transferred`` how many bytes it loaded, but for events."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    transferred: int = 0

    def open(self, path: str) -> None:
        """Go to ``path``, and wait until the page is there and follows the events."""
        answer = self.page.goto(self.url + path, wait_until="load", timeout=WIDE)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"

    def live(self, path: str) -> None:
        """Open ``path`` and wait for its first event."""
        self.open(path)
        self.page.wait_for_selector('#connection[data-state="live"]', timeout=WIDE)

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression, or of a function's call, on the page."""
        return self.page.evaluate(expression)

    def watch(self) -> None:
        """Note from now on what goes wrong."""
        host = urlsplit(self.url).netloc
        session = self.page.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._finished)
        self.page.add_init_script(_TELL)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"raised: {error}"))
        self.page.on("request", lambda request: self._asked(request, host))
        self.page.on("response", self._answered)

    def _finished(self, event: Mapping[str, Any]) -> None:
        self.transferred += int(event["encodedDataLength"])

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request, host: str) -> None:
        if urlsplit(request.url).netloc != host and not request.url.startswith("data:"):
            self.faults.append(f"asked elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.url}")


@contextmanager
def tab(
    browser: Browser, url: str, *, scheme: Scheme = "light", width: int = 1280, faults: bool = False
) -> Iterator[Tab]:
    """A tab for the page at ``url``, with nothing stored; what went wrong in it fails the test, unless ``faults``."""
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": width, "height": 844 if width == PHONE else 900},
        is_mobile=width == PHONE,
        has_touch=width == PHONE,
        reduced_motion="reduce",
    )
    try:
        made = Tab(context.new_page(), url)
        made.watch()
        yield made
        assert faults or not made.faults, made.faults
    finally:
        context.close()


def address_of(path: str, names: Mapping[str, str]) -> str:
    """The address of a page, with a name for each of its parameters. Raises KeyError where ``names`` has none."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: names[found[1]], path)
