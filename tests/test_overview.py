"""The overview: what is not well and what to do, figures as drawings, and how it was at a moment of the last hour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from hivemind.data.records import Stats, SubscriptionRecord
from hivemind.picture.declared import Declared
from hivemind.picture.health import judge, problems
from hivemind.picture.past import HOUR, Event, Past, Step, What
from hivemind.picture.remedies import COUNTS
from hivemind.picture.snapshot import Snapshot, lost_in
from hivemind.picture.state import State
from hivemind.root.drawing import Frame, area, line, thinned, ticks
from hivemind.root.pages.overview import Overview, moment
from hivemind.root.pages.page import Item, Visit
from hivemind.supervisor.status import ProgramStatus

from .browser import Browser, find_browser
from .root_kit import FakeSource, Running, instance, running, tree_of
from .waiting import eventually

NOW = 1_795_000_000.0
PROGRAM = find_browser()
WIDE = 15.0
needs_browser = pytest.mark.skipif(
    PROGRAM is None, reason="!!! THE OVERVIEW IS NOT TESTED IN A BROWSER: install chromium"
)


def tree(past: Past, **query: str) -> Item:
    visit = Visit(Snapshot("gotham", "", NOW, past=past), NOW, query=query)
    try:
        Overview().tree(visit).__await__().send(None)
    except StopIteration as end:
        made: Item = end.value
        return made
    raise AssertionError("it waits")


def values(found: Item) -> dict[str, str]:
    return {one["key"]: one["fields"]["value"] for one in found["lists"]["figures"]}


HOUR_OF_STEPS = Past(
    tuple(
        Step(NOW - ago, sent=ago, lost=1.0, events=(Event(NOW - ago, What.LOST, "a.0", ago),) if ago % 600 == 0 else ())
        for ago in range(3595, -1, -5)
    )
)


# -- drawings


def test_a_line_goes_from_left_to_right_within_its_frame_and_is_broken_where_nobody_looked() -> None:
    steps = [Step(at, sent=sent) for at, sent in ((0.0, 0.0), (5.0, 4.0), (50.0, 2.0), (55.0, 9.0))]
    drawn = line(Frame(100.0, 100.0, 100, 32, 4.0), steps, lambda one: one.sent)
    assert drawn == "M0 31L5 1M50 16L55 1"
    assert area(Frame(100.0, 100.0, 100, 32, 4.0), steps[:2], lambda one: one.sent) == "M0 32L0 31L5 1V32Z"


def test_one_step_is_a_dot_and_none_is_nothing() -> None:
    frame = Frame(100.0, 100.0, 100, 32)
    assert line(frame, [Step(50.0)], lambda one: one.sent) == "M50 31h0"
    assert line(frame, [], lambda one: one.sent) == area(frame, [], lambda one: one.sent) == ticks(frame, [], 3) == ""


def test_steps_that_are_thinned_have_the_mean_of_their_rates_and_the_worst_of_their_levels() -> None:
    steps = [Step(0.0, sent=1.0, level="well"), Step(5.0, sent=3.0, level="trouble"), Step(20.0, level="note")]
    assert [(one.at, one.sent, one.level) for one in thinned(steps, 20.0)] == [
        (0.0, 2.0, "trouble"),
        (20.0, 0.0, "note"),
    ]


# -- the page


def test_figures_are_those_of_the_last_step_and_losses_those_of_ten_minutes() -> None:
    assert values(tree(HOUR_OF_STEPS)) | {"sent": "0/s", "lost": "120"} == values(tree(HOUR_OF_STEPS))


def test_at_another_moment_figures_and_events_are_those_of_then() -> None:
    found = tree(HOUR_OF_STEPS, at=str(int(NOW - 1230)))
    assert values(found)["sent"] == "1,230/s"
    assert [one["key"].split("/")[0] for one in found["lists"]["events"]] == [
        str(NOW - 1800),
        str(NOW - 2400),
        str(NOW - 3000),
    ]
    assert found["fields"]["then"].endswith(", 20 min 30 s ago")
    assert found["fields"]["earlier"] == f"?at={int(NOW - 1290)}"
    assert found["fields"]["later"] == f"?at={int(NOW - 1170)}"
    assert found["fields"]["cursor"] == "474"


def test_the_sentence_and_what_was_not_well_are_those_of_then() -> None:
    steps = (
        Step(NOW - 100, level="trouble", troubles=("a.0 is lost",), notes=("b.0 is stopped",)),
        Step(NOW - 50, level="well", instances=2.0),
    )

    def then(ago: int) -> tuple[str, str, str, list[tuple[str, str]]]:
        found = tree(Past(steps), at=str(int(NOW - ago)))
        problems = [(one["state"], one["fields"]["text"]) for one in found["lists"]["problems"]]
        return found["state"], found["fields"]["level"], found["fields"]["health"], problems

    told = "gotham was not well: a.0 is lost; b.0 is stopped."
    assert then(98) == ("trouble", "trouble", told, [("trouble", "a.0 is lost"), ("note", "b.0 is stopped")])
    assert then(48) == ("well", "well", "gotham was well: 2 instances ran.", [])
    assert then(1000) == ("unknown", "cannot be seen", "Nobody looked at gotham then.", [])
    assert "gotham is empty" in tree(Past(steps))["fields"]["health"]


def test_where_nobody_looked_nothing_is_claimed() -> None:
    assert set(values(tree(Past())).values()) == {"–", "0"} - {"0"}
    assert set(values(tree(HOUR_OF_STEPS, at=str(int(NOW - HOUR)))).values()) == {"–"}


def test_a_moment_is_a_number_and_within_the_hour() -> None:
    assert moment("", NOW) is None
    assert moment("17", NOW) == NOW - HOUR
    assert moment("99999999999", NOW) == NOW
    for odd in ("now", "-1", "1e3", "٣", "1" * 12):
        with pytest.raises(ValueError, match="write unix seconds"):
            moment(odd, NOW)


def test_what_is_counted_and_should_be_0_is_told_with_what_to_do() -> None:
    hears = SubscriptionRecord(
        "t", missed=1, dropped=1, failed=1, invalid=1, malformed=1, parked=1, dead=1, lost=1, received=9
    )
    health = judge("gotham", [instance("a.0", stats=Stats(subscriptions=(hears,)))], State())
    assert [health.todo[note] for note in health.notes] == [text.format(name="a.0") for text in COUNTS.values()]
    lost = judge("gotham", [instance("a.0", beat=None)], State())
    assert [lost.todo[one] for one in lost.troubles] == [
        "`hm why a.0` says how it ended; hived starts again what ends under it"
    ]


def test_messages_that_never_left_are_told_and_lost() -> None:
    one = instance("a.0", stats=Stats(unsent=27))
    health = judge("gotham", [one], State())
    assert health.notes == ("27 messages of a.0 never left it",)
    assert "`hm why a.0`" in health.todo[health.notes[0]]
    assert problems(one) == ["27 that never left it"]
    assert lost_in(one) == 27


def test_of_more_than_anybody_reads_the_first_are_told_and_the_others_counted() -> None:
    failing = {f"oven.{at}": ProgramStatus(f"oven.{at}", "failing", detail=f"exit {at}") for at in range(500)}
    snapshot = Snapshot("gotham", "", NOW, state=State(Declared(tuple(failing), programs=failing, is_supervised=True)))
    assert len(snapshot.health.troubles) == 500
    assert snapshot.health.sentence.startswith("gotham is not well: oven.0 is failing: exit 0; oven.1 is")
    assert snapshot.health.sentence.endswith("oven.19 is failing: exit 19; and 480 more")
    shown = [one["fields"]["text"] for one in tree_of(Overview(), snapshot)["lists"]["problems"]]
    assert (len(shown), shown[-2:]) == (51, ["oven.49 is failing: exit 49", "and 450 more"])


def test_every_command_that_is_advised_is_there() -> None:
    from hivemind.cli.hived import hived
    from hivemind.cli.hm import hm
    from hivemind.picture import remedies

    told = [text for text in vars(remedies).values() if isinstance(text, str)]
    told += [*remedies.COUNTS.values(), *remedies.DURABLE.values()]
    found = {tuple(words.split()[:2]) for text in told for words in re.findall(r"`((?:hm|hived) [^`]+)`", text)}
    known = {("hm", name) for name in hm.list_commands(None)} | {("hived", name) for name in hived.list_commands(None)}  # type: ignore[arg-type]
    assert len(found) > 6
    assert found <= known


# -- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None
    with Browser(PROGRAM) as made:
        yield made


@pytest.fixture
def page() -> Iterator[Running]:
    with running(FakeSource([instance("batman.0")]), every=0.2) as made:
        eventually(lambda: made.monitor.snapshot.past.steps)
        yield made


@needs_browser
def test_an_event_reaches_the_open_page_with_a_link_to_its_node(browser: Browser, page: Running) -> None:
    browser.open(f"http://127.0.0.1:{page.port}/")
    eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
    page.source.listed.append(instance("joker.0"))
    eventually(lambda: browser.text(".events .name") == "joker.0", WIDE)
    assert browser.evaluate("document.querySelector('.events .name').getAttribute('href')") == "/nodes/joker"
    assert browser.text('[data-key="instances"] .number') == "2"
    assert browser.evaluate("document.querySelector('[data-key=\"instances\"] .line').getAttribute('d')").startswith(
        "M"
    )


@needs_browser
def test_one_goes_back_in_time_with_the_keyboard_alone(browser: Browser, page: Running) -> None:
    browser.open(f"http://127.0.0.1:{page.port}/")
    eventually(lambda: browser.text("#connection").startswith("live"), WIDE)
    browser.evaluate("document.querySelector('#at').focus()")
    for key, code, text in (("PageDown", 34, ""), ("Enter", 13, "\r")):
        for kind in ("keyDown", "keyUp"):
            said = {"text": text} if kind == "keyDown" and text else {}
            browser._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **said)
    eventually(lambda: "at=" in str(browser.evaluate("location.search")), WIDE)
    eventually(lambda: browser.text("[data-field='then']").startswith("As it was at"), WIDE)


@needs_browser
def test_what_strangers_wrote_into_the_past_is_text(browser: Browser) -> None:
    evil = "<img src=x onerror=window.hacked=1>"
    with running(FakeSource([instance("batman.0")]), every=0.2) as page:
        eventually(lambda: page.monitor.snapshot.past.steps)
        snapshot = page.monitor.snapshot
        event = Event(snapshot.read_at or 0.0, What.LOST, "batman.0", 1, evil)
        steps = (Step(event.at - 5, events=(event, replace(event, life=2))),)
        page.monitor._recorder.past = replace(snapshot.past, steps=steps)
        browser.open(f"http://127.0.0.1:{page.port}/")
        eventually(lambda: evil in browser.text(".events"), WIDE)
        assert browser.evaluate("'hacked' in window") is False
        assert browser.evaluate("document.querySelectorAll('main img').length") == 0
        reads = page.source.reads
        eventually(lambda: page.source.reads > reads + 5, WIDE)  # two with one key do not become more with each event
        assert browser.evaluate("document.querySelectorAll('.events > [data-key]').length") == 2
