"""The paragraph of `hm why`, one for each way in which a node may fail, and how the line that is to blame is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hivemind.cli.why_cause import Cause, last_crash, last_error, raised_in, stood_in
from hivemind.cli.why_counts import counts
from hivemind.cli.why_words import Copy, Known, colour, paragraph
from hivemind.data.backlog import GroupBacklog
from hivemind.data.records import (
    About,
    Instance,
    MemberRecord,
    ResponderRecord,
    ServiceRecord,
    Stats,
    SubscriptionRecord,
)
from hivemind.supervisor.lives import HUNG, Ended, Lives, hung, say_hung
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.status import ProgramStatus

NOW = 1_000_000.0
PLACE = "nodes/batman/batman.py:12"
ENABLED = ("batman is enabled by nodes/__init__.py:1", "")


def instance(name: str = "batman.0", *, lost: bool = False, **stats: Any) -> Instance:
    about = About(name.partition(".")[0], "gotham", 4711, NOW - 7500.0, 6.0)
    return Instance(name, 7, None if lost else NOW + 6, about, Stats(**stats))


def known(*copies: Copy, **more: Any) -> Known:
    return Known("batman", NOW, copies, **({"enabled": ENABLED} | more))


def ended(status: int | None = 1, signal: str = "", words: str = "", lasted: float = 0.4) -> Ended:
    return Ended(NOW - 3.0 - lasted, NOW - 3.0, status, signal, words)


def up(state: str = "running", **more: Any) -> ProgramStatus:
    return ProgramStatus("batman.0", state, 4711, 300.0, **more)


def group(lag: int, **more: Any) -> GroupBacklog:
    return GroupBacklog("orders", "batman", lag, **({"pending": 3, "unread": 40.0, "held": 2.0} | more))


def once(last: Ended) -> Lives:
    return Lives(0, None, (last,))


FAILING = Lives(7, NOW + 14.0, (ended(),))
CRASHING = replace(FAILING, lives=(ended(None, "SIGSEGV"),))
ADOPTED = replace(FAILING, lives=(ended(None, lasted=60.0),))
ABORTED = replace(FAILING, lives=(ended(None, "SIGABRT", lasted=60.0),))
LAMP = ServiceRecord("lamp", "backoff", 1, restarts=2, error="no light")
FAILS = "batman.0 is failing: it has ended 7 times in a row, 3 s ago for the last time:"
BROKE = "batman could not be loaded again as its file is now"
BEHIND = "Its group batman is 1,204 messages behind on orders, the oldest from 1 min 30 s ago;"
MISTAKE = "The settings are at fault, and those of before hold"
RUNS = "batman.0 has been running for 2 h 5 min (process 4711 on gotham)."
AGAIN = "it is tried again as soon as that file changes"
QUICKLY = "it ended with 1 after 0.4 s; next try in 14 s"
UNKNOWN = "it ended after 1 min 0 s, nobody learns how"
BEGINS_NEXT = "begins next with the code of before, release 2, because that of now is not well"
SENT_BACK = "goes on with the code of before, release 2, because that of now is not well"
GOLDEN: dict[str, tuple[Known, str]] = {
    "runs well": (
        known(Copy("batman.0", instance(), up())),
        f"batman runs well. {RUNS}",
    ),
    "a crash loop by an exception": (
        known(Copy("batman.0", lives=FAILING, cause=Cause("KeyError: 'cape'", PLACE, NOW - 3.1))),
        f"{FAILS} it ended with 1 after 0.4 s, of KeyError: 'cape' at {PLACE}; next try in 14 s.",
    ),
    "a crash loop by a signal": (
        known(Copy("batman.0", lives=CRASHING, cause=Cause("Segmentation fault", PLACE))),
        f"{FAILS} it died of SIGSEGV after 0.4 s, of Segmentation fault at {PLACE}; next try in 14 s.",
    ),
    "started again, and well since": (
        known(Copy("batman.0", instance(), up(revivals=2), once(ended(None, "SIGKILL", lasted=240.0)))),
        f"batman runs well. {RUNS} It was started again 2 times; 3 s ago it died of SIGKILL after 4 min 0 s.",
    ),
    "killed from outside, some time after an error": (
        known(
            Copy(
                "batman.0", instance(), up(), once(ended(None, "SIGKILL", "it was said", 60.0)), cause=Cause("KeyError")
            )
        ),
        f"batman runs well. {RUNS} 3 s ago it died of SIGKILL after 1 min 0 s.",
    ),
    "killed after it was adopted, some time after an error": (
        known(Copy("batman.0", lives=ADOPTED, cause=Cause("KeyError", PLACE, NOW - 20.0))),
        f"{FAILS} {UNKNOWN}; next try in 14 s.",
    ),
    "adopted, and an error was the last that it told": (
        known(Copy("batman.0", lives=ADOPTED, cause=Cause("KeyError", PLACE, NOW - 4.0))),
        f"{FAILS} {UNKNOWN}; the last error that it told: KeyError at {PLACE}; next try in 14 s.",
    ),
    "killed by a signal that leaves no word, some time after an error": (
        known(Copy("batman.0", lives=ABORTED, cause=Cause("KeyError", PLACE, NOW - 20.0))),
        f"{FAILS} it died of SIGABRT after 1 min 0 s; next try in 14 s.",
    ),
    "hung and killed": (
        known(Copy("batman.0", instance(), up(), once(ended(None, "SIGKILL", HUNG, lasted=60.0)), stood=PLACE)),
        f"batman runs well. {RUNS} 3 s ago it died of SIGKILL after 1 min 0 s, killed because it hung at {PLACE}.",
    ),
    "quarantine": (
        known(fault=f"{PLACE}: SyntaxError: no"),
        f"batman is quarantined: {PLACE}: SyntaxError: no; it is tried again as soon as that file changes.",
    ),
    "quarantine, with a release to go back to": (
        known(fault=f"{PLACE}: SyntaxError: no", way_out="`hived rollback` goes back"),
        f"batman is quarantined: {PLACE}: SyntaxError: no; {AGAIN}; `hived rollback` goes back.",
    ),
    "a file that broke, and its node fails of it": (
        known(Copy("batman.0", program=up("failing"), lives=FAILING), fault=f"{PLACE}: SyntaxError: no"),
        f"batman cannot be loaded: {PLACE}: SyntaxError: no; {AGAIN}. {FAILS} {QUICKLY}.",
    ),
    "to be sent back": (
        known(Copy("batman.0", program=up("failing", fault="SyntaxError: no", release="release 2"), lives=FAILING)),
        f"batman.0 {BEGINS_NEXT}: SyntaxError: no; mend the file and `hived reload`. {FAILS} {QUICKLY}.",
    ),
    "a file that broke while its node runs": (
        known(Copy("batman.0", instance(), up()), fault=f"{PLACE}: SyntaxError: no", is_kept=True),
        f"{BROKE}: {PLACE}: SyntaxError: no; it goes on as it was. {RUNS}",
    ),
    "sent back by a roll": (
        known(Copy("batman.0", instance(), up(fault="its handler fails: KeyError", release="release 2"))),
        f"batman.0 {SENT_BACK}: its handler fails: KeyError; mend the file and `hived reload`. {RUNS}",
    ),
    "waits for Redis": (
        known(Copy("batman.0", program=up()), redis="Redis at redis://10.0.0.2: Connection refused"),
        "batman.0 has been up for 5 min 0 s (process 4711), and waits for Redis.",
    ),
    "Redis was away": (
        known(Copy("batman.0", instance(outage="waiting for Redis: no route, for 12 s until 14:02"))),
        f"batman runs well. {RUNS} Its last trouble with Redis: waiting for Redis: no route, for 12 s until 14:02.",
    ),
    "behind": (
        known(Copy("batman.0", instance()), groups=(group(1204, unread=90.0),)),
        f"{RUNS} {BEHIND} it has 3 in hand, the oldest for 2 s; nobody reads in it now.",
    ),
    "a full outbox": (
        known(Copy("batman.0", instance(outbox=100_000, overdue=99_000))),
        f"{RUNS} 100,000 of its messages wait in its outbox: Redis, or a part of it, does not take them.",
    ),
    "lines of its log are lost": (
        known(Copy("batman.0", instance(log_lost=3))),
        f"{RUNS} 3 lines of its log could not be written: is there room on its disk?",
    ),
    "taken, but not confirmed": (
        known(Copy("batman.0", instance(outbox=1, overdue=1, unconfirmed="it does not fsync"))),
        f"{RUNS} 1 of its messages is taken, but not confirmed: it does not fsync.",
    ),
    "stopped by hand": (
        known(Copy("batman.0", is_stopped=True)),
        "batman.0 was stopped by `hm stop`; `hm start batman.0` starts it.",
    ),
    "standing by": (
        known(Copy("batman.0", program=up("standby", detail="its number is held by process 12 on beta"))),
        "batman.0 stands by: its number is held by process 12 on beta; it starts when that one ends.",
    ),
    "not enabled": (
        known(enabled=("batman is not enabled: uncomment `from . import batman`", "yellow")),
        "No copy of batman runs.",
    ),
    "a mistake in the settings": (
        known(Copy("batman.0", instance()), settings="config/hive.py:3: LEASE = '2': must be at least 4"),
        f"{MISTAKE}: config/hive.py:3: LEASE = '2': must be at least 4. {RUNS}",
    ),
    "waits for what it needs": (
        known(Copy("batman.0", instance(state="waiting", waits_for="a"))),
        "batman.0 has been up for 2 h 5 min (process 4711 on gotham): it waits for a, and begins when that consumes.",
    ),
    "hived does not run": (
        known(Copy("batman.0"), is_supervised=False),
        "batman.0 should run, but does not: hived does not run here, `hived start` starts it.",
    ),
    "lost": (
        known(Copy("batman.0", instance(lost=True))),
        "batman.0 is lost: it ended, or was cut off, without a goodbye more than a lease ago.",
    ),
    "on its way": (
        known(Copy("batman.0", program=replace(up("starting"), uptime=2.0))),
        "batman.0 has been up for 2 s (process 4711), and is not in the registry yet.",
    ),
    "a service fails": (
        known(Copy("batman.0", instance(services=(LAMP,)), cause=Cause("OSError: no", PLACE, NOW - 60.0))),
        f"{RUNS} Its service lamp fails: no light. The last error in its log, 1 min 0 s ago: OSError: no at {PLACE}.",
    ),
    "a handler fails": (
        known(Copy("batman.0", instance(subscriptions=(SubscriptionRecord("x", missed=1, failed=2),)))),
        f"{RUNS} Since it began: 1 missed, 2 failed in a handler.",
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_the_paragraph_says_how_it_is_since_when_why_and_what_comes_next(case: str) -> None:
    given, says = GOLDEN[case]
    redis = f" More cannot be known: {given.redis}." if given.redis else ""
    assert paragraph(given).split(". ") == f"{says} {given.enabled[0]}.{redis}".split(". ")


def test_many_copies_that_are_well_are_one_sentence_and_one_that_is_not_has_its_own() -> None:
    copies = [Copy(f"batman.{number}", instance(f"batman.{number}")) for number in range(6)]
    said = paragraph(known(*copies, Copy("batman.6", is_stopped=True)))
    assert "batman.0, batman.1, batman.2 and 3 more have been running for 2 h 5 min or more." in said
    assert "batman.6 was stopped by `hm stop`" in said


def test_its_colour_is_that_of_the_worst_it_says() -> None:
    well, stopped, failing = (GOLDEN[case][0] for case in ("runs well", "stopped by hand", "a crash loop by a signal"))
    assert [colour(one) for one in (well, stopped, failing)] == ["green", "yellow", "red"]


def test_of_a_process_that_nodes_share_it_says_what_a_member_lacks() -> None:
    broken = MemberRecord("robin", "broken", "nodes/robin/robin.py:1: SyntaxError")
    said = paragraph(known(Copy("small.0", instance("small.0", members=(broken,))), shares="robin shares a process"))
    assert "robin shares a process. " in said
    assert "robin cannot be loaded: nodes/robin/robin.py:1: SyntaxError." in said


COUNTS = [
    (
        {"services": (ServiceRecord("lamp", "backoff", 1, restarts=2, error="no light"),)},
        "service lamp is backoff: 1 sent, called again after 2 failures; last error: no light",
    ),
    (
        {"subscriptions": (SubscriptionRecord("x", received=9, handled=5, filled=2, missed=1, failed=2, inbox=3),)},
        "subscription x: 9 received (2 filled in), 5 handled, 1 missed, 2 failed in a handler, 3 waiting",
    ),
    (
        {"subscriptions": (SubscriptionRecord("x", group="shop", dead=2, retried=1),)},
        "subscription x: 0 received, 0 handled, 2 dead-lettered, 0 acknowledged in group shop, 1 tried again",
    ),
    (
        {"subscriptions": (SubscriptionRecord("x", parked=1, longest=61),)},
        "subscription x: 0 received, 0 handled, 1 parked for another try, a handler has been running for 1 min 1 s",
    ),
    (
        {"responders": (ResponderRecord("sum", received=3, handled=1, cancelled=1, in_hand=1, error="OSError: no"),)},
        "responder sum: 3 received, 1 answered, 1 cancelled, 1 in hand; last error: OSError: no",
    ),
]


@pytest.mark.parametrize(("stats", "says"), COUNTS, ids=[says[:30] for _, says in COUNTS])
def test_below_it_stands_what_a_copy_counts(stats: dict[str, Any], says: str) -> None:
    assert says in [line.strip() for line, _ in counts(instance(**stats))]


# -- the line that is to blame

HIVE = Path("/hive")
RAISED = """handler failed
Traceback (most recent call last):
  File "/usr/lib/python3/site-packages/hivemind/node/worker.py", line 9, in work
    handle()
  File "/hive/nodes/batman/batman.py", line 12, in save
    self.gear["cape"]
  File "/hive/.venv/lib/gear.py", line 3, in __getitem__
KeyError: 'cape'"""
CHAINED = f"""{RAISED}

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/hive/nodes/batman/batman.py", line 14, in save
    raise RuntimeError("no gear") from error
RuntimeError: no gear"""
STACKS = """Thread 0x00007f01 (most recent call first):
  File "/hive/nodes/batman/batman.py", line 30 in watch
Current thread 0x00007f00 (most recent call first):
  File "/usr/lib/python3/threading.py", line 3 in wait
  File "/hive/nodes/batman/batman.py", line 12 in save
  File "/usr/lib/python3/asyncio/events.py", line 84 in _run
2026-01-02T03:04:05.678+01:00 INFO     batman.0  running
"""


def test_of_a_traceback_the_last_line_of_the_hives_own_code_is_to_blame() -> None:
    assert raised_in(RAISED, HIVE) == Cause("KeyError: 'cape'", PLACE)
    assert raised_in(CHAINED, HIVE) == Cause("RuntimeError: no gear", "nodes/batman/batman.py:14")
    assert raised_in("nodes/batman/batman.py:2: no node", HIVE).text == "nodes/batman/batman.py:2: no node"


def test_of_stacks_it_is_the_line_at_which_the_thread_stood_that_was_met() -> None:
    assert stood_in(STACKS, HIVE) == PLACE
    assert stood_in(STACKS.replace("Current thread", "Thread").replace("/hive/nodes", "/else"), HIVE) == ""


def test_what_a_crash_left_in_a_log_or_in_what_was_printed_is_found(tmp_path: Path) -> None:
    log, printed = tmp_path / "batman.log", tmp_path / "batman.0.out"
    log.write_text(f"2026-01-02T03:04:05.678+01:00 ERROR    batman.0  {RAISED}\n")
    printed.write_text(f"Fatal Python error: Segmentation fault\n\n{STACKS}")
    assert last_crash((log, printed), HIVE) == Cause("Segmentation fault", PLACE)
    found = last_error(log, HIVE)
    assert found is not None
    assert found.text == f"KeyError: 'cape' at {PLACE}"
    assert last_error(log, HIVE, since=found.at + 1) is None


def test_who_was_killed_because_it_hung_is_known_to_its_keeper_once(tmp_path: Path) -> None:
    paths = HivePaths(tmp_path, tmp_path, tmp_path)
    paths.make()
    say_hung(paths, "batman.0", 12)
    lives = paths.program_lives("batman.0")
    assert (hung(lives, 12), hung(lives, 12)) == (True, False)
    say_hung(paths, "batman.0", 12)
    assert not hung(lives, 13), "that is another process"
