"""Who can reach the page of a real root: where it listens, with which key, and what a new hive's folders do."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hivemind.root.tokens import new_key

from .test_root_process import House, Page, house
from .waiting import eventually

__all__ = ["house"]

HM = (sys.executable, "-m", "hivemind.cli.hm")


def hm(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("HIVEMIND", "XDG"))}
    env = mine | {"HOME": str(folder)} | environ
    return subprocess.run([*HM, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file with a key, made as people make it."""
    made = hm(tmp_path, "token", "--new-key", "hive.key")
    file = tmp_path / "hive.key"
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() not in made.stdout + made.stderr
    return file


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HIVEMIND_HIVE_DEFAULT_HOST": "0.0.0.0"}, "would show the page to other machines, and without HIVE_KEY"),
        ({"HIVEMIND_HIVE_DEFAULT_HOST": "::"}, "would show the page to other machines, and without HIVE_KEY"),
        ({"HIVEMIND_HIVE_DEFAULT_HOST": "0.0.0.0", "HIVEMIND_HIVE_KEY": "secret"}, "has fewer than 32 characters"),
        ({"HIVEMIND_HIVE_KEY": "batman" * 20}, "repeats itself"),
        ({"HIVEMIND_HIVE_DEFAULT_HOST": "no-such-host.invalid"}, "is no address of this machine"),
        ({"HIVEMIND_HIVE_DEFAULT_HOST": "a b"}, "write an address"),
    ],
)
def test_a_page_that_strangers_could_reach_without_a_login_is_not_begun(
    house: House, environ: dict[str, str], said: str
) -> None:
    root = house.start("-m", "hivemind.root", **environ)
    assert root.wait(30) == 1
    assert said in house.output(root)
    assert "Traceback" not in house.output(root)
    assert environ.get("HIVEMIND_HIVE_KEY", "batman") not in house.output(root)
    if "KEY" in said or "characters" in said:
        assert "`hm token --new-key FILE` makes one" in house.output(root)


def test_with_a_key_it_is_shown_to_who_has_a_token(house: House, key: Path) -> None:
    environ = {"HIVEMIND_HIVE_DEFAULT_HOST": "0.0.0.0", "HIVEMIND_HIVE_KEY_FILE": str(key)}
    root = house.start("-m", "hivemind.root", **environ)
    said = eventually(lambda: [line for line in house.output(root).splitlines() if "the page of" in line], within=30)
    page = Page(f"http://127.0.0.1:{said[0].rpartition(':')[2]}")
    eventually(page.answers, within=15)
    assert page.get("/api/nodes")[0] == 401
    made = hm(house.folder, "token", "--role", "operator", "--days", "2", "--name", "alice", **environ)
    assert made.returncode == 0
    token = made.stdout.strip()
    answer = subprocess.run(
        [sys.executable, "-c", ASK, page.url], input=token, capture_output=True, text=True, timeout=30
    )
    assert answer.stdout.strip() == "200", answer.stderr
    secret = key.read_text().strip()
    commands = " ".join(" ".join(one.cmdline()) for one in psutil.Process(root.pid).children(recursive=True))
    assert secret not in commands + " ".join(psutil.Process(root.pid).cmdline())
    for text in (house.output(root), hm(house.folder, "config", **environ).stdout, made.stderr):
        assert secret not in text
        assert token not in text


ASK = """
import sys, urllib.request
ask = urllib.request.Request(sys.argv[1] + "/api/nodes", headers={"Authorization": "Bearer " + sys.stdin.read()})
print(urllib.request.urlopen(ask, timeout=20).status)
"""


def test_without_a_key_there_is_no_token_and_a_key_is_never_written_over(tmp_path: Path, key: Path) -> None:
    none = hm(tmp_path, "token")
    assert (none.returncode, none.stdout) == (1, "")
    assert "HIVE_KEY is not set" in none.stderr
    before = key.read_text()
    again = hm(tmp_path, "token", "--new-key", str(key))
    assert again.returncode == 1
    assert key.read_text() == before
    weak = hm(tmp_path, "token", HIVEMIND_HIVE_KEY="robin")
    assert weak.returncode == 1
    assert "robin" not in weak.stderr
    assert hm(tmp_path, "token", "--name", "a\nb", HIVEMIND_HIVE_KEY=new_key()).returncode == 1


def test_a_new_hives_own_files_and_pages_are_served_and_its_task_files_are_not(house: House) -> None:
    assert hm(house.folder, "new", "gotham").returncode == 0
    hive = house.folder / "gotham"
    (hive / "static" / "map.txt").write_text("here be bats")
    (hive / "static" / "templates" / "index.html").write_text(
        '{% extends "hivemind/index.html" %}{% block footer %}Ours, {{ page.fields.hive }}{% endblock %}'
    )
    (hive / "templates" / "index.html").write_text("a task file")
    root = house.start("-m", "hivemind.root", HIVEMIND_HIVE=str(hive))
    page = Page(eventually(lambda: house.url_of(root), within=30))
    assert page.get("/static/map.txt") == (200, "here be bats")
    assert "Ours, gotham" in page.get("/")[1]
    for path in ("/static/templates/index.html", "/static/Templates/index.html", "/static/x/../templates/index.html"):
        assert page.get(path)[0] == 404
