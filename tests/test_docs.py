"""What is written is true: every block of README and docs works, every link leads somewhere, every list is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .docs_kit import CHECKOUT, PAGES, Reader, blocks

MOST_SKIPS = 5
FIRST = ("README.md", "docs/install.md", "docs/tutorial.md")  #: what a newcomer reads: programs start as theirs do
_LINK = re.compile(r"\[[^\]\n]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_a_page_works_as_written(page: Path) -> None:
    with Reader(is_warm=name_of(page) not in FIRST) as reader:
        for block in blocks(page):
            reader.follow(block)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    skipped = [(str(block), block.skipped) for page in PAGES for block in blocks(page) if block.skipped]
    assert len(skipped) <= MOST_SKIPS, skipped
    assert all(len(reason.split()) > 3 for _, reason in skipped), skipped


@pytest.mark.parametrize("page", [*PAGES, *CHECKOUT.glob("[A-Z]*.md"), *CHECKOUT.glob("examples/*/*.md")], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in links(page) if not leads_somewhere(page, link)]
    assert not broken


def test_every_page_can_be_reached_from_the_index() -> None:
    index = CHECKOUT / "docs" / "index.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert {page for page in PAGES if page != index} <= linked


def links(page: Path) -> Iterator[str]:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    yield from (link for link in _LINK.findall(text) if "://" not in link)


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
