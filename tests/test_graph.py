"""`hm graph`: the join of who sends and who hears, and each of its forms, with names as bad as they come."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind.data.records import (
    About,
    Instance,
    ResponderRecord,
    SentRecord,
    ServiceRecord,
    Stats,
    SubscriptionRecord,
)
from hivemind.picture.columns import columns, folded, stacked
from hivemind.picture.dot import dot
from hivemind.picture.graph import Graph, Hearing, Kind, Row, Sending, graph, narrowed, visible
from hivemind.picture.mermaid import mermaid
from hivemind.picture.snapshot import view_of
from hivemind.picture.svg import svg

from .cli_kit import RECEIVER, SENDER, Place, place
from .servers import RedisServer
from .waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning")  # pydot's own

HOSTILE = [
    '"]; x [label="',
    "<script>alert(1)</script>",
    "\\",
    '\\"',
    "a\nb",
    "\x1b[2J\x00",
    "&lt;",
    "#quot;",
    "```",
    "\\N",
]
SVG = "{http://www.w3.org/2000/svg}"


def instance(name: str, lost: bool = False, **stats: tuple[object, ...]) -> Instance:
    about = About(name.rpartition(".")[0], "cave", 7, 0.0, 1.2)
    return Instance(name, 1, None if lost else 1e12, about, Stats(**stats))  # type: ignore[arg-type]


def sends(name: str, *topics: str, sent: int = 1) -> Instance:
    return instance(name, services=tuple(ServiceRecord(topic, "running", sent) for topic in topics))


def hears(name: str, *patterns: str, received: int = 1) -> Instance:
    return instance(name, subscriptions=tuple(SubscriptionRecord(one, received=received) for one in patterns))


def lines(instances: list[Instance]) -> list[tuple[str, str, str, str]]:
    return [(one.sender, one.name, one.subscriber, one.note) for one in columns(graph(instances))]


# -- what is in it


def test_the_copies_of_a_node_are_one_and_their_counts_are_added() -> None:
    (row,) = graph([sends("a.0", "t", sent=2), sends("a.1", "t", sent=3), hears("b.0", "t", "t*", received=5)]).rows
    assert row == Row("t", Kind.TOPIC, (Sending("a", ("a.0", "a.1"), 5),), (Hearing("b", ("b.0",), ("t", "t*"), 10),))


def test_who_shares_a_process_is_a_node_of_its_own() -> None:
    both = tuple(ServiceRecord("t", member=member) for member in ("left", "right"))
    (row,) = graph([instance("small.0", services=both), hears("b.0", "t")]).rows
    assert [one.node for one in row.senders] == ["left", "right"]


def test_a_topic_that_nobody_hears_and_a_pattern_that_matches_nothing_are_marked() -> None:
    assert lines([sends("a.0", "lamp"), hears("b.0", "lapm", received=0)]) == [
        ("a", "lamp", "(nobody)", "nobody listens, did you mean lapm?"),
        ("(nobody)", "lapm", "b", "no service sends on it, did you mean lamp?"),
    ]


def test_a_pattern_that_something_outside_feeds_is_shown_and_not_marked() -> None:
    fed = [hears("b.0", "joker", received=3)]
    assert lines(fed) == [("(outside)", "joker", "b", "")]
    (line,) = columns(graph(fed), ["thermo.0", "thermo.1", "shop"])
    assert line.sender == "(outside, or stopped: shop, thermo)"


def test_what_handlers_send_has_its_node_and_its_rate_as_what_services_send() -> None:
    copies = [instance(f"b.{at}", sends=(SentRecord("shown", 3),)) for at in (0, 1)]
    seen = [view_of(copies[0], before=Stats(sends=(SentRecord("other", 9), SentRecord("shown", 1))), seconds=1.0)]
    (row,) = graph([*copies, hears("c.0", "shown")], seen=seen).rows
    assert (row.kind, row.senders) == (Kind.TOPIC, (Sending("b", ("b.0", "b.1"), 6, 2.0),))


def test_who_answers_requests_is_there_and_who_is_lost_is_not() -> None:
    answers = instance("abacus.0", responders=(ResponderRecord("sum"), ResponderRecord("\x1b[2J")))
    gone = instance("old.0", lost=True, services=(ServiceRecord("t"),), responders=(ResponderRecord("sum"),))
    assert lines([answers, gone]) == [("(who asks)", "sum (requests)", "abacus", "")]


def test_a_filter_keeps_topics_and_those_of_a_node_whole() -> None:
    whole = graph([sends("a.0", "x.1", "y"), sends("c.0", "x.1"), hears("b.0", "*")])
    assert [row.name for row in narrowed(whole, "x.*").rows] == ["x.1"]
    (row,) = narrowed(whole, "c").rows
    assert [one.node for one in row.senders] == ["a", "c"]
    assert narrowed(whole, "b") == whole
    assert narrowed(whole, "z").rows == ()


# -- as text


def test_a_hundred_nodes_that_do_the_same_are_one_line() -> None:
    workers = [sends(f"node{at}.0", "log") for at in range(1, 101)]
    assert lines([*workers, hears("archive.0", "*")]) == [("node1 … node100 (100)", "log", "archive", "")]


def test_a_hundred_topics_between_the_same_nodes_are_one_line() -> None:
    whole = [sends("a.0", *(f"t.{at:02}" for at in range(100))), hears("b.0", "t.*")]
    assert lines(whole) == [("a", "t.00 … t.99 (100)", "b", "")]


def test_a_ring_of_a_hundred_nodes_has_a_line_each_in_the_order_of_numbers() -> None:
    ring = [sends(f"n{at}.0", f"t.{at}") for at in range(100)] + [hears(f"n{at}.1", f"t.{at + 1}") for at in range(99)]
    found = lines([*ring, hears("n99.1", "t.0")])
    assert [line[1] for line in found] == [f"t.{at}" for at in range(100)]
    assert found[10] == ("n10", "t.10", "n9", "")


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["a1", "a2"], ["a1", "a2"]),
        (["a1", "a2", "a3", "a5"], ["a1 … a3 (3)", "a5"]),
        (["a9", "a10", "a11"], ["a9 … a11 (3)"]),
        (["a09", "a10", "a11"], ["a09 … a11 (3)"]),
        (["a09", "a9", "a10", "a11"], ["a09", "a9 … a11 (3)"]),
        (["a1.x", "a2.x", "a3.y"], ["a1.x", "a2.x", "a3.y"]),
        (["left", "right", "up"], ["left", "right", "up"]),
    ],
)
def test_only_a_whole_run_of_numbers_is_folded(names: list[str], shown: list[str]) -> None:
    assert folded((name, 1) for name in names) == shown


def test_many_names_share_lines_that_are_not_wider_than_one_long_name() -> None:
    names = [f"node{at}" for at in range(0, 60, 2)]
    lines = stacked(names)
    assert " ".join(lines) == ", ".join(names)
    assert (len(lines), max(map(len, lines))) == (8, 31)
    assert stacked(["x" * 40, "y", "z" * 40]) == [f"{'x' * 40},", "y,", "z" * 40]


def test_nodes_with_other_numbers_of_copies_are_not_folded_together() -> None:
    assert folded([("a1", 2), ("a2", 2), ("a3", 2), ("a4", 1)]) == ["a1 … a3 ×2 (3)", "a4"]


# -- in the languages of others


def hostile(names: list[str]) -> Graph:
    """A picture in which everything that can be said by others is one of ``names``."""
    ends = [(name, names[at - 1]) for at, name in enumerate(names)]
    rows = [
        Row(name, Kind.TOPIC, (Sending(name, ("a.0",), 1),), (Hearing(other, ("a.0",), (name,), 1),), name)
        for name, other in ends
    ]
    return Graph(tuple(rows))


def shown_by_dot(label: str) -> str:
    """What Graphviz shows for a quoted label."""
    assert label[0] == label[-1] == '"'
    text = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], label[1:-1], flags=re.DOTALL)
    return html.unescape(text)


def check_dot(whole: Graph) -> None:
    parsed = pydot.graph_from_dot_data(dot(whole))
    assert parsed is not None
    (picture,) = parsed
    columns = {one.get_name(): one.get_nodes() for one in picture.get_subgraphs()}
    topics = [shown_by_dot(one.get("label")) for one in columns["topics"]]
    assert topics == ["\n".join(visible(each) for each in (row.name, row.note) if each) for row in whole.rows]
    senders = {shown_by_dot(one.get("label")) for one in columns["senders"]}
    assert senders == {visible(end.node) for row in whole.rows for end in row.senders}
    assert len(picture.get_edges()) == sum(len(row.senders) + len(row.subscribers) for row in whole.rows)


_TEXT = r"(?:[A-Za-z0-9 ._/-]|#\d+;)*"
_MERMAID = re.compile(
    rf'  subgraph (?:senders|topics|subscribers)|    direction TB|  end|    (?P<box>[sr]\d+)\["(?P<node>{_TEXT})"\]'
    rf'|    (?P<middle>t\d+)\(\["(?P<topic>{_TEXT}(?:<br/>{_TEXT})?)"\]\)|  (?P<left>\w+) --> (?P<right>\w+)'
    r"|  classDef wrong [\w:#,-]+ ?\d?|  class t\d+(?:,t\d+)* wrong"
)


def check_mermaid(whole: Graph) -> None:
    head, *rest = mermaid(whole).split("\n")
    assert head == "flowchart LR"
    found = [_MERMAID.fullmatch(line) for line in rest]
    assert all(found), [line for line, each in zip(rest, found, strict=True) if not each]
    read = [each.groupdict() for each in found if each]
    declared = {each["box"] or each["middle"] for each in read} - {None}
    assert {end for each in read if each["left"] for end in (each["left"], each["right"])} <= declared
    topics = [
        re.sub(r"#(\d+);", lambda one: chr(int(one[1])), each["topic"]) for each in read if each["topic"] is not None
    ]
    assert [one.partition("<br/>")[0] for one in topics] == [visible(row.name) for row in whole.rows]


def check_svg(whole: Graph) -> None:
    root = ElementTree.fromstring(svg(whole))
    assert {one.tag for one in root.iter()} <= {
        f"{SVG}{name}" for name in ("svg", "style", "rect", "path", "g", "text", "title")
    }
    known = {"aria-label", "class", "d", "height", "role", "rx", "stroke-width", "viewBox", "width", "x", "y"}
    assert {name for one in root.iter() for name in one.attrib} <= known
    titles = {one.text or "" for one in root.iter(f"{SVG}title")}
    assert {visible(end.node) for row in whole.rows for end in row.subscribers} <= titles
    assert len(list(root.iter(f"{SVG}path"))) == sum(len(row.senders) + len(row.subscribers) for row in whole.rows)


@pytest.mark.parametrize("check", [check_dot, check_mermaid, check_svg])
def test_hostile_names_stay_text_in_every_form(check: object) -> None:
    assert callable(check)
    check(hostile(HOSTILE))
    check(Graph(()))


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=4, unique_by=visible))
def test_whatever_is_called_whatever_every_form_can_be_read(names: list[str]) -> None:
    whole = hostile(names)
    check_dot(whole)
    check_mermaid(whole)
    check_svg(whole)


@pytest.mark.skipif(
    shutil.which("dot") is None, reason="Graphviz is not installed: its grammar is checked by pydot alone"
)
def test_graphviz_draws_it() -> None:
    done = subprocess.run(
        ["dot", "-Tsvg"], input=dot(hostile(HOSTILE)).encode(), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    titles = {one.text for one in ElementTree.fromstring(done.stdout).iter(f"{SVG}text")}
    assert {"<script>alert(1)</script>", '"]; x [label="', "&lt;", "\\N"} <= titles


def test_the_picture_is_light_or_dark_as_its_reader_has_it_and_nothing_is_cut_out_of_it() -> None:
    whole = graph([sends(f"n{at}.0", f"t.{at}") for at in range(100)])
    root = ElementTree.fromstring(svg(whole))
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in list(root.iter(f"{SVG}rect"))[1:]:
        assert float(box.attrib["x"]) + float(box.attrib["width"]) < width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) < height
    assert svg(whole, style="").count("<style") == 0


# -- on a real server


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    environ = {"HIVEMIND_REDIS_URL": server.url, "HIVEMIND_HIVE_NAME": hive_name}
    with place(tmp_path, **environ) as made:
        made.write("sender.py", SENDER)
        made.write("receiver.py", f"{RECEIVER}        self.send('shown', payload)\n")
        made.write("deaf.py", RECEIVER.replace("Receiver", "Deaf").replace("num*", "nubmers"))
        yield made


def drawn(here: Place) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(here.run("graph", "--format", "json").stdout)["rows"]
    return rows


def test_graph_shows_a_real_network_with_what_handlers_send_in_columns_and_in_every_format(here: Place) -> None:
    for file in ("sender.py", "receiver.py", "receiver.py", "deaf.py"):
        here.hm("run", file).says("running")
    both = [["receiver.0", "receiver.1"]]  # what handlers send is told by a beat of each
    eventually(lambda: [one["instances"] for one in drawn(here)[1]["senders"]] == both, 20)
    eventually(lambda: all(one["sent"] for one in drawn(here)[:2]), 20)
    head, row, shown, deaf = here.run("graph").stdout.splitlines()
    assert shown.split() == ["receiver", "×2", "→", "shown", "→", "(nobody)", "nobody", "listens"]
    assert head.split() == ["SENDERS", "TOPICS", "SUBSCRIBERS"]
    assert row.split() == ["sender", "→", "numbers", "→", "receiver", "×2"]
    assert (row.index("numbers"), row.index("receiver")) == (head.index("TOPICS"), head.index("SUBSCRIBERS"))
    assert deaf.endswith("deaf         no service sends on it, did you mean numbers?")
    forms = {form: here.run("graph", "--format", form).stdout for form in ("dot", "mermaid", "svg")}
    assert pydot.graph_from_dot_data(forms["dot"]) is not None
    assert forms["mermaid"].startswith("flowchart LR\n")
    assert ElementTree.fromstring(forms["svg"]).tag == f"{SVG}svg"


def test_a_filter_that_matches_nothing_says_so_and_one_that_cannot_be_is_refused(here: Place) -> None:
    assert "no node has joined yet" in here.run("graph").stderr
    here.hm("run", "sender.py").says("running")
    done = here.run("graph", "--filter", "joker")
    assert (done.returncode, "joker matches no topic and no node" in done.stderr) == (0, True)
    assert here.run("graph", "--filter", "[").returncode == 2
