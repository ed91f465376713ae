"""What watchtower shows: each kind of topic, answers, failures that pass, and two things that are wrong on purpose."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.watchtower.nodes.beacon import beacon
from examples.watchtower.nodes.clerk.clerk import BLOT, Clerk
from examples.watchtower.nodes.lookout import lookout
from examples.watchtower.nodes.lookout.busiest import Watch, busiest, look
from examples.watchtower.nodes.register.register import Register
from hivemind.testing import HiveTest

from .example_kit import EXAMPLES, Example
from .servers import RedisServer
from .test_examples import running
from .waiting import eventually

README = EXAMPLES / "watchtower" / "README.md"


def test_who_used_most_since_the_look_before_is_the_busiest() -> None:
    before = {1: ("init", 50.0), 2: ("sort", 1.0), 3: ("idle", 7.0), 4: ("gone", 1.0)}
    now = {1: ("init", 50.5), 2: ("sort", 3.0), 3: ("idle", 7.0), 5: ("new", 9.0)}
    assert busiest(before, now) == ("sort", 2.0)
    assert busiest(now, now) == ("", 0.0)


def test_a_number_that_another_program_has_now_is_no_long_lived_process() -> None:
    assert busiest({1: ("old", 5.0)}, {1: ("new", 900.0)}) == ("", 0.0)


def test_this_machine_has_somebody_to_look_at() -> None:
    watch = Watch()
    burning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert burning.pid in look()
        eventually(lambda: watch.busiest()[1] > 0)
    finally:
        burning.kill()
        burning.wait()


def test_a_sighting_is_written_down_by_one_of_two_clerks_and_answered_for(hive: HiveTest) -> None:
    hive.start(Register)
    hive.start(Clerk, replicas=2)
    for number in range(5):
        hive.send("sighting.process", {"name": f"p{number % 2}", "seconds": 1.0}, durable=True)
    for _ in range(5):
        hive.expect("entry.sighting")
    eventually(lambda: hive.request("register.count", "p0") == 3)
    assert hive.request("register.count", "nobody") == 0
    assert len(list(hive.request_stream("register.latest", 2))) == 2
    hive.expect_none("entry.*")


def test_what_is_seen_in_the_fog_is_a_dead_letter_and_the_next_is_written(hive: HiveTest) -> None:
    hive.start(Clerk)
    hive.send("sighting.process", {"name": "", "seconds": 0.0}, durable=True)
    hive.send("sighting.process", {"name": "bash", "seconds": 1.0}, durable=True)
    assert hive.expect("entry.sighting").payload["name"] == "bash"
    (letter,) = eventually(lambda: hive.dead_letters("sighting.*"))
    assert (letter.tries, "fog" in letter.reason) == (1, True)


def test_one_sighting_in_ten_is_written_at_the_second_try(hive: HiveTest) -> None:
    clerk = hive.start(Clerk)
    for number in range(BLOT):
        hive.send("sighting.process", {"name": str(number), "seconds": 1.0}, durable=True)
    for _ in range(BLOT - 1):
        hive.expect("entry.sighting")
    hive.advance(1)
    assert hive.expect("entry.sighting").payload["name"] == str(BLOT - 1)
    assert clerk.bound_durables[0].failed == 1
    assert hive.dead_letters() == []


def test_the_lamp_goes_out_and_is_lit_again_and_a_new_register_knows_at_once(hive: HiveTest) -> None:
    hive.start(beacon)
    hive.advance(beacon.OIL + 2)
    assert [one.payload for one in hive.seen if one.topic == "beacon.lamp"][-1] is True
    assert sum(one.payload is False for one in hive.seen if one.topic == "beacon.lamp") == 1
    register = hive.start(Register)
    eventually(lambda: register.is_lit is True)


def test_a_report_without_a_register_is_left_out(hive: HiveTest) -> None:
    hive.start(lookout)
    hive.advance(40)
    assert "lookout.report" not in {one.topic for one in hive.seen}
    assert "sighting.process" in {one.topic for one in hive.seen}


@pytest.mark.slow
def test_all_that_is_to_be_seen_is_seen(tmp_path: Path, server: RedisServer, hive_name: str) -> None:
    watchtower = Example(
        "watchtower",
        tmp_path,
        HIVEMIND_REDIS_URL=server.url,
        HIVEMIND_HIVE_NAME=hive_name,
        WATCHTOWER_EVERY="0.1",
    )

    def says(*command: str) -> str:
        return watchtower.run("hm", *command).stdout

    with running(watchtower) as (_, process):
        eventually(lambda: "fog" in says("dead", "list"), within=90)
        rows = json.loads(says("graph", "--format", "json"))["rows"]
        by_name = {row["name"]: row for row in rows}
        (clerk,) = by_name["sighting.process"]["subscribers"]
        assert clerk["instances"] == ["clerk.0", "clerk.1"]
        assert "nobody listens" in by_name["lookout.report"]["note"]
        assert "did you mean host.cpu" in by_name["hosts.cpu"]["note"]
        said = says("doctor")
        assert "lookout.report" in said
        assert "hosts.cpu" in said
        assert {"register.count", "register.latest"} <= {row["name"] for row in rows if row["kind"] == "requests"}
        eventually(lambda: '"seen"' in says("tail", "lookout.report", "--count", "1", "--json"), within=30)
        log = watchtower.logs / "beacon.log"
        eventually(lambda: "the oil is used up" in log.read_text(), within=30)
        assert watchtower.stop(process) == 0


@pytest.mark.slow
def test_it_goes_on_when_each_node_may_do_only_what_it_declares(tmp_path: Path) -> None:
    watchtower = Example("watchtower", tmp_path, WATCHTOWER_EVERY="0.1")
    with running(watchtower) as (_, process):
        eventually(lambda: len(watchtower.instances()) == 9, within=60)
        done = watchtower.run("hived", "secure")
        assert done.returncode == 0, done.stderr
        for topic in ("usual.cpu", "entry.sighting", "lookout.report"):
            tailed = watchtower.run("hm", "tail", topic, "--count", "2", "--json")
            assert tailed.stdout.count(topic) == 2, tailed.stderr
        assert watchtower.stop(process) == 0
    for log in watchtower.logs.glob("*.log"):
        assert "NOPERM" not in log.read_text()


def test_the_readme_names_every_node_and_topic() -> None:
    text = README.read_text(encoding="utf-8")
    nodes = re.findall(r"^from \.(\w+) import", (EXAMPLES / "watchtower/nodes/__init__.py").read_text(), re.MULTILINE)
    topics = ["host.cpu", "usual.*", "alert.*", "sighting.process", "entry.sighting", "beacon.lamp", "lookout.report"]
    names = [*nodes, *topics, "hosts.cpu", "register.count", "register.latest"]
    assert [name for name in names if f"`{name}`" not in text] == []
