"""What `hived export` writes: held against the engines' own schemas, and against what a secret is."""

from __future__ import annotations

import configparser
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml as reader
from hypothesis import given, settings
from hypothesis import strategies as some

from hivemind.errors import ConfigurationError
from hivemind.settings import NodeTuning, load_settings
from hivemind.supervisor.export.compose import compose
from hivemind.supervisor.export.files import File, write
from hivemind.supervisor.export.image import image_files
from hivemind.supervisor.export.kubernetes import LONGEST_NAME, dns_names, kubernetes
from hivemind.supervisor.export.systemd import systemd
from hivemind.supervisor.export.workloads import Hive, hive_of
from hivemind.supervisor.export.yaml import yaml
from hivemind.supervisor.processes import NodePlan

from .hive_kit import hive_in

SECRET = "s3kr3t"
ELSEWHERE = f'REDIS_URL = "redis://:{SECRET}@redis.example.org:6379"'
COMPOSE_SPEC = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
TUNINGS: dict[str, dict[str, Any]] = {
    "batman": {
        "replicas": 3,
        "env": {"CAPE": "$(HOME) $5 100%", "BAT_TOKEN": SECRET, "SHOP": f"http://u:{SECRET}@shop"},
    },
    "Robin_2": {"env": {"SAID": 'yes "\\ ü\n\t: #'}},
    "joker": {"restart": "on-failure"},
    "riddler": {"restart": "never", "replicas": 2},
}


def exported(folder: Path, more: str = ELSEWHERE, environ: Mapping[str, str] | None = None) -> Hive:
    """A hive with the nodes of TUNINGS, two of which share a process with nobody else."""
    (folder / "config").mkdir(parents=True)
    (folder / "config/hive.py").write_text(f'HIVE_NAME = "Gotham_City"\nSTOP_TIMEOUT = 4.5\n{more}\n')
    loaded = load_settings(folder, {"HOME": str(folder), **(environ or {})})
    nodes = [
        NodePlan(name, f"nodes.{name}.{name}", "", NodeTuning.model_validate(tuning))
        for name, tuning in TUNINGS.items()
    ]
    nodes += [NodePlan(each, f"nodes.{each}", "", NodeTuning(process="small")) for each in ("alfred", "gordon")]
    return hive_of(loaded, nodes, {})


def objects(hive: Hive) -> dict[str, dict[str, Any]]:
    (file,) = kubernetes(hive, "gotham:7")
    return {each["metadata"]["name"]: each for each in reader.safe_load_all(file.text)}


def services(hive: Hive) -> dict[str, Any]:
    (file,) = compose(hive, "gotham:7", "..", "deploy/Dockerfile")
    found: dict[str, Any] = reader.safe_load(file.text)
    return found


def units(hive: Hive, redis: Sequence[str] = ()) -> list[File]:
    return systemd(hive, sys.executable, "gotham", redis, "unix:///run/redis.sock" if redis else "")


def test_kubernetes_takes_every_object_by_its_strictest_schema(tmp_path: Path) -> None:
    found = objects(exported(tmp_path))
    for each in found.values():
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    kinds = {name.removeprefix("gotham-city-"): each["kind"] for name, each in found.items()}
    assert kinds == {
        **dict.fromkeys(("root", "batman", "robin-2", "small"), "Deployment"),
        **dict.fromkeys(("joker", "riddler"), "Job"),
    }


def test_the_schema_of_kubernetes_would_find_a_fault(tmp_path: Path) -> None:
    deployment = objects(exported(tmp_path))["gotham-city-batman"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("redis", [ELSEWHERE, 'CONFIRM = "disk"'], ids=["elsewhere", "its own"])
def test_compose_takes_the_file_by_its_schema(tmp_path: Path, redis: str) -> None:
    found = services(exported(tmp_path, redis))
    jsonschema.validate(found, COMPOSE_SPEC)
    own = found["services"].pop("redis", None)
    assert (own is not None) == (redis != ELSEWHERE)
    assert own is None or "always" in own["command"]
    assert set(found["services"]) == {"Robin_2", "batman", "joker", "riddler", "small"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("redis", [(), (sys.executable, "-m", "hivemind.bus.embedded", "a b$c%")], ids=["", "its own"])
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path, redis: Sequence[str]) -> None:
    hive = exported(tmp_path / "50% of my hives", "" if redis else ELSEWHERE)
    write(tmp_path / "units", units(hive, redis), replace=False)
    target = tmp_path / "units/hive-Gotham_City.target"
    command = ["systemd-analyze", "verify", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "hive-" in line]) == (0, [])
    wanted = [line.removeprefix("Wants=") for line in target.read_text().splitlines() if line.startswith("Wants=")]
    assert {name for name in wanted if "batman" in name} == {f"hive-Gotham_City.batman@{n}.service" for n in range(3)}


def test_no_secret_is_written(tmp_path: Path) -> None:
    outside = {"HIVEMIND_MIDDLEWARE": '["tracing:Tracing"]', "HIVEMIND_REDIS_URL": f"redis://:{SECRET}@other"}
    hive = exported(tmp_path, "", outside)
    every = [*kubernetes(hive, "g"), *compose(hive, "g", ".", "D"), *units(hive), *image_files(hive, "g", True)]
    assert [file.name for file in every if SECRET in file.text] == []
    container = objects(hive)["gotham-city-batman"]["spec"]["template"]["spec"]["containers"][0]
    secrets = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each}
    assert secrets == {
        "HIVEMIND_REDIS_URL": {"name": "gotham-city-redis", "key": "url"},
        "BAT_TOKEN": {"name": "gotham-city-env", "key": "batman.BAT_TOKEN"},
        "SHOP": {"name": "gotham-city-env", "key": "batman.SHOP"},
    }
    assert services(hive)["services"]["batman"]["environment"]["BAT_TOKEN"] == "${BATMAN_BAT_TOKEN:?is not set}"


def test_settings_from_outside_the_hive_are_taken_along(tmp_path: Path) -> None:
    hive = exported(tmp_path, environ={"HIVEMIND_LEASE": "9", "HIVEMIND_PROPAGATE": '["traceparent"]'})
    wanted = {"HIVEMIND_LEASE": "9.0", "HIVEMIND_PROPAGATE": '["traceparent"]'}
    assert {name: value for name, value in hive.workloads[0].env.items() if name in wanted} == wanted
    assert load_settings(hive.folder, {"HOME": str(tmp_path), **wanted}).constants == hive.settings.constants


def test_every_engine_waits_as_long_as_hived_for_a_node_to_stop(tmp_path: Path) -> None:
    hive = exported(tmp_path)
    longest = math.ceil(hive.settings.constants.STOP_TIMEOUT) + 2
    pods = [each["spec"]["template"]["spec"] for each in objects(hive).values()]
    assert {pod["terminationGracePeriodSeconds"] for pod in pods} == {longest}
    assert {each["stop_grace_period"] for each in services(hive)["services"].values()} == {f"{longest}s"}
    services_ = [parsed(unit.text)["Service"] for unit in units(hive)[1:]]
    assert {each["TimeoutStopSec"] for each in services_} == {str(longest)}


def test_values_come_through_as_they_are(tmp_path: Path) -> None:
    hive = exported(tmp_path)
    environment = services(hive)["services"]["Robin_2"]["environment"]
    assert environment["SAID"] == TUNINGS["Robin_2"]["env"]["SAID"]
    assert services(hive)["services"]["batman"]["environment"]["CAPE"] == "$$(HOME) $$5 100%"
    pod = objects(hive)["gotham-city-batman"]["spec"]["template"]["spec"]
    assert {"name": "CAPE", "value": "$$(HOME) $5 100%"} in pod["containers"][0]["env"]
    unit = next(each.text for each in units(hive) if "batman" in each.name)
    assert 'Environment="CAPE=$(HOME) $5 100%%"' in unit


def parsed(text: str) -> configparser.ConfigParser:
    """A unit that names nothing twice that matters here."""
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names are written in mixed case
    unit.read_string(text)
    return unit


VALUES = some.recursive(
    some.text() | some.integers() | some.booleans(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=6,
)


@settings(max_examples=60)
@given(VALUES)
def test_what_is_written_as_yaml_is_read_as_it_was_meant(value: Any) -> None:
    assert reader.safe_load(yaml(value)) == value


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "~", "1e3", "0x1f", "1_000", "2001-01-01", "=", "- a", "a: b", "&a"]
)
def test_a_text_that_looks_like_something_else_is_read_as_a_text(text: str) -> None:
    assert reader.safe_load(yaml({text: [text, [text]]})) == {text: [text, [text]]}


def test_names_that_kubernetes_would_not_take_or_that_are_alike_get_one_of_their_own() -> None:
    names = ["gotham-batman", "Gotham-Robin", "gotham_robin", "gotham-x_", f"gotham-{'very-' * 12}long"]
    found = dns_names(names)
    assert (found["gotham-batman"], found["gotham-x_"]) == ("gotham-batman", "gotham-x")
    assert len({*found.values()}) == len(names)
    assert max(map(len, found.values())) <= LONGEST_NAME


def test_files_that_are_there_are_overwritten_only_when_asked(tmp_path: Path) -> None:
    first, second = File("a", "one\n"), File("b", "two\n")
    assert write(tmp_path / "out", [first], replace=False) == {"a": "written"}
    changed = [File("a", "other\n"), second]
    with pytest.raises(ConfigurationError, match="out: a: there already"):
        write(tmp_path / "out", changed, replace=False)
    assert not (tmp_path / "out/b").exists()
    assert write(tmp_path / "out", changed, replace=True) == {"a": "replaced", "b": "written"}
    assert write(tmp_path / "out", changed, replace=False) == {"a": "unchanged", "b": "unchanged"}


def test_the_dockerfile_says_how_it_is_built_and_run_in_this_hive_as_the_docs_do(tmp_path: Path) -> None:
    hive = exported(tmp_path)
    said = [image_files(hive, "gotham:latest", False, folder)[0].text for folder in ("deploy", ".")]
    build, run = "docker build -f {}Dockerfile -t gotham:latest .", "docker run -e HIVEMIND_REDIS_URL gotham:latest {}"
    assert [f"#   {build.format(at)}\n" in text for at, text in zip(("deploy/", ""), said, strict=True)] == [True, True]
    assert f"#   {run.format('Robin_2')}\n" in said[0]
    docs = (Path(__file__).parents[1] / "docs/export.md").read_text()
    assert build.format("deploy/") in docs
    assert run.format("batman") in docs


def test_a_broken_node_is_left_out_and_named(tmp_path: Path) -> None:
    with hive_in(tmp_path / "gotham", more='REDIS_URL = "redis://:pw@127.0.0.1:1"') as hive:
        hive.node("batman")
        hive.node("robin", "import nowhere\n")
        done = hive.run("hived", "export", "compose", "--out", "deploy")
        assert (done.returncode, "robin" in done.stderr, "a password is in REDIS_URL" in done.stderr) == (1, True, True)
        found = reader.safe_load((hive.folder / "deploy/compose.yaml").read_text())
        assert [*found["services"]] == ["batman"]
        assert found["services"]["batman"]["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
        assert (hive.folder / "deploy/Dockerfile").exists()
