"""Which host each copy of a node is at home on: as data, and as the plans that each host's hived makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.errors import ConfigurationError, SettingsError
from hivemind.settings import Constants, Settings, load_settings
from hivemind.supervisor.desired import write_scale, write_selection
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.placement import check_hosts, check_wishes, fitting, homes
from hivemind.supervisor.plan import Plan, load, make_plan, save
from hivemind.supervisor.processes import NodePlan
from hivemind.supervisor.sharing import check_shared, unshared
from hivemind.supervisor.topology import Problem, Selection

from .hive_kit import Hive

HOSTS = {"alfa": ["gpu", "big"], "beta": [], "gamma": ["gpu"]}
hosts = st.lists(st.sampled_from([f"host-{number}" for number in range(12)]), min_size=1, unique=True)
names = st.sampled_from(["batman", "robin", "alfred", "catwoman"])


@given(names, st.integers(0, 40), hosts)
def test_each_copy_has_one_home_and_no_host_has_two_more_than_another(name: str, copies: int, among: list[str]) -> None:
    found = homes(name, copies, among)
    counts = Counter(dict.fromkeys(among, 0))
    counts.update(found)
    assert (len(found), set(counts)) == (copies, set(among))
    assert max(counts.values()) - min(counts.values()) <= 1


@given(names, st.integers(0, 40), hosts, st.randoms(use_true_random=False))
def test_nobody_moves_for_the_order_of_hosts_or_the_number_of_copies(
    name: str, copies: int, among: list[str], chance: Any
) -> None:
    before = homes(name, copies + 5, among)
    chance.shuffle(among)
    assert homes(name, copies, among) == before[:copies]


@given(names, hosts)
def test_a_single_copy_moves_to_a_host_that_is_added_or_not_at_all(name: str, among: list[str]) -> None:
    assert homes(name, 1, [*among, "new"])[0] in (homes(name, 1, among)[0], "new")


@pytest.mark.parametrize("copies", [1, 3, 6])
@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_a_host_that_is_added_moves_few(count: int, copies: int) -> None:
    among = [f"host-{number}" for number in range(count)]
    nodes = [f"node-{number}" for number in range(200)]
    before, after = ([homes(name, copies, some) for name in nodes] for some in (among, [*among, "new"]))
    moved = sum(a != b for one, two in zip(before, after, strict=True) for a, b in zip(one, two, strict=True))
    arrived = sum(home == "new" for one in after for home in one)
    assert moved <= (1.5 if copies == 1 else 2.5) * len(nodes) * copies / (count + 1)
    assert arrived == pytest.approx(len(nodes) * copies / (count + 1), rel=0.35)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], ["alfa", "beta", "gamma"]),
        (["beta"], ["beta"]),
        (["@gpu"], ["alfa", "gamma"]),
        (["@big", "beta"], ["alfa", "beta"]),
        (["gpu"], []),
    ],
)
def test_a_node_fits_the_hosts_that_it_names_by_name_or_tag(wanted: Sequence[str], found: list[str]) -> None:
    assert list(fitting(wanted, HOSTS)) == found


def settings(**constants: Any) -> Settings:
    sources = {"NODES": "config/hive.py:9", "HOSTS": "config/hive.py:8", "REDIS_URL": "config/hive.py:7"}
    return Settings(Constants(**constants), sources, Path("/hive"))


@pytest.mark.parametrize(
    ("constants", "said"),
    [
        ({"NODES": {"batman": {"hosts": ["alfa"]}}}, r"config/hive.py:9: batman has hosts, but HOSTS is empty"),
        ({"NODES": {"batman": {"per_host": True}}}, r"config/hive.py:9: batman has per_host, but HOSTS is empty"),
        (
            {"HOSTS": HOSTS, "NODES": {"batman": {"hosts": ["alpha"]}}},
            r"config/hive.py:9: batman wants the host alpha, .* did you mean alfa\? There are alfa, beta, gamma",
        ),
        (
            {"HOSTS": HOSTS, "NODES": {"batman": {"hosts": ["beta", "@ssd"]}}},
            r"config/hive.py:9: batman wants a host with the tag ssd, .* Give it to one of alfa",
        ),
    ],
)
def test_a_wish_that_no_host_fulfils_is_an_error(constants: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_wishes(settings(**constants))


def test_a_host_that_is_not_named_is_told_what_to_do() -> None:
    with pytest.raises(
        ConfigurationError, match=r"config/hive.py:8: .* this host, alpha, did you mean alfa\? .*HIVEMIND_HOST"
    ):
        check_hosts(settings(HOSTS=HOSTS, REDIS_URL="redis://there"), "alpha")


def test_hosts_need_a_redis_that_they_share(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"config/hive.py:8: .*REDIS_URL is empty: .*listens on a port"):
        check_hosts(settings(HOSTS=HOSTS), "alfa")
    check_hosts(settings(HOSTS={"alfa": []}), "alfa")
    away = settings(HOSTS=HOSTS, REDIS_URL=f"unix://{tmp_path}/redis.sock")
    with pytest.raises(ConfigurationError, match=r"config/hive.py:7: REDIS_URL is the unix socket .*listens on a port"):
        check_shared(away)
    (tmp_path / "redis.sock").touch()
    assert unshared(away) == unshared(settings(REDIS_URL="redis://there")) == ""


def test_who_cannot_reach_another_hosts_socket_is_told_how_to_share(tmp_path: Path) -> None:
    hive = Hive(tmp_path, more=f'REDIS_URL = "unix://{tmp_path}/elsewhere.sock"')
    done = hive.run("hm", "status")
    assert done.returncode == 1
    assert f"REDIS_URL is the unix socket {tmp_path}/elsewhere.sock, and there is none here" in done.stdout
    assert "listens on a port" in done.stdout


@pytest.mark.parametrize("wrong", [{"al fa": []}, {"alfa": ["a b"]}, {"alfa": "gpu"}, {"-": []}])
def test_names_of_hosts_and_tags_are_checked_where_they_enter(tmp_path: Path, wrong: object) -> None:
    hive = Hive(tmp_path, more=f"HOSTS = {wrong!r}")
    with pytest.raises(SettingsError, match=r"config/hive.py:\d+.*HOSTS"):
        load_settings(hive.folder, {})


NODES = {
    "batman": {"replicas": 4},
    "robin": {"hosts": ["@gpu"], "per_host": True, "replicas": 2},
    "alfred": {"hosts": ["beta"]},
}


@pytest.fixture
def cave(tmp_path: Path) -> Hive:
    made = Hive(tmp_path, more=f'REDIS_URL = "redis://there"\nHOSTS = {HOSTS}\nNODES = {NODES}')
    for name in NODES:
        made.node(name)
    return made


def plan_of(hive: Hive, host: str, checked: list[str] | None = None) -> Plan:
    def check(nodes: Sequence[NodePlan], *, in_time: bool = False) -> list[Problem]:
        if checked is not None:
            checked.extend(node.name for node in nodes)
        return []

    found = load_settings(hive.folder, {})
    return make_plan(found, {"HIVEMIND_HOST": host}, check=check, redis=lambda _: None, keep=frozenset())


def nodes_of(plan: Plan) -> list[str]:
    return [each.name for each in plan.programs if each.kind == "node"]


def test_the_plans_of_all_hosts_are_together_the_whole_plan(cave: Hive) -> None:
    plans = {host: plan_of(cave, host) for host in HOSTS}
    every = sorted(name for plan in plans.values() for name in nodes_of(plan))
    assert every == ["alfred.0", *(f"batman.{n}" for n in range(4)), *(f"robin.{n}" for n in range(4))]
    for host, plan in plans.items():
        assert sorted([*nodes_of(plan), *(each.name for each in plan.elsewhere)]) == every
        assert "root" in {each.name for each in plan.programs}, host
    robins = {host: sum(name.startswith("robin") for name in nodes_of(plan)) for host, plan in plans.items()}
    assert robins == {"alfa": 2, "beta": 0, "gamma": 2}
    assert "alfred.0" in nodes_of(plans["beta"])


def test_a_host_loads_only_what_it_runs(cave: Hive) -> None:
    checked: list[str] = []
    plan_of(cave, "beta", checked)
    assert "robin" not in checked
    assert "alfred" in checked


def test_a_host_that_never_heard_of_a_scaling_gives_no_copy_another_home(cave: Hive) -> None:
    before = {host: nodes_of(plan_of(cave, host)) for host in HOSTS}
    write_scale(HivePaths.of(load_settings(cave.folder, {})), {"batman": 7})
    after = {host: nodes_of(plan_of(cave, host)) for host in HOSTS}
    assert all(set(before[host]) <= set(after[host]) for host in HOSTS)
    assert sum(map(len, after.values())) - sum(map(len, before.values())) == 3


def test_a_host_that_hosts_do_not_name_starts_nothing_but_may_develop(cave: Hive) -> None:
    with pytest.raises(ConfigurationError, match="HOSTS does not name this host, laptop"):
        plan_of(cave, "laptop")
    paths = HivePaths.of(load_settings(cave.folder, {}))
    paths.make()
    write_selection(paths, Selection(here=True))
    assert len(nodes_of(plan_of(cave, "laptop"))) == 7  # two of robin: there is one host


def test_who_is_at_home_elsewhere_is_read_as_it_was_saved(cave: Hive) -> None:
    plan, paths = plan_of(cave, "beta"), HivePaths.of(load_settings(cave.folder, {}))
    save(paths, plan)
    without_env = [replace(each, env=dict.fromkeys(each.env, "")) for each in plan.elsewhere]
    assert list(load(paths).elsewhere) == without_env
    assert {each.home for each in without_env} == {"alfa", "gamma"}


def test_nobody_restarts_because_a_host_was_added(cave: Hive) -> None:
    before = {each.name: each.digest for each in plan_of(cave, "beta").programs}
    cave.configure(f'REDIS_URL = "redis://there"\nHOSTS = {HOSTS | {"delta": []}}\nNODES = {NODES}')
    after = {each.name: each.digest for each in plan_of(cave, "beta").programs}
    assert before["root"] == after["root"]
    assert all(after[name] == before[name] for name in after if name in before)
