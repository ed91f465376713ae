"""The documentation as a site: every page and every public name is on it, and it asks no other host for anything."""

from __future__ import annotations

import functools
import importlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

import hivemind

from . import docs_site
from .browser import Browser, find_browser
from .docs_kit import CHECKOUT
from .waiting import eventually

DOCS = CHECKOUT / "docs"
CONFIG = (CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8")
NAMES = [name for group in docs_site.NAMES.values() for name in group]
MADE = {"index.md", "files.md", *docs_site.TEXTS.values()}  #: pages that are no file in docs/
_ASKED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href|srcset)=\"?([^\"\s>]+)|url\(([^)]+)\)")


# -- what is on it


def test_every_page_of_the_docs_is_in_the_navigation() -> None:
    listed = re.findall(r": ([\w-]+\.md)$", CONFIG.partition("\nnav:\n")[2], re.MULTILINE)
    pages = {page.name for page in DOCS.glob("*.md")} - {"index.md"} | {"contents.md"}
    assert sorted(listed) == sorted(pages | MADE), "put the page into nav in mkdocs.yml"


def test_every_public_name_is_in_the_reference() -> None:
    documented = {f"hivemind.{name}" for name in hivemind.__all__}
    for text in DOCS.glob("*.md"):
        for module, names in re.findall(r"from (hivemind\.[\w.]+) import ([\w, ]+)", text.read_text(encoding="utf-8")):
            documented |= {f"{module}.{name.strip()}" for name in names.split(",")}
    testing = importlib.import_module("hivemind.testing")
    documented |= {f"hivemind.testing.{name}" for name in testing.__all__}
    assert len(NAMES) == len(set(NAMES))
    assert documented <= set(NAMES)
    assert all(getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in NAMES)


# -- from GitHub's Markdown


def page(text: str, name: str = "model.md") -> str:
    class File:
        src_uri = name

    class Page:
        file = File()

    return docs_site.on_page_markdown(text, Page())


def test_a_comment_is_not_shown_but_in_code_it_is() -> None:
    text = "a\n<!-- test: stop -->\nb\n```\n<!-- kept -->\n```\n"
    assert page(text) == "a\nb\n```\n<!-- kept -->\n```\n"


def test_a_diagram_of_states_is_a_table() -> None:
    text = "```mermaid\nstateDiagram-v2\n    [*] --> up\n    up --> down\n    up --> [*]\n    down --> up\n```\n"
    rows = ["| `up` (first) | `down`, the end |", "| `down` | `up` |"]
    assert page(text).splitlines()[2:] == rows


def test_lists_are_nested_by_four() -> None:
    assert page("- a\n  - b\n    - c\n1. d\n   e\n") == "- a\n    - b\n        - c\n1. d\n    e\n"


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("model.md#live", "model.md#live"),
        ("../CHANGELOG.md", "changelog.md"),
        ("../README.md", "index.md"),
        ("index.md", "contents.md"),
        ("../conf/hive.py", "files.md#conf-hive-py"),
        ("../examples/", "files.md#examples"),
        ("https://redis.io/../x", "https://redis.io/../x"),
    ],
)
def test_a_link_leads_to_the_page_on_the_site(link: str, leads: str) -> None:
    assert page(f"see [it]({link}).") == f"see [it]({leads})."


def test_a_text_from_the_top_is_as_if_it_lay_in_docs() -> None:
    text = '<h1><img src="docs/pictures/wordmark.svg" alt="Hivemind" height="80"></h1>\n[a](docs/a.md) [b](SECURITY.md)'
    assert docs_site.from_the_top(text) == "# Hivemind\n[a](a.md) [b](../SECURITY.md)"


def test_the_files_are_shown_in_blocks_that_nothing_in_them_can_end() -> None:
    shown = docs_site.files_page()
    for path in ("conf/redis.conf", "examples/gotham/nodes/batman/batman.py", ".ci/run"):
        assert f"### {path} {{#{docs_site.anchor(path)}}}" in shown
    assert not [path for path in docs_site.tracked("conf") if "````" in path.read_text(encoding="utf-8")]


# -- built


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once, with every warning an error."""
    if not find_spec("mkdocs") or not find_spec("material") or not find_spec("mkdocstrings"):
        pytest.skip("!!! THE SITE IS NOT BUILT, for MkDocs is not installed: make docs")
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(made)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
def test_nothing_of_the_site_comes_from_another_host(site: Path) -> None:
    asked = {
        (path.name, (found[1] or found[2]).strip("\"'"))
        for kind in ("*.html", "*.css")
        for path in site.rglob(kind)
        for found in _ASKED.finditer(path.read_text(encoding="utf-8"))
    }
    assert len(asked) > 50
    drawn = [path for path in site.rglob("*.html") if 'class="mermaid"' in path.read_text(encoding="utf-8")]
    assert drawn == [], "for which Material would load a script from elsewhere"
    assert not [one for one in asked if re.match(r"(?!data:)\w+:|//", one[1])]


@pytest.mark.slow
def test_what_is_for_the_tests_alone_is_not_on_the_site(site: Path) -> None:
    told = re.compile(r"(<!--|&lt;!--) (test: (file|run|stop|back)|made|measured)")
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("index.html")}
    assert [str(path) for path, text in pages.items() if told.search(text)] == []
    assert len(pages) > 30


@pytest.mark.slow
def test_each_public_name_is_there_with_all_that_it_can_do(site: Path) -> None:
    text = (site / "reference" / "index.html").read_text(encoding="utf-8")
    assert [name for name in NAMES if f'id="{name}"' not in text] == []
    assert 'id="hivemind.Node.send"' in text
    assert 'id="hivemind.testing.HiveTest.expect"' in text


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(find_browser() is None, reason="!!! THE SITE IS NOT TESTED IN A BROWSER: install chromium")
def test_a_browser_finds_a_word_and_asks_nobody_else(address: str) -> None:
    program = find_browser()
    assert program is not None
    with Browser(program) as browser:
        browser.open(address + "delivery/?q=incarnation")
        eventually(lambda: browser.evaluate("document.querySelectorAll('.md-search-result__item').length > 0"), 30)
        asked = browser.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    assert len(asked) > 4
    assert [url for url in asked if not url.startswith(address)] == []
