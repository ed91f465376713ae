"""`hm status`, `hm nodes`, `hm topics` and `hm why`, on a real server, with real nodes and instances made up."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hivemind.bus.server_program import ask
from hivemind.cli.reading import away
from hivemind.data.records import (
    About,
    Instance,
    MemberRecord,
    ServiceRecord,
    Stats,
    SubscriptionRecord,
)
from hivemind.identity import PidFile, ProcessIdentity
from hivemind.picture.declared import Declared
from hivemind.picture.health import judge, problems
from hivemind.picture.state import State, failed
from hivemind.picture.traffic import traffic
from hivemind.settings import load_settings
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.status import ProgramStatus
from hivemind.supervisor.topology import Problem
from hivemind.topics import Names

from .cli_kit import RECEIVER, SENDER, Place, place
from .servers import RedisServer
from .waiting import eventually

HIVE = 'HIVE_NAME = "gotham"\nLOG_LOCATION = "logs"\nHEARTBEAT = 0.3\nLEASE = 1.2\n'
READING = [("status",), ("nodes",), ("topics",), ("why", "sender")]


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    environ = {"HIVEMIND_REDIS_URL": server.url, "HIVEMIND_HIVE_NAME": hive_name}
    with place(tmp_path, HIVEMIND_HEARTBEAT="0.3", HIVEMIND_LEASE="1.2", **environ) as made:
        made.write("sender.py", SENDER)
        made.write("receiver.py", RECEIVER)
        yield made


@pytest.fixture
def hive(here: Place) -> Place:
    here.write("config/hive.py", HIVE)
    here.write("nodes/__init__.py", "from . import sender\nfrom . import receiver\n# from . import robin\n")
    here.write("nodes/sender.py", SENDER)
    here.write("nodes/receiver.py", RECEIVER)
    here.write("nodes/robin.py", RECEIVER)
    return here


def nodes(here: Place) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(here.run("nodes", "--json").stdout)
    return found


def start_as_hived_would(here: Place, *names: str) -> None:
    for name in names:
        here.start(sys.executable, "-m", "hivemind.node", name, "--number", "0").says("running")


def test_while_hived_starts_its_redis_one_is_told_to_wait(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/hive.py").write_text(HIVE)
    settings = load_settings(tmp_path, {})
    assert "`hived start`" in str(away(settings, "it does not run"))
    paths = HivePaths.of(settings)
    paths.make()
    PidFile(paths.supervisord).write(ProcessIdentity.current())
    assert "hived is starting it" in str(away(settings, "it does not run"))


# -- on a real server


def test_nodes_as_json_is_a_list_of_instances(here: Place) -> None:
    for file in ("sender.py", "receiver.py"):
        here.hm("run", file).says("running")
    sender = eventually(lambda: next(one for one in nodes(here) if one["services"] and one["services"][0]["sent"]), 20)
    assert (sender["instance"], sender["node"], sender["number"], sender["state"]) == (
        "sender.0",
        "sender",
        0,
        "running",
    )
    assert sender["pid"] == here.running[0].process.pid
    assert sender["services"][0]["name"] == "numbers"


def test_nodes_as_a_table_shows_what_each_sends_receives_and_suffers(here: Place) -> None:
    here.write("bad.py", RECEIVER.replace("Receiver", "Bad").replace("payload: int", "payload: list"))
    for file in ("sender.py", "bad.py"):
        here.hm("run", file).says("running")
    eventually(lambda: nodes(here)[0]["subscriptions"][0]["invalid"] > 0, 20)
    done = here.run("nodes")
    head, bad, sender = done.stdout.splitlines()
    assert head.split() == ["INSTANCE", "STATE", "HOST", "PID", "UPTIME", "SENDS", "RECEIVES", "ANSWERS", "PROBLEMS"]
    assert bad.split()[:2] == ["bad.0", "running"]
    assert bad.endswith(" invalid")
    assert "numbers " in sender


def test_an_empty_hive_says_how_to_begin(here: Place) -> None:
    assert "no node has joined yet: `hm run FILE` starts one" in here.run("nodes").stderr
    done = here.run("status")
    assert (done.returncode, done.stdout.endswith(" is empty: no node has joined\n")) == (0, True)


def test_status_is_one_sentence_and_0_when_all_enabled_nodes_run(
    hive: Place, hive_name: str, server: RedisServer
) -> None:
    start_as_hived_would(hive, "sender", "receiver")
    done = hive.run("status")
    alone = "no hived runs here: who ends is not started again; `hived start` adopts all that run"
    assert done.stdout == f"{hive_name} is well: 2 instances of 2 nodes run; {alone}\n"
    assert (done.returncode, done.stderr) == (0, f"hive {hive_name} on {server.url}\n")


def test_status_is_1_and_names_what_is_enabled_but_does_not_run(hive: Place, hive_name: str) -> None:
    start_as_hived_would(hive, "sender")
    done = hive.run("status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["well"], found["hive"]) == (1, False, hive_name)
    assert found["troubles"] == ["receiver.0 should run, but does not (hived does not run here: `hived start`)"]


def test_status_waits_until_all_enabled_nodes_run_so_long_at_the_most(hive: Place, hive_name: str) -> None:
    start_as_hived_would(hive, "sender")
    done = hive.run("status", "--wait", "0.5")
    assert (done.returncode, "receiver.0 should run, but does not" in done.stdout) == (1, True)
    waiting = hive.hm("status", "--wait", "60")
    waiting.says(f"hive {hive_name} on")
    start_as_hived_would(hive, "receiver")
    assert waiting.wait(60) == 0
    assert waiting.stdout.startswith(f"{hive_name} is well: 2 instances of 2 nodes run")  # one may be on its way


def test_status_does_not_wait_for_what_somebody_has_to_mend(hive: Place) -> None:
    hive.write("nodes/__init__.py", "1 / 0\n")
    done = hive.run("status", "--wait", "600")
    assert (done.returncode, "nodes is quarantined: " in done.stdout) == (1, True)
    assert hive.run("status", "--wait", "soon").returncode == 2


def test_status_names_a_node_that_was_killed_at_once_and_when_its_lease_is_over(here: Place) -> None:
    sender = here.hm("run", "sender.py", HIVEMIND_LEASE="10")  # longer than `hm status` takes to start
    sender.says("running")
    sender.end(signal.SIGKILL)
    assert "sender.0 ended without a goodbye" in here.run("status").stdout
    eventually(lambda: nodes(here)[0]["state"] == "lost", 20)
    done = here.run("status")
    assert (done.returncode, "sender.0 is lost: no beat within the lease" in done.stdout) == (1, True)


def test_a_copy_that_was_run_by_hand_and_killed_is_no_fault_for_ever(
    hive: Place, hive_name: str, server: RedisServer
) -> None:
    start_as_hived_would(hive, "sender", "receiver")
    server.command("SADD", Names(hive_name).nodes(), "sender.1")
    server.command("SET", Names(hive_name).epoch("sender.1"), "7", "PX", str(86_400_000 - 300_000))
    assert "sender.1 is lost" in hive.run("status").stdout
    server.command("PEXPIRE", Names(hive_name).epoch("sender.1"), str(86_400_000 - 660_000))
    done = hive.run("status")
    assert (done.returncode, "lost a while ago (11 min" in done.stdout) == (0, True)


def test_topics_shows_who_sends_who_listens_and_what_finds_nobody(here: Place) -> None:
    here.write("deaf.py", RECEIVER.replace("Receiver", "Deaf").replace("num*", "nubmers"))
    for file in ("sender.py", "receiver.py", "deaf.py"):
        here.hm("run", file).says("running")
    found = json.loads(here.run("topics", "--json").stdout)
    (numbers,) = found["topics"]
    assert numbers["senders"][0]["instance"] == "sender.0"
    assert [(one["instance"], one["pattern"]) for one in numbers["subscribers"]] == [("receiver.0", "num*")]
    (unfed,) = found["unfed"]
    assert (unfed["pattern"], unfed["note"]) == ("nubmers", "no service sends on it, did you mean numbers?")
    table = here.run("topics").stdout
    assert "receiver.0 num*" in table
    assert "did you mean numbers?" in table


def test_why_tells_a_running_node_its_counters_and_its_log(hive: Place) -> None:
    start_as_hived_would(hive, "sender")
    hive.write("logs/sender.log", "2026-01-02T03:04:05.678+01:00 ERROR    sender.0  no light\nTraceback\n")
    done = hive.run("why", "sender")
    assert done.returncode == 0
    paragraph, head, service, log, *errors = done.stdout.splitlines()
    assert paragraph.startswith("sender runs well. sender.0 has been running for ")
    assert paragraph.endswith(" sender is enabled by nodes/__init__.py:1.")
    assert head == "sender.0:"
    assert service.startswith("  service numbers is running: ")
    assert log == f"  log: {hive.folder}/logs/sender.log; its last errors:"
    assert errors[0].endswith("ERROR    sender.0  no light")


def test_why_as_json_has_the_sentences_and_what_they_were_made_from(hive: Place) -> None:
    start_as_hived_would(hive, "sender")
    found = json.loads(hive.run("why", "sender", "--json").stdout)
    assert found["sentences"][0] == "sender runs well"
    assert found["paragraph"].startswith("sender runs well. ")
    assert ([one["instance"] for one in found["instances"]], found["should_run"]) == (["sender.0"], ["sender.0"])
    away = json.loads(hive.run("why", "sender", "--json", HIVEMIND_REDIS_URL="redis://127.0.0.1:1").stdout)
    assert (away["instances"], "redis://127.0.0.1:1" in away["error"]) == ([], True)


def test_why_tells_that_a_node_is_not_enabled_and_how_to_enable_it(hive: Place) -> None:
    done = hive.run("why", "robin")
    told = "robin is not enabled: uncomment `from . import robin` in nodes/__init__.py, then `hived reload`."
    assert done.stdout == f"No copy of robin runs. {told}\n"


def test_why_tells_file_and_line_of_a_node_that_cannot_be_loaded(hive: Place) -> None:
    hive.write("nodes/sender.py", "x = 1\ndef (\n")
    done = hive.run("why", "sender")
    assert "sender is quarantined: nodes/sender.py:2: SyntaxError: invalid syntax. " in done.stdout
    assert "sender.0 should run, but does not: hived does not run here, `hived start` starts it. " in done.stdout


def test_why_of_a_mistyped_node_says_which_was_meant(hive: Place) -> None:
    done = hive.run("why", "sendr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no node called 'sendr', did you mean sender? The nodes are: receiver, robin, sender" in done.stderr


def test_why_still_tells_what_the_files_say_when_redis_is_away(hive: Place) -> None:
    done = hive.run("why", "robin", HIVEMIND_REDIS_URL="redis://127.0.0.1:1")
    assert (done.returncode, done.stdout.startswith("robin is not enabled: ")) == (1, True)
    assert " More cannot be known: Redis at redis://127.0.0.1:1: " in done.stdout
    assert "start that server, or change REDIS_URL (environment HIVEMIND_REDIS_URL)" in done.stderr


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_hive_that_is_not_started_is_said_at_once_and_nothing_is_started(
    hive: Place, command: tuple[str, ...]
) -> None:
    done = hive.run(*command, HIVEMIND_REDIS_URL="")
    assert done.returncode == 1
    assert "start the hive with `hm dev` or `hived start`" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (hive.folder / "var" / "redis").exists()


def test_a_redis_that_refuses_writes_is_named_and_nobody_is_called_lost(here: Place, own_server: RedisServer) -> None:
    here.environ["HIVEMIND_REDIS_URL"] = own_server.url
    here.hm("run", "sender.py").says("running")
    ask(own_server.socket, "CONFIG", "SET", "min-replicas-to-write", "1", timeout=1.0)
    eventually(lambda: "sender.0  unknown" in here.run("nodes").stdout, 20)
    assert [one["state"] for one in json.loads(here.run("nodes", "--json").stdout)] == ["unknown"]
    assert "Redis refuses writes: NOREPLICAS" in here.run("nodes").stderr
    done = here.run("status")
    assert done.returncode == 1
    assert "Redis refuses writes: NOREPLICAS" in done.stdout
    assert "is lost" not in done.stdout


def test_a_redis_that_stands_still_is_given_up_within_five_seconds(here: Place, own_server: RedisServer) -> None:
    own_server.freeze()
    began = time.monotonic()
    done = here.run("nodes", HIVEMIND_REDIS_URL=own_server.url)
    assert time.monotonic() - began < 8  # 5, and Python's own start on a busy machine
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: Redis at {own_server.url}: " in done.stderr


def test_what_strangers_wrote_into_the_registry_does_no_harm(here: Place, server: RedisServer, hive_name: str) -> None:
    names = Names(hive_name)
    server.command("SADD", names.nodes(), "evil.0", "\x1b[31m.0", "odd.0")
    server.command("SET", names.node("evil.0"), "x")
    server.command(
        "HSET", names.node("odd.0"), "incarnation", "7", "about", "[]", "stats", '{"services": [{"name": 3}]}'
    )
    server.command("EXPIRE", names.node("odd.0"), 60)
    for command in READING[:3]:
        done = here.run(*command)
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stdout


# -- judged from values


def instance(name: str, *, lost: bool = False, **stats: Any) -> Instance:
    about = About(name.partition(".")[0], "cave", 42, 50.0, 6.0)
    return Instance(name, 1, None if lost else 100.0, about, Stats(**stats))


def sentence(instances: Sequence[Instance], should: Declared | None = None) -> str:
    return judge("gotham", instances, State(should or Declared())).sentence


def test_a_service_that_fails_makes_a_hive_unwell() -> None:
    failing = instance("batman.0", services=(ServiceRecord("signal", "backoff", error="no light"),))
    assert sentence([failing]) == "gotham is not well: service signal of batman.0 fails: no light"

    todo = 'write "shop": {"asks": ["sum"]} into NODES in config/hive.py, then `hived reload`'
    refused = f"RedisDenied: request 'sum': Redis refuses it: shop may ask for what it declares and no more: {todo}"
    refusing = instance("shop.0", services=(ServiceRecord("orders", "backoff", error=refused),))
    assert sentence([refusing]).endswith(todo)


def test_what_was_lost_on_the_way_is_told_but_a_hive_is_well() -> None:
    lossy = instance("batman.0", subscriptions=(SubscriptionRecord("x", missed=2, dropped=1, failed=1, malformed=4),))
    told = "2 messages missed; 1 message dropped; 1 message failed in a handler; 4 messages malformed"
    assert sentence([lossy]) == f"gotham is well: 1 instance of 1 node runs; {told}"
    assert problems(lossy) == ["2 missed", "1 dropped", "1 failed in a handler", "4 malformed"]


def test_nodes_that_share_processes_are_not_counted_as_if_some_were_missing() -> None:
    shared = instance("small.0", members=(MemberRecord("batman", "running"), MemberRecord("robin", "running")))
    assert sentence([shared, instance("joker.0")]) == "gotham is well: 3 nodes run in 2 instances"


def test_whose_subscription_it_is_in_a_shared_process_is_told() -> None:
    both = instance("small.0", subscriptions=(SubscriptionRecord("x", member="a"), SubscriptionRecord("x", member="b")))
    (unfed,) = traffic([both]).unfed
    assert [one.who for one in unfed.subscribers] == ["small.0 (a)", "small.0 (b)"]


def test_a_quarantined_node_is_named_with_file_and_line() -> None:
    should = Declared(problems=(Problem("robin", "SyntaxError: invalid syntax", "nodes/robin.py", 3),))
    assert sentence([], should) == (
        "gotham is not well: robin is quarantined: nodes/robin.py:3: SyntaxError: invalid syntax"
    )


def test_a_stand_by_and_what_was_stopped_by_hand_are_no_trouble() -> None:
    standby = ProgramStatus("batman.0", "standby", detail="its number is held by process 7 on cave")
    should = Declared(("batman.0",), ("robin.0",), (), {"batman.0": standby}, is_supervised=True)
    health = judge("gotham", [instance("batman.0")], State(should))
    assert health.is_well
    assert health.notes == (
        "batman.0 stands by: its number is held by process 7 on cave",
        "robin.0 is stopped by `hm stop`",
    )


def test_what_hived_knows_of_a_program_that_does_not_come_up_is_told() -> None:
    failing = ProgramStatus("batman.0", "failing", detail="ImportError: no module bat")
    should = Declared(("batman.0", "robin.0"), programs={"batman.0": failing}, is_supervised=True)
    assert judge("gotham", [], State(should)).troubles == (
        "batman.0 is failing: ImportError: no module bat",
        "robin.0 should run, but does not",
    )


@pytest.mark.parametrize(
    ("state", "uptime", "is_starting"), [("starting", None, 1), ("running", 3.0, 1), ("running", 60.0, 0)]
)
def test_who_was_started_a_moment_ago_is_on_the_way_and_no_trouble(
    state: str, uptime: float | None, is_starting: int
) -> None:
    program = ProgramStatus("robin.0", state, uptime=uptime)
    should = Declared(("robin.0",), (), (), {"robin.0": program}, is_supervised=True)
    health = judge("gotham", [instance("batman.0")], State(should))
    assert not health.is_well
    said = "is starting: robin.0 is on the way" if is_starting else "is not well: robin.0 should run, but does not"
    assert health.sentence == f"gotham {said}"


def test_many_of_a_kind_are_counted_not_listed() -> None:
    lost = [instance(f"batman.{number}", lost=True) for number in range(5)]
    assert sentence(lost) == (
        "gotham is not well: batman.0, batman.1, batman.2 and 2 more are lost: no beat within the lease"
    )


def test_a_process_of_this_machine_that_is_gone_is_seen_before_its_lease_ends() -> None:
    gone = replace(ProcessIdentity.current(), started=1.0)
    batman = instance("batman.0")
    assert problems(replace(batman, about=replace(batman.about, process=gone))) == [
        "its process has ended without a goodbye"
    ]


@pytest.mark.parametrize(
    ("ago", "declared", "is_well"), [(590.0, (), False), (601.0, (), True), (601.0, ("batman.1",), False)]
)
def test_who_is_lost_for_long_is_no_trouble_if_nothing_declares_it(
    ago: float, declared: tuple[str, ...], is_well: bool
) -> None:
    found = [instance("batman.0"), instance("batman.1", lost=True)]
    health = judge("gotham", found, State(Declared(("batman.0", *declared)), lost_for={"batman.1": ago}))
    assert health.is_well is is_well
    assert ("lost a while ago (10 min 1 s) and not declared here: batman.1" in health.notes) is is_well


def test_a_root_that_is_lost_is_trouble_however_long() -> None:
    found = [instance("batman.0"), instance("root.0", lost=True)]
    assert not judge("gotham", found, State(Declared(("batman.0",)), lost_for={"root.0": 86400.0})).is_well


def test_a_pattern_that_received_something_is_fed_by_somebody() -> None:
    listening = instance("batman.0", subscriptions=(SubscriptionRecord("joker", received=3),))
    assert traffic([listening]).unfed == ()


@pytest.mark.parametrize("hostile", ["[", "[]", "[!]", "a[", "[z-a]", "", "\x1b[2J", "x" * 500])
def test_names_in_the_registry_that_cannot_be_are_left_out(hostile: str) -> None:
    sends = instance("batsignal.0", services=(ServiceRecord("signal", "running", 7), ServiceRecord(hostile, "running")))
    hears = instance("batman.0", subscriptions=(SubscriptionRecord(hostile), SubscriptionRecord("sign*")))
    found = traffic([sends, hears])
    assert [(one.topic, len(one.subscribers)) for one in found.topics] == [("signal", 1)]
    assert found.unfed == ()


def test_a_topic_without_listeners_offers_the_exact_topic_that_was_probably_meant() -> None:
    sends = instance("batsignal.0", services=(ServiceRecord("bat-signal-main", "running", 7),))
    deaf = instance("batman.0", subscriptions=(SubscriptionRecord("bat-signal-mian"),))
    (topic,) = traffic([sends, deaf, instance("old.0", lost=True)]).topics
    assert (topic.sent, topic.note) == (7, "nobody listens, did you mean bat-signal-mian?")


def test_messages_that_wait_for_long_in_an_outbox_are_told() -> None:
    stuck, busy = instance("batman.0", outbox=7, overdue=4), instance("robin.0", outbox=900)
    assert sentence([stuck, busy]).endswith("2 instances of 2 nodes run; 7 messages wait in the outbox of batman.0")
    assert (problems(stuck), problems(busy)) == (["7 in its outbox"], [])


def test_a_primary_of_a_cluster_that_does_not_answer_is_trouble() -> None:
    health = judge("gotham", [instance("batman.0")], State(dead=("127.0.0.1:17001",)))
    assert health.troubles == ("127.0.0.1:17001 of the Cluster does not answer: what goes there waits",)


def test_a_primary_has_failed_only_if_it_still_has_slots() -> None:
    known = """
        a1 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460
        a2 127.0.0.1:7001@17001,host master,fail - 1 1 2 disconnected 5461-10922
        a3 127.0.0.1:7002@17002 master,fail - 1 1 2 disconnected
        a4 127.0.0.1:7003@17003 slave,fail a1 1 1 2 disconnected
        a5 127.0.0.1:7004@17004 master,fail? - 1 1 3 connected 10923-16383
        """
    assert failed(known) == ("127.0.0.1:7001", "127.0.0.1:7004")


def test_what_was_announced_is_a_topic_like_any_other() -> None:
    hears = instance("batman.0", subscriptions=(SubscriptionRecord("n.*"),))
    found = traffic([hears], ["n.foreign", "other"])
    assert [(one.topic, len(one.senders), len(one.subscribers)) for one in found.topics] == [
        ("n.foreign", 0, 1),
        ("other", 0, 0),
    ]
    assert found.unfed == ()
