"""Nodes that are checked together, each in a child of one process: none sees another, and none harms another."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import orjson
import pytest

from hivemind.settings import NodeTuning
from hivemind.supervisor.check import node_checker
from hivemind.supervisor.processes import NodePlan

SOUND = "from hivemind import Node\n\nclass Robin(Node): pass\n"


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/hive.py").write_text('HIVE_NAME = "gotham"\n')
    (tmp_path / "nodes").mkdir()
    return tmp_path


def checked(hive: Path, nodes: dict[str, str], timeout: float = 20.0) -> dict[str, dict[str, Any]]:
    """What is said of ``nodes``, given with what is in their files before a sound node."""
    for name, code in nodes.items():
        (hive / f"nodes/{name}.py").write_text(f"{textwrap.dedent(code)}\n{SOUND}")
    request = {"targets": [*nodes], "at_once": 2, "timeout": timeout}
    command = [sys.executable, "-m", "hivemind.supervisor.checker"]
    done = subprocess.run(command, cwd=hive, input=orjson.dumps(request), capture_output=True, timeout=60, check=True)
    return {said.pop("target"): said for said in map(orjson.loads, done.stdout.splitlines())}


def test_no_node_sees_what_another_has_imported_or_changed(hive: Path) -> None:
    spoils = "import json, os, sys, wave\njson.loads = None\nos.environ['MASK'] = os.getcwd()\nos.chdir('/')"
    looks = "import json, os, sys\nassert json.loads and os.getcwd() != '/' and 'wave' not in sys.modules"
    found = checked(hive, dict.fromkeys(("one", "two", "three"), f"{looks}\n{spoils}"))
    assert [said["reason"] for said in found.values()] == ["", "", ""]


def test_one_that_ends_its_process_or_takes_too_long_or_talks_without_end_harms_no_other(hive: Path) -> None:
    nodes = {
        "crashes": "import ctypes\nctypes.string_at(0)",
        "leaves": "import os\nos._exit(0)",
        "hangs": "import time\ntime.sleep(60)",
        "talks": "import sys\nprint('x' * 5_000_000)\nprint('y' * 5_000_000, file=sys.stderr)",
        "reads": "assert input() is None",
        "sound": "",
    }
    found = checked(hive, nodes, timeout=5.0)
    assert (found["talks"]["ok"], found["sound"]["ok"], found["hangs"]) == (True, True, {"late": True})
    assert found["crashes"]["reason"].startswith("importing it ends the process with -11")
    assert found["leaves"]["reason"].startswith("importing it ends the process with 0")
    assert found["reads"]["reason"].startswith("EOFError")


def test_each_is_checked_with_the_environment_that_it_is_to_have(hive: Path) -> None:
    (hive / "nodes/robin.py").write_text(f"import os\nassert os.environ['MASK'] == 'green'\n{SOUND}")
    (hive / "nodes/bruce.py").write_text(f"import os\nassert 'MASK' not in os.environ\n{SOUND}")
    green = NodeTuning(env={"MASK": "green"})
    plans = [NodePlan(name, name, "", green) for name in ("robin", "bruce")]
    (problem,) = node_checker(hive, {"HIVEMIND_HIVE": str(hive)})(plans)
    assert (problem.node, problem.file, problem.line) == ("bruce", "nodes/bruce.py", 2)


def test_one_that_is_not_imported_in_time_is_a_problem_only_for_who_asks_for_that(
    hive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind.supervisor.check.CHECK_TIMEOUT", 3.0)
    for name, first in (("robin", "import time\ntime.sleep(60)"), ("bruce", "")):
        (hive / f"nodes/{name}.py").write_text(f"{first}\n{SOUND}")
    plans = [NodePlan(name, name, str(hive / f"nodes/{name}.py"), NodeTuning()) for name in ("robin", "bruce")]
    check = node_checker(hive, {"HIVEMIND_HIVE": str(hive)})
    assert check(plans) == []
    (problem,) = check(plans, in_time=True)
    assert (problem.node, problem.file) == ("robin", "nodes/robin.py")
    assert problem.reason == (
        "importing it had not ended after 3 s; if it needs that long, `hm restart robin` ends what runs and starts it "
        "unchecked"
    )
