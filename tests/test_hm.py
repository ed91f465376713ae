"""`hm` as people and scripts meet it: help, exit codes, which hive, what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result

import hivemind
from hivemind.bus.embedded import Embedded
from hivemind.cli import forms, output
from hivemind.cli.groups import SectionGroup
from hivemind.cli.hived import hived
from hivemind.cli.hm import SECTIONS, hm
from hivemind.errors import HivemindError
from hivemind.identity import PidFile, ProcessIdentity
from hivemind.settings import load_settings
from hivemind.supervisor.paths import HivePaths

COMMAND = [sys.executable, "-m", "hivemind.cli.hm"]
ROOT = Path(hivemind.__file__).parents[1]
HEAVY = {"asyncio", "pydantic", "redis", "rich", "starlette", "supervisor", "uvicorn"}


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in a folder of its own, in no hive."""
    for name in os.environ:
        if name.startswith(("HIVEMIND_", "HIVE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gotham(outside: Path) -> Path:
    assert run("new", "gotham").exit_code == 0
    return outside / "gotham"


def run(*args: str) -> Result:
    return CliRunner().invoke(hm, args, prog_name="hm")


def process(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run([*COMMAND, *args], env=whole, capture_output=True, text=True, timeout=30, check=False)


def every_command() -> Iterator[tuple[list[str], click.Command]]:
    ctx = click.Context(hm, info_name="hm")
    for name in hm.list_commands(ctx):
        command = hm.get_command(ctx, name)
        assert command is not None
        yield [name], command
        if isinstance(command, click.Group):
            yield from (([name, inner], found) for inner, found in command.commands.items())


def test_without_a_command_hm_shows_its_help() -> None:
    assert run().output == run("-h").output == run("--help").output
    assert run().exit_code == 0


def test_help_is_grouped_and_complete() -> None:
    text = run("-h").output
    headings = [heading for heading, commands in SECTIONS.items() if commands]
    assert [line[:-1] for line in text.splitlines() if line[:-1] in SECTIONS] == headings
    for commands in SECTIONS.values():
        assert all(f"\n  {name} " in text for name in commands)


def test_every_command_has_help_with_examples_and_a_short_h() -> None:
    for path, command in every_command():
        short, long = run(*path, "-h"), run(*path, "--help")
        assert short.output == long.output
        assert short.exit_code == 0
        assert "\n  Examples:\n    " in short.output, path
        assert command.get_short_help_str(65).endswith((".", "!")), path


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from hivemind.cli.hm import hm; hm(['-h'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())


def test_version_names_the_package_and_python() -> None:
    version = f"hivemind {hivemind.__version__} (Python {sys.version.split()[0]})\n"
    assert run("--version").output == CliRunner().invoke(hived, ["--version"]).output == version


@pytest.mark.parametrize("program", [hm, hived])
def test_the_help_names_each_command_in_a_whole_sentence(program: SectionGroup) -> None:
    assert "..." not in CliRunner().invoke(program, ["--help"]).output.replace("[ARGS]...", "")


def test_what_looks_like_no_command_is_not_taken_for_one() -> None:
    assert run("frob").stderr.splitlines()[-1] == "error: there is no command 'frob'"


@pytest.mark.parametrize(
    "args", [("bogus",), ("new",), ("new", "--bogus", "x"), ("new", "--dir", "gone", "x"), ("new", "my hive")]
)
def test_wrong_use_exits_2_with_the_reason_on_standard_error(args: tuple[str, ...], outside: Path) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "error: " in result.stderr
    assert result.stdout == ""
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(("program", "typed", "meant"), [(hm, "tial", "tail"), (hived, "relaod", "reload")])
def test_a_mistyped_command_is_answered_with_what_was_meant(program: SectionGroup, typed: str, meant: str) -> None:
    result = CliRunner().invoke(program, [typed], prog_name="it")
    assert result.exit_code == 2
    assert f"error: there is no command '{typed}', did you mean {meant}?" in result.stderr


def test_hm_new_says_where_the_hive_is_and_what_comes_next(outside: Path) -> None:
    result = run("new", "gotham")
    assert result.stdout == f"New hive at: {outside / 'gotham'}\nNext:\n  cd gotham\n  hm dev\n"
    assert (result.exit_code, result.stderr) == (0, "")


def test_hm_new_takes_a_directory_and_lists_files_if_asked(outside: Path) -> None:
    (outside / "repos").mkdir()
    result = run("new", "-v", "--dir", "repos", "gotham")
    assert f"  cd {Path('repos') / 'gotham'}\n" in result.stdout
    assert f"wrote {outside / 'repos' / 'gotham' / 'config' / 'hive.py'}" in result.stderr


def test_an_existing_hive_is_not_overwritten(gotham: Path) -> None:
    result = run("new", "gotham")
    assert result.exit_code == 1
    assert result.stderr == f"error: {gotham} already exists: nothing was written\n"


@pytest.mark.parametrize("name", ["create_node", "create-node"])
def test_create_node_ends_with_the_line_to_uncomment(gotham: Path, name: str) -> None:
    result = run(name, "BatSignal")  # one level above the hive: it is the only one there
    assert result.exit_code == 0
    assert result.stdout.endswith("nodes/__init__.py:\n  # from .batsignal import batsignal\n")
    assert (gotham / "nodes" / "__init__.py").read_text().endswith("\n# from .batsignal import batsignal\n")
    again = run(name, "batsignal")
    assert (again.exit_code, "already exists" in again.stderr) == (1, True)


def test_config_names_what_a_setting_names_and_is_not_there(gotham: Path) -> None:
    (gotham / "nodes" / "batman.py").write_text("")
    (gotham / "config" / "hive.py").write_text('HIVE_NAME = "gotham"\nNODES = {"batmn": {"replicas": 2}}\n')
    result = run("config")
    assert (result.exit_code, "gotham" in result.stdout) == (1, True)
    said = "error: config/hive.py:2: NODES tunes batmn, but there is no such node, did you mean batman?"
    assert said in result.stderr


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ('NODES = {"a": 3}', "must be a dict, such as {...}"),
        ('MIDDLEWARE = "x"', "must be a list, such as [...]"),
        ("HIVE_NAME = 3", "must be a text in quotes"),
        ('PRODUCTION = "perhaps"', "must be True or False"),
    ],
)
def test_what_a_setting_must_be_is_said_as_it_is_written(gotham: Path, typed: str, says: str) -> None:
    (gotham / "config" / "hive.py").write_text(f"{typed}\n")
    assert says in run("config").stderr


def test_a_hive_inside_of_a_hive_is_remarked(gotham: Path) -> None:
    result = run("new", "--dir", str(gotham), "metropolis")
    assert (result.exit_code, f"it lies inside of the hive {gotham}: with --dir" in result.stderr) == (0, True)


def test_what_is_no_command_of_a_group_is_told_what_there_is() -> None:
    assert "there is no command 'nope'; there is add" in run("topics", "nope").stderr
    assert "there is no command 'lst', did you mean list?" in run("dead", "lst").stderr


def test_create_node_outside_a_hive_says_so() -> None:
    result = run("create_node", "BatSignal")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: Not a valid hive! Cannot find config/hive.py")


def test_config_shows_every_value_and_its_source(gotham: Path) -> None:
    lines = process("config", HIVEMIND_REDIS_URL="redis://u:s3cret@host").stdout.splitlines()
    found = {line.split()[0]: line for line in lines}
    assert "config/hive.py:" in found["HIVE_NAME"]
    assert found["REDIS_URL"].split() == ["REDIS_URL", "redis://u:***@host", "environment", "HIVEMIND_REDIS_URL"]


def test_config_as_json_is_a_list_and_the_remark_is_not_in_it(gotham: Path) -> None:
    result = run("config", "--json")
    values: list[dict[str, Any]] = json.loads(result.stdout)
    lease = next(each for each in values if each["constant"] == "LEASE")
    assert lease.pop("source").startswith("config/hive.py:")
    assert lease == {"constant": "LEASE", "value": 6.0}
    assert result.stderr == f"hive gotham in {gotham}\n"


def test_hive_may_be_given_before_or_after_the_command(gotham: Path, outside: Path) -> None:
    assert run("new", "metropolis").exit_code == 0
    for args in (("--hive", "metropolis", "config"), ("config", "--hive", "metropolis")):
        assert run(*args).stderr == f"hive metropolis in {outside / 'metropolis'}\n"
    assert run("config").stderr == "hive default, outside any hive\n"
    assert run("--hive", "nowhere", "config").exit_code == 1
    told = run("doctor").stdout
    assert "you are in no hive (no config/hive.py here or above): cd into one, or use --hive" in told
    assert "hived start" not in told


def test_broken_settings_are_one_line_with_file_and_line(gotham: Path) -> None:
    (gotham / "config" / "hive.py").write_text("LEASE = 0\n")
    result = run("config")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {gotham / 'config' / 'hive.py'}:1: LEASE = 0: must be a number")


def test_the_embedded_redis_can_be_looked_at_and_stopped(gotham: Path) -> None:
    settings = load_settings(gotham)
    assert run("redis", "status").exit_code == 1
    Embedded.of(settings).ensure()
    try:
        result = run("redis", "status", "--json")
        assert (result.exit_code, json.loads(result.stdout)["is_answering"]) == (0, True)
        assert result.stderr == f"hive gotham on unix://{settings.runtime}/redis.sock\n"
        assert "answers" in run("redis", "status").stdout
    finally:
        assert run("redis", "stop").stdout == "stopped\n"
    assert run("redis", "stop").stdout == "it was not running\n"
    assert "not running" in run("redis", "status").stdout


def test_a_redis_elsewhere_is_not_ours_to_stop(gotham: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVEMIND_REDIS_URL", "redis://:s3cret@host")
    result = run("redis", "stop")
    assert result.exit_code == 1
    assert result.stderr.startswith("hive gotham on redis://:***@host\nerror: this hive's Redis is not its own")


def test_a_redis_under_hived_is_not_stopped_alone(gotham: Path) -> None:
    paths = HivePaths.of(load_settings(gotham))
    paths.make()
    PidFile(paths.supervisord).write(ProcessIdentity.current())
    assert "use `hived stop`" in run("redis", "stop").stderr


def group(function: Any) -> SectionGroup:
    made = SectionGroup("try")
    made.add_command(click.Command("it", callback=function))
    return made


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (HivemindError("no luck at redis://u:s3cret@h"), 1, "error: no luck at redis://u:***@h\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.UsageError("no"), 2, "Usage: try it [OPTIONS]\nTry 'try it -h' for help.\nerror: no\n"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(raised: BaseException, code: int, says: str) -> None:
    def fail() -> None:
        raise raised

    result = CliRunner().invoke(group(fail), ["it"], prog_name="try")
    assert (result.exit_code, result.stderr) == (code, says)


def test_a_command_may_return_its_exit_code() -> None:
    assert CliRunner().invoke(group(lambda: 1), ["it"]).exit_code == 1
    assert CliRunner().invoke(group(lambda: None), ["it"]).exit_code == 0


def test_a_reader_that_goes_away_is_no_error(gotham: Path) -> None:
    script = "import sys, click\nfrom hivemind.cli import output\nfrom tests.test_hm import group\n"
    script += "group(lambda: [output.say('x' * 99) for _ in range(9999)] and None)(['it'])"
    first = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert first.stdout is not None
    assert first.stderr is not None
    assert first.stdout.readline() == b"x" * 99 + b"\n"
    first.stdout.close()
    assert (first.stderr.read(), first.wait(30)) == (b"", 0)
    first.stderr.close()


def test_ctrl_c_ends_a_command_quietly(gotham: Path) -> None:
    script = "import signal\nfrom hivemind.cli import output\nfrom tests.test_hm import group\n"
    script += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    script += "group(lambda: (output.say('ready'), signal.pause()))(['it'])"
    running = subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert (running.returncode, errors.strip()) == (130, b"")


def test_what_comes_from_strangers_cannot_steer_the_terminal() -> None:
    assert output.printable("a\x1b[31mred\x07\udc80 ü\n") == "a\\x1b[31mred\\x07\\udc80 ü\n"


def test_json_that_strangers_wrote_cannot_either_and_means_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = {
        "text": "\x9b31m \x7f \u202egnp.exe \U000e0041 \x1b[2J ü 🦇"
    }  # JSON itself escapes what is below a space alone
    output.as_json(evil)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.as_json(evil)
    line = forms.shower(forms.Form.JSON)("news", {"n": "a.0", "e": 1, "s": 1, "t": 1.0, "d": evil}, evil).decode()
    lines = capsys.readouterr().out.splitlines()
    for text in (*lines, line.rstrip("\n"), output.json_text(evil)):
        assert text.isprintable(), text
    assert [orjson.loads(lines[0]), orjson.loads("".join(lines[1:])), orjson.loads(line)["payload"]] == [evil] * 3


def test_no_colour_through_a_pipe_or_with_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output.say("well", "green")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.say("well", "green")
    monkeypatch.setenv("NO_COLOR", "1")
    output.say("well", "green")
    assert capsys.readouterr().out == "well\n\x1b[32mwell\x1b[0m\nwell\n"


def test_a_table_through_a_pipe_is_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("node", "note"), [("batman", "x" * 300), ("b", None)])
    assert capsys.readouterr().out == f"NODE    NOTE\nbatman  {'x' * 300}\nb\n"


def test_a_table_on_a_terminal_takes_text_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    output.table(("node", "note"), [("[red]x[/red]", "1")], styles=["green"])
    assert "[red]x[/red]" in capsys.readouterr().out
