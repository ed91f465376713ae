"""`hm doctor`: each judgement both ways, on each kind of server, for users who may see little, and without Redis."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hivemind import __version__
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.facts import Rights, ServerFacts, facts_of, wanted
from hivemind.cli.doctor_report import without
from hivemind.cli.scaffold import plan_hive
from hivemind.data.checkup import FITTING, JUDGES, Finding, Level, Needs, findings
from hivemind.data.records import About, Instance, Stats
from hivemind.supervisor.machine import (
    GIB,
    MachineFacts,
    descriptors,
    disk,
    facts_in,
    findings_among,
    findings_of,
    hiveds,
    port,
    versions,
)
from hivemind.topics import Names

from .cli_kit import ROOT, Place, place
from .conftest import MakeServer
from .hive_kit import hive_in, well
from .servers import RedisServer
from .waiting import eventually

GREEN, YELLOW, RED, UNKNOWN = Level.GREEN, Level.YELLOW, Level.RED, Level.UNKNOWN
INFO = {
    "redis_version": "8.2.3",
    "used_memory": "1048576",
    "maxmemory": "1073741824",
    "connected_clients": "12",
    "role": "master",
}
SETTINGS = {
    "maxmemory": "1073741824",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "proto-max-bulk-len": "536870912",
    "client-query-buffer-limit": "1073741824",
    "maxclients": "10000",
    "timeout": "0",
    "bind": "127.0.0.1 -::1",
    "port": "6379",
    "protected-mode": "yes",
    "requirepass": "",
}
SOUND = ServerFacts("redis://r", "", INFO, SETTINGS, "default", Rights(), 0.01, 0.001, 3, True)


def server(info: Mapping[str, str] = {}, settings: Mapping[str, str] = {}, **more: Any) -> ServerFacts:
    return replace(SOUND, info={**INFO, **info}, settings={**SETTINGS, **settings}, **more)


def of(subject: str, facts: ServerFacts, **needs: Any) -> Finding | None:
    return next((one for one in findings([facts], Needs(**needs)) if one.subject == subject), None)


def level(subject: str, facts: ServerFacts, **needs: Any) -> Level | None:
    found = of(subject, facts, **needs)
    return None if found is None else found.level


def test_of_a_sound_server_everything_is_green() -> None:
    assert {one.level for one in findings([SOUND], Needs("second", 100))} == {GREEN}


JUDGED: list[tuple[str, ServerFacts, dict[str, Any], Level]] = [
    ("version", server({"redis_version": "6.2.14"}), {}, RED),
    ("functions", server(knows_functions=False), {}, YELLOW),
    ("functions", server(has_functions=False), {}, GREEN),
    ("role", server({"role": "slave"}), {}, RED),
    ("role", server({"loading": "1"}), {}, YELLOW),
    ("role", server({"cluster_enabled": "1", "cluster_state": "fail"}), {}, RED),
    ("eviction", server(settings={"maxmemory-policy": "allkeys-lru"}), {}, RED),
    ("eviction", server(settings={"maxmemory-policy": "allkeys-lru", "maxmemory": "0"}), {}, YELLOW),
    ("memory", server({"used_memory": "1073741824"}), {}, RED),
    ("memory", server({"used_memory": "1000000000"}), {}, YELLOW),
    ("memory", server({"maxmemory": "0"}), {}, YELLOW),
    ("persistence", server(settings={"appendonly": "no"}), {}, RED),
    ("persistence", server(settings={"appendonly": "no"}), {"confirm": "memory"}, GREEN),
    ("persistence", server(settings={"appendfsync": "no"}), {}, RED),
    ("persistence", SOUND, {"confirm": "disk"}, GREEN),
    ("persistence", server({"redis_version": "7.0.15"}), {"confirm": "disk"}, RED),
    ("persistence", server({"redis_version": "7.0.15"}, {"appendfsync": "always"}), {"confirm": "disk"}, GREEN),
    ("persistence", server({"connected_slaves": "0"}), {"confirm": "replica"}, RED),
    ("persistence", server({"connected_slaves": "1"}), {"confirm": "replica"}, YELLOW),
    ("persistence", server({"connected_slaves": "1"}, {"min-replicas-to-write": "1"}), {"confirm": "replica"}, GREEN),
    ("its disk", server({"aof_last_write_status": "err"}), {}, RED),
    ("its disk", server(writing=0.8), {}, YELLOW),
    ("its disk", server(settings={"appendfsync": "always"}, stood=1.5), {}, YELLOW),
    ("its disk", server({"aof_delayed_fsync": "40", "uptime_in_seconds": "3600"}), {}, YELLOW),
    ("its disk", server({"aof_delayed_fsync": "40", "uptime_in_seconds": "864000"}), {}, GREEN),
    ("buffers", server(settings={"client-output-buffer-limit": "normal 0 0 0 pubsub 0 0 0"}), {}, YELLOW),
    ("buffers", server(settings={"client-output-buffer-limit": "normal 0 0 0 pubsub 65536 0 0"}), {}, YELLOW),
    ("buffers", server(settings={"proto-max-bulk-len": "1048576"}), {}, YELLOW),
    ("clients", server(settings={"maxclients": "100"}), {"instances": 100}, RED),
    ("clients", server({"connected_clients": "9900"}), {}, YELLOW),
    ("idle connections", server(settings={"timeout": "60"}), {}, YELLOW),
    ("rights", server(rights=Rights(("fcall",), ("hm:x:*",), ("hm:x:*",)), user="app"), {}, RED),
    ("rights", server(rights=Rights((), (), ("*",))), {"patterns": "resolved"}, GREEN),
    ("clock of Redis", server(skew=-7200.0), {}, YELLOW),
    ("doors", server(settings={"bind": "* -::*", "protected-mode": "no"}), {}, RED),
    ("doors", server(settings={"bind": "* -::*", "protected-mode": "no", "requirepass": "***"}), {}, GREEN),
    ("doors", server(settings={"bind": "*", "port": "0", "protected-mode": "no"}), {}, GREEN),
    ("patterns", server(patterns=100), {}, YELLOW),
    ("patterns", server(patterns=100), {"patterns": "resolved"}, GREEN),
    ("speed", server(round_trip=0.3), {}, YELLOW),
]


@pytest.mark.parametrize(("subject", "facts", "needs", "says"), JUDGED)
def test_what_is_not_as_a_hive_needs_it_is_found(
    subject: str, facts: ServerFacts, needs: dict[str, Any], says: Level
) -> None:
    found = of(subject, facts, **needs)
    assert found is not None
    assert found.level is says, found.text
    assert says is GREEN or found.todo, "it says what to do"


def test_every_judge_is_judged_both_ways() -> None:
    assert len({subject for subject, *_ in JUDGED}) == len(JUDGES) + len(FITTING)


def test_what_is_forbidden_is_unknown_and_no_fault() -> None:
    blind = ServerFacts("redis://r", rights=None, round_trip=0.001, has_functions=None)
    levels = {one.level for one in findings([blind], Needs())}
    assert levels == {UNKNOWN, GREEN}
    assert all("not allowed to look" in one.found for one in findings([blind], Needs()) if one.level is UNKNOWN)


def test_a_server_that_is_away_is_one_finding_and_of_several_each_is_named() -> None:
    away = ServerFacts("10.0.0.2:6379", "Connection refused")
    (found,) = findings([away], Needs())
    assert (found.level, "Connection refused" in found.found) == (RED, True)
    assert any(one.subject == "version of redis://r" for one in findings([SOUND, away], Needs()))


# -- machines

MACHINE = MachineFacts("beta", __version__, "3.11", "Linux", 4096, 10, {"/var": (9 * GIB, 10 * GIB)}, 9476)


def instance(host: str, version: str = __version__) -> Instance:
    return Instance("batman.0", 7, 1.0, About("batman", host, 1, 0.0, 6.0, version=version), Stats())


def test_what_a_machine_lacks_is_found() -> None:
    assert {one.level for one in findings_of(MACHINE)} == {GREEN}
    assert descriptors(replace(MACHINE, descriptors=200)).level is RED
    assert descriptors(replace(MACHINE, descriptors=512)).level is YELLOW
    assert descriptors(replace(MACHINE, descriptors=-1)).level is GREEN, "without a limit"
    assert [disk("/", free, 100 * GIB).level for free in (GIB, 4 * GIB, 50 * GIB)] == [RED, YELLOW, GREEN]
    assert port(replace(MACHINE, taken=True)).level is YELLOW


def test_hosts_that_differ_are_named() -> None:
    assert {one.level for one in findings_among([replace(MACHINE, skew=0.1)], [instance("beta")], True)} == {GREEN}
    assert "gamma" in hiveds([MACHINE], [instance("gamma")]).found
    assert hiveds([], []).level is YELLOW
    assert "batman.0" in versions([MACHINE], [instance("beta", "0.0.1")]).found
    assert [one.level for one in findings_among([replace(MACHINE, skew=90.0)], [], True)][-1] is YELLOW
    assert findings_among([], [instance("gamma")], False) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 7}', '{"host": "beta", "more": 1}'])
def test_what_another_version_of_hived_answers_stops_nobody(text: str) -> None:
    assert facts_in(text) in (None, MachineFacts("beta"))
    assert facts_in(MACHINE.to_json()) == replace(MACHINE, folders={"/var": [9 * GIB, 10 * GIB]})


# -- real servers


@pytest.mark.every_server
async def test_a_server_tells_all_of_it(server: RedisServer, hive_name: str) -> None:
    (facts,) = await facts_of(Endpoint.parse(server.url), hive_name)
    found = {one.subject: one for one in findings([facts], Needs("second", 10))}
    assert UNKNOWN not in {one.level for one in found.values()}
    assert found["rights"].level is GREEN
    assert found["version"].found.startswith(("Redis ", "Valkey "))
    assert (found["persistence"].level, "appendfsync no" in found["persistence"].found) == (RED, True)
    assert facts.skew is not None
    assert abs(facts.skew) < 1.0


@pytest.mark.every_server
async def test_a_user_who_may_not_ask_sees_the_rest(make_server: MakeServer) -> None:
    server = make_server()
    server.command(
        "ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config", "-info", "-acl", "-pubsub|numpat"
    )
    (facts,) = await facts_of(Endpoint.parse(f"unix://app:pw@{server.socket}"), "gotham")
    levels = {one.subject: one.level for one in findings([facts], Needs())}
    hidden = {subject for subject, one in levels.items() if one is UNKNOWN}
    assert {"version", "eviction", "persistence", "buffers", "clients", "doors", "patterns"} <= hidden
    assert RED not in levels.values()
    assert levels["rights"] is GREEN, "these are not needed"


@pytest.mark.every_server
async def test_what_our_user_lacks_is_named_with_the_rule_that_gives_it_and_nothing_is_done(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.command("ACL", "SETUSER", "app", "on", ">pw", "~hm:gotham:*", "&other", "+@all", "-xadd", "-xgroup|create")
    (facts,) = await facts_of(Endpoint.parse(f"unix://app:pw@{server.socket}"), "gotham")
    assert facts.rights == Rights(("xadd", "xgroup|create"), ("hm:{gotham}:*",), ("hm:gotham:*", "*"))
    lacking = of("rights", facts)
    assert lacking is not None
    server.command(*lacking.todo.split())
    (facts,) = await facts_of(Endpoint.parse(f"unix://app:pw@{server.socket}"), "gotham")
    assert facts.rights == Rights()
    assert server.command("DBSIZE") == 0


def test_what_the_functions_call_is_among_what_is_asked_for() -> None:
    asked = {str(word) for command in wanted(Names("gotham")) for word in command[:2]}
    lua = "\n".join(path.read_text() for path in (ROOT / "hivemind/bus/lua").glob("*.lua"))
    called = {word for pair in re.findall(r"call\('([A-Z]+)'(?:, '([A-Z]+)')?", lua) for word in pair if word}
    assert called
    assert called - asked == set()


# -- the command


@pytest.fixture
def here(tmp_path: Path, server: RedisServer, hive_name: str) -> Iterator[Place]:
    with place(tmp_path, HIVEMIND_REDIS_URL=server.url, HIVEMIND_HIVE_NAME=hive_name) as made:
        made.write("config/hive.py", 'LOG_LOCATION = "logs"\n')
        made.write("nodes/__init__.py", "")
        made.write("logs/batman.log", "2026-01-02T03:04:05.678+01:00 ERROR    batman.0  the token is hush-hush\n")
        yield made


def test_it_exits_with_1_where_something_is_red_and_its_report_has_no_secret(here: Place) -> None:
    done = here.run("doctor", "--report", API_TOKEN="hush-hush")
    assert (done.returncode, "red     persistence: " in done.stdout) == (1, True)
    (path,) = here.folder.glob("doctor-*.txt")
    text = path.read_text()
    assert (path.stat().st_mode & 0o777, "red     persistence: " in text) == (0o600, True)
    assert "the token is ***" in text
    assert "hush-hush" not in text


def test_where_redis_is_down_it_says_that_and_looks_at_the_rest(here: Place) -> None:
    done = here.run("doctor", "--json", HIVEMIND_REDIS_URL="redis://:hush-hush@127.0.0.1:1")
    found = json.loads(done.stdout)
    assert (done.returncode, found["red"], "hush-hush" in done.stdout) == (1, True, False)
    assert (found["findings"][0]["subject"], found["findings"][0]["level"]) == ("Redis", "red")
    assert {one["subject"].partition(" on ")[0] for one in found["findings"]} >= {"disk", "file descriptors", "port"}


def test_secrets_are_masked_wherever_they_stand() -> None:
    assert without("a redis://u:pw@h b s3cret c", {"s3cret"}) == "a redis://u:***@h b *** c"


OF_THE_MACHINE = {"disk", "file descriptors", "port", "its disk", "speed"}  # which others use meanwhile


@pytest.mark.timeout(90)
def test_of_a_new_hive_that_runs_all_is_green(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        shutil.rmtree(hive.folder)
        plan_hive("gotham", tmp_path).write()
        hive.start()
        eventually(lambda: well(hive), within=30)
        done = hive.run("hm", "doctor", "--json")
        found = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}
        ours = {subject: one for subject, one in found.items() if subject.partition(" on ")[0] not in OF_THE_MACHINE}
        assert (done.returncode, {one["level"] for one in ours.values()}) == (0, {"green"}), done.stdout
        assert re.fullmatch(r"[\d.,]+ MiB of [\d.,]+ MiB", found["memory"]["found"])


def test_each_hived_is_asked_and_a_hive_that_is_sound_exits_with_0(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham") as hive:
        hive.node("batman")
        hive.start()
        eventually(lambda: well(hive), within=30)
        done = hive.run("hm", "doctor", "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["red"]) == (0, False), done.stdout
        (host,) = found["hosts"]
        assert (host["version"], abs(host["skew"]) < 1.0, host["programs"]) == (__version__, True, 3)
        subjects = {one["subject"]: one["level"] for one in found["findings"]}
        assert (subjects["hived"], subjects["versions"], subjects[f"clock of {host['host']}"]) == ("green",) * 3
