"""Pictures of every page, for the docs: ``python -m tests.screenshots``, which is `make screenshots`.

The hive is examples/watchtower, run by hived. It is given some minutes, and a copy of a node is killed halfway, so that
there is something to see.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Browser, ViewportSize, sync_playwright

from .browser import find_browser
from .page_kit import SCHEMES, Scheme
from .waiting import eventually

HERE = Path(__file__).parent.parent
FOLDER = HERE / "docs" / "pictures" / "pages"
EXAMPLE = HERE / "examples" / "watchtower"
WIDE: ViewportSize = {"width": 1200, "height": 780}
PHONE: ViewportSize = {"width": 390, "height": 780}
SETTLED = 2.5  # seconds after which a page has had its first events

PAGES = {
    "overview": "/",
    "network": "/network",
    "nodes": "/nodes",
    "node": "/nodes/gauges",
    "topics": "/topics",
    "topic": "/topics/host.memory",
    "dead": "/dead",
    "docs": "/docs",
}


@contextmanager
def watchtower(seconds: float) -> Iterator[str]:
    """A copy of the example that runs; where its page is, after so many seconds."""
    with tempfile.TemporaryDirectory(prefix="hm-") as folder:
        hive = Path(folder) / "watchtower"
        shutil.copytree(EXAMPLE, hive, ignore=shutil.ignore_patterns("var", "__pycache__"))
        environ = {**os.environ, "HIVEMIND_HIVE_DEFAULT_PORT": "0", "HIVEMIND_LOG_LOCATION": "log"}
        hived = [str(Path(sys.executable).parent / "hived")]
        subprocess.run([*hived, "start"], cwd=hive, env=environ, check=True)
        try:
            address = hive / "var" / "root.json"
            eventually(address.exists, within=30)
            url = str(json.loads(address.read_text())["url"])
            time.sleep(seconds / 2)
            with urlopen(f"{url}/api/nodes/usual") as answer:
                os.kill(json.load(answer)["instances"][0]["pid"], signal.SIGKILL)
            time.sleep(seconds / 2)
            yield url
        finally:
            subprocess.run([*hived, "stop"], cwd=hive, env=environ, check=True)


def shoot(browser: Browser, url: str, name: str, size: ViewportSize, scheme: Scheme) -> None:
    """One picture of one page."""
    page = browser.new_page(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    answer = page.goto(url)
    assert answer is not None
    assert answer.ok, f"{url}: {answer.status}"
    page.wait_for_timeout(SETTLED * 1000)
    page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
    page.close()


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long the hive runs before")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    with watchtower(chosen.seconds) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        for scheme in SCHEMES:
            for name, path in PAGES.items():
                shoot(browser, url + path, name, WIDE, scheme)
            shoot(browser, url, "phone", PHONE, scheme)
        browser.close()


if __name__ == "__main__":
    main()
