"""The logo and the pictures: drawn here, readable by day, by night and by who cannot see them; they ask for nothing."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .docs_kit import CHECKOUT, PAGES

PICTURES = CHECKOUT / "docs" / "pictures"
STATIC = CHECKOUT / "hivemind" / "root" / "static"
SVG = "{http://www.w3.org/2000/svg}"
DRAWN = sorted([*PICTURES.glob("*.svg"), *STATIC.glob("*.svg")])
PLAIN = {"svg", "title", "desc", "style", "g", "path", "rect", "circle", "text"}


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def test_there_are_a_logo_and_two_pictures() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} >= {"logo", "wordmark", "basic", "scale"}


@pytest.mark.parametrize("path", DRAWN, ids=name_of)
def test_a_picture_is_shapes_and_words_and_asks_for_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    kinds = {one.tag.removeprefix(SVG) for one in ElementTree.fromstring(text).iter()}
    assert kinds <= PLAIN
    assert not re.search(r"href|url\(|@import|@font-face|\bon\w+=|<!ENTITY", text)
    assert text.count("://") == 1, "the name space"


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=name_of)
def test_a_picture_says_what_it_shows(path: Path) -> None:
    top = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert top.get("role") == "img"
    spoken = {one.get("id"): one.text for one in top if one.tag in (f"{SVG}title", f"{SVG}desc")}
    assert top.get("aria-labelledby") == " ".join(key for key in spoken if key)
    assert len(spoken) == 2
    assert all(spoken.values())


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=name_of)
def test_ink_has_a_colour_by_day_and_one_by_night(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    by_day, _, by_night = text.partition("@media (prefers-color-scheme: dark)")
    if "<text" in text or "class=" in text:
        assert re.search(r"#24262b", by_day)
        assert re.search(r"#e4e6ea", by_night)


def test_the_page_s_logo_is_the_logo_and_needs_no_style() -> None:
    """A strict Content-Security-Policy lets no style of a picture's own pass."""
    assert (STATIC / "logo.svg").read_bytes() == (PICTURES / "logo.svg").read_bytes()
    for path in STATIC.glob("*.svg"):
        assert "style" not in path.read_text(encoding="utf-8")


def test_every_picture_is_on_a_page_with_words_for_who_cannot_see_it() -> None:
    shown = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    on_no_page = {path.name for path in PICTURES.glob("*.svg") if f"pictures/{path.name}" not in shown}
    assert on_no_page <= {"logo.svg"}, "which the site and the root's page have at their top"
    assert not re.findall(r"!\[\]\(|<img(?![^>]*\balt=)[^>]*>", shown)
