"""`hm start`, `stop`, `restart` and `scale`: asked on the bus, done by the hived that has the programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from hivemind.cli.hm import hm
from hivemind.settings import load_settings
from hivemind.supervisor.actions import Request, Result, Verb, select
from hivemind.supervisor.control import Hived, decode_answer, decode_request, encode_answer, encode_request
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import Plan, load, save
from hivemind.supervisor.topology import Kind, Problem, Program

from .cli_kit import Place
from .hive_kit import Hive, hive_in
from .waiting import eventually


def program(name: str, *tags: str, kind: Kind = "node") -> Program:
    return Program(name, kind, name.partition(".")[0], ("true",), 10, tags=tags)


PLAN = Plan(
    (program("redis", kind="redis"), program("root", kind="root"), program("batman.0", "heroes"), program("batman.1")),
    stopped=(program("robin.0", "heroes"),),
)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (["batman"], ["batman.0", "batman.1"]),
        (["batman.1"], ["batman.1"]),
        (["@heroes"], ["batman.0", "robin.0"]),
        (["@all"], ["batman.0", "batman.1", "robin.0"]),
        (["root", "robin"], ["robin.0", "root"]),
        (["redis"], []),
        (["joker"], []),
    ],
)
def test_targets_are_nodes_instances_and_tags(targets: list[str], expected: list[str]) -> None:
    assert [each.name for each in select(PLAN, targets)] == expected


def test_a_request_is_read_as_it_was_written() -> None:
    request = Request(Verb.SCALE, ("batman", "@heroes"), 3, {"since": "1h"})
    assert decode_request(orjson.dumps(encode_request(request, "reply"))) == (request, "reply")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"verb": "explode", "targets": [], "replicas": 1, "reply": ""}'])
def test_what_is_no_request_is_ignored(body: bytes) -> None:
    assert decode_request(body) is None
    assert decode_answer(body) is None


def test_an_answer_is_read_as_it_was_written() -> None:
    me, results = Hived("here", "/hive", 7), [Result("batman.0", True, "stopped")]
    answer = decode_answer(orjson.dumps(encode_answer(me, ["batman.0"], results)))
    assert answer is not None
    assert (answer.hived, answer.results, answer.done) == (me, results, True)


def test_requests_and_answers_of_another_version_are_read_as_far_as_they_are_known() -> None:
    older = {"verb": "stop", "targets": ["batman"], "replicas": 0, "reply": "reply"}
    assert decode_request(orjson.dumps(older | {"of_later": 1})) == (Request(Verb.STOP, ("batman",)), "reply")
    written = encode_answer(Hived("here", "/hive", 7), ["batman.0"], [Result("batman.0", True, "stopped")])
    results = [each | {"of_later": 1} for each in written["results"]]
    newer = written | {"hived": written["hived"] | {"of_later": 1}, "results": results, "of_later": 1}
    assert decode_answer(orjson.dumps(newer)) == decode_answer(orjson.dumps(written))


def test_more_options_than_anybody_needs_are_no_request() -> None:
    request = Request(Verb.STOP, ("batman",), options={str(number): "" for number in range(21)})
    assert decode_request(orjson.dumps(encode_request(request, "reply"))) is None


@pytest.mark.parametrize("added", [{"of_later": 1}, {}])
def test_what_another_version_saved_of_a_plan_is_read_as_far_as_it_is_known(tmp_path: Path, added: object) -> None:
    paths = HivePaths.of(load_settings(Hive(tmp_path).folder, {}))
    paths.make()
    problem = Problem("joker", "it is missing", "nodes/joker.py")
    save(paths, replace(PLAN, problems=(problem,)))
    saved = orjson.loads(paths.plan.read_bytes())
    for each in (*saved["programs"], *saved["stopped"], *saved["problems"]):
        each.update(added)
    paths.plan.write_bytes(orjson.dumps(saved))
    assert load(paths) == replace(PLAN, problems=(problem,))


@pytest.mark.parametrize("spoilt", ["", "[]", "3", '{"programs": 3}', '{"programs": [{"name": "batman.0"}]}'])
def test_a_spoilt_plan_is_an_empty_one(tmp_path: Path, spoilt: str) -> None:
    paths = HivePaths.of(load_settings(Hive(tmp_path).folder, {}))
    paths.make()
    paths.plan.write_text(spoilt)
    assert load(paths) == Plan(())


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[Hive]:
    with hive_in(tmp_path / "gotham", more='NODES = {"robin": {"tags": ["heroes"]}}') as made:
        made.node("batman")
        made.node("robin")
        yield made


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hive]:
    with hive_in(tmp_path_factory.mktemp("heroes") / "gotham", more='NODES = {"robin": {"tags": ["heroes"]}}') as made:
        made.node("batman")
        made.node("robin")
        made.start()
        yield made


@pytest.fixture
def heroes(started: Hive) -> Iterator[Hive]:
    """As ``hive``, running; who is stopped is started again afterwards."""
    yield started
    if "stopped" in started.states().values():
        assert started.run("hm", "start", "@all").returncode == 0


@pytest.mark.long
def test_what_was_stopped_stays_stopped_until_it_is_started(hive: Hive) -> None:
    hive.start()
    before = hive.pids()
    assert hive.run("hm", "stop", "batman").stdout == "batman.0: stopped\n"
    assert hive.run("hived", "reload").returncode == 0
    assert hive.states()["batman.0"] == "stopped"
    hive.run("hived", "stop")
    hive.run("hived", "start")
    assert hive.states()["batman.0"] == "stopped"
    assert hive.copies("batman") == []
    done = hive.run("hm", "start", "batman")
    assert (done.returncode, done.stdout) == (0, "batman.0: started\n")
    assert hive.program("batman.0").pid != before["batman.0"]


def test_restart_by_tag_touches_only_the_tagged(heroes: Hive) -> None:
    before = heroes.pids()
    assert heroes.run("hm", "restart", "@heroes").stdout == "robin.0: restarted\n"
    after = heroes.pids()
    assert {name for name in after if after[name] != before[name]} == {"robin.0"}


def test_a_restart_leaves_a_node_running_whose_file_is_broken(hive: Hive) -> None:
    hive.start()
    eventually(lambda: hive.log("batman"), within=15)
    (batman,) = hive.copies("batman")
    hive.write("nodes/batman/batman.py", "import nothere\n")
    done = hive.run("hm", "restart", "batman")
    assert done.returncode == 1
    assert done.stdout.startswith("batman.0: nodes/batman/batman.py:1: ModuleNotFoundError")
    assert "it goes on as it was" in done.stdout
    hive.configure("HEARTBEAT = 0.4")
    reloaded = hive.run("hived", "reload")
    assert (reloaded.returncode, "robin.0: rolled" in reloaded.stdout) == (1, True)
    assert "it goes on as it was" in reloaded.stderr
    assert hive.copies("batman") == [batman]


def test_scale_adds_and_removes_copies_and_is_remembered(hive: Hive) -> None:
    hive.start()
    before = hive.pids()
    assert "batman.2: started" in hive.run("hm", "scale", "batman", "3").stdout
    assert hive.program("batman.0").pid == before["batman.0"]
    assert hive.run("hived", "reload").returncode == 0
    assert len(hive.copies("batman")) == 3
    hive.run("hm", "scale", "batman", "0")
    assert hive.copies("batman") == []
    assert "batman.0: started" in hive.run("hm", "scale", "batman", "1").stdout


@pytest.mark.parametrize(
    "command", [("stop", "batman"), ("restart", "@all"), ("scale", "batman", "2"), ("pub", "x", "1")], ids=" ".join
)
def test_of_a_hive_that_does_not_run_one_is_told_at_once_and_nothing_is_started(
    hive: Hive, command: tuple[str, ...]
) -> None:
    done = hive.run("hm", *command)
    assert done.returncode == 1
    assert "it does not run; start the hive with `hm dev` or `hived start`" in done.stderr
    assert len(done.stderr.splitlines()) == 2  # which hive it is, and this
    assert hive.processes() == []


def test_where_redis_does_not_answer_that_is_said_in_one_sentence(hive: Hive) -> None:
    hive.configure('REDIS_URL = "redis://127.0.0.1:1"')
    done = hive.run("hm", "restart", "batman")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 2)
    assert "start that server, or change REDIS_URL (config/hive.py:" in done.stderr


def test_an_unknown_node_is_an_error_and_no_node_is_wrong_use(heroes: Hive) -> None:
    done = heroes.run("hm", "stop", "batmn")
    assert (done.returncode, "no hived here knows batmn, did you mean batman?" in done.stderr) == (2, True)
    assert "@all" in heroes.run("hm", "stop", "all").stderr
    assert "`hived stop`" in heroes.run("hm", "stop", "redis").stderr
    assert heroes.run("hm", "stop").returncode == 2


@pytest.mark.parametrize("names", [("batman", "robn"), ("robn", "batman"), ("@heroes", "@heros")], ids=" ".join)
def test_of_several_names_none_is_stopped_if_one_is_unknown(heroes: Hive, names: tuple[str, ...]) -> None:
    before = heroes.pids()
    done = heroes.run("hm", "stop", *names)
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean robin?" in done.stderr or "no node has that tag" in done.stderr
    assert heroes.pids() == before
    assert heroes.run("hm", "stop", "batman", "@heroes").stdout == "batman.0: stopped\nrobin.0: stopped\n"


def test_a_node_is_scaled_and_not_one_of_its_copies(here: Place) -> None:
    said = here.run("scale", "packer.0", "2")
    assert (said.returncode, said.stderr) == (
        2,
        "error: packer.0 is one copy, and a node is scaled: `hm scale packer 2`\n",
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "how many copies? The number comes last: `hm scale NODE 3`"),
        (("packer",), "how many copies? The number comes last: `hm scale packer 3`"),
        (("packer", "two"), "how many copies?"),
        (("3",), "which node? `hm scale NODE 3`"),
        (("packer", "-1"), "-1: a node has 0 to 1,000 copies"),
        (("packer", "1001"), "1001: a node has 0 to 1,000 copies"),
        (("packer", "--fast"), "there is no option --fast"),
    ],
    ids=repr,
)
def test_a_number_of_copies_that_is_none_is_told_in_plain_words(words: tuple[str, ...], says: str) -> None:
    done = CliRunner().invoke(hm, ["scale", *words], prog_name="hm")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {says}")
