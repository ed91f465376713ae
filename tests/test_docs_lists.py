"""What the documentation lists is what there is: settings, states, commands, dependencies, tests behind promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import reduce
from pathlib import Path

import click
import pytest

from hivemind import RootController
from hivemind.bus.functions import NAMES
from hivemind.cli.groups import SectionGroup
from hivemind.cli.hived import hived
from hivemind.cli.hm import hm
from hivemind.data.records import About, ResponderRecord, ServiceRecord, Stats, SubscriptionRecord
from hivemind.message import MAX_DEPTH, MAX_HEADERS, MAX_PAYLOAD
from hivemind.topics import ClusterNames, Names, ShardedNames

from .docs_made import PARTS, parts_of, remade

HERE = Path(__file__).resolve().parent.parent
DOCS = HERE / "docs"
EVERYWHERE = {"--help", "-h", "--hive"}


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: str(page.name))
def test_what_is_made_from_the_code_is_as_the_code_makes_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert remade(text) == text, "run: python -m tests.docs_made"


def test_every_made_part_is_on_a_page() -> None:
    assert sorted(name for page in DOCS.glob("*.md") for name in parts_of(page)) == sorted(PARTS)


def sections(page: Path, level: str) -> dict[str, str]:
    """Heading and text of every section of a page."""
    found = re.split(rf"^{level} (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def commands(group: SectionGroup) -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(group, info_name=group.name)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield f"{group.name} {name}", command


COMMANDS = dict([*commands(hm), *commands(hived)])


def test_the_command_line_page_has_every_command() -> None:
    assert set(sections(DOCS / "command-line.md", "###")) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_is_described_with_its_options_and_an_example(name: str) -> None:
    text = sections(DOCS / "command-line.md", "###")[name]
    command = COMMANDS[name]
    inner = list(command.commands.values()) if isinstance(command, click.Group) else []
    options = {
        opt for each in [command, *inner] for option in each.params for opt in [*option.opts, *option.secondary_opts]
    }
    missing = [option for option in options if option.startswith("-") and option not in text]
    assert not set(missing) - EVERYWHERE
    assert re.search(rf"```sh\n(?:.*\n)*?.*{name}", text), f"no example of {name}"


def test_every_promise_names_tests_that_exist() -> None:
    page = (DOCS / "promises.md").read_text(encoding="utf-8").partition("## What is not promised")[0]
    named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", page)
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in source(HERE / file)]
    assert not missing
    for promise in re.split(r"^- ", page, flags=re.MULTILINE)[1:]:
        assert "`tests/" in promise, f"no test is named for: {promise}"


def source(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_every_dependency_has_its_reason() -> None:
    requirements = re.findall(
        r'^\s+f?"([a-z][\w-]*)(?:\[\w+\])?(?:[><=;]|",$)', source(HERE / "setup.py"), re.MULTILINE
    )
    extras = re.findall(r'^    "server": \[f"([\w-]+)', source(HERE / "setup.py"), re.MULTILINE)
    named = re.findall(r"^\| (?:`\w+` \| )?`([\w-]+)` \|", source(DOCS / "dependencies.md"), re.MULTILINE)
    assert set(named) == {*requirements, *extras}


def test_the_readme_says_what_ci_runs() -> None:
    assert re.findall(r"^make (\w+)", source(HERE / ".ci" / "run"), re.MULTILINE) == ["lint", "test"]
    assert "which is `make lint` beside `make test`" in source(HERE / "README.md")


def test_the_first_node_of_the_readme_is_the_example() -> None:
    assert f"```python\n{source(HERE / 'examples' / 'first_node.py')}```" in source(HERE / "README.md")


WIRE = source(DOCS / "wire.md")


@pytest.mark.parametrize("record", [About, Stats, ServiceRecord, SubscriptionRecord, ResponderRecord])
def test_every_field_of_the_registry_is_described(record: type[About]) -> None:
    missing = [field.name for field in fields(record) if f"`{field.name}`" not in WIRE]
    assert not missing


def test_every_function_is_described() -> None:
    assert set(re.findall(r"^\| `hm_<hash>_(\w+)` \|", WIRE, re.MULTILINE)) == set(NAMES)


def test_every_name_in_redis_is_the_one_that_is_used() -> None:
    names = Names("gotham")
    used = {names.live("T"), names.beat("I"), names.control("K"), names.node("I"), names.nodes(), names.epoch("I")}
    used |= {names.whose("I")}
    used |= {
        names.layout(),
        names.patterns(),
        names.topics(),
        names.resolvers(),
        names.resolved(),
        ShardedNames("gotham").live("T"),
    }
    used |= {names.stream("T"), names.producers("T"), names.retries("T"), names.letters("T")}
    used |= {
        names.kept(),
        names.readings(),
        names.readers(),
        names.caretaker(),
        names.roll(),
        names.move(),
        names.past(),
    }
    used |= {names.responders_since("N")}
    used |= {names.responders("N"), names.request("N", "I.eL"), names.replies("I.<128 random bits>")}
    used |= {names.order("T"), names.memory("T")}
    used |= {names.kept(), names.readings(), names.readers()}
    rows = re.findall(r"^\| [^|]+ \| `(hm:[^`]+)` \|", WIRE, re.MULTILINE)
    filled = [("<hive>", "gotham"), ("<topic>", "T"), ("<instance>", "I"), ("<kind>", "K"), ("<name>", "N")]
    filled += [("<incarnation>", "L")]
    assert {reduce(lambda text, pair: text.replace(*pair), filled, row) for row in rows} == used
    on_a_cluster = ClusterNames("gotham")
    for name in (on_a_cluster.stream("<topic>"), on_a_cluster.responders("<name>")):
        assert f"`{name.replace('gotham', '<hive>')}`" in WIRE


def test_the_limits_are_those_that_hold() -> None:
    assert (MAX_PAYLOAD, MAX_HEADERS, MAX_DEPTH) == (2**20, 2**16, 64)
    assert "1 MiB of JSON and 64 levels, headers 64 KiB" in WIRE


def test_every_hook_of_a_controller_is_described() -> None:
    hooks = [name for name in vars(RootController) if not name.startswith("_")]
    text = source(DOCS / "root.md")
    assert [name for name in hooks if f"`{name}()`" not in text] == ["run", "exec_", "serve"]
