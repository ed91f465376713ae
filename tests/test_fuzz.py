"""Nothing that anybody may write where we read does more harm than to be refused: see ``doors.py``.

`make test` tries a few; `make drills` many: pytest --hypothesis-profile=many. What fails is shrunk, and repeated first.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hivemind.cli.streams import LONGEST, lines_of
from hivemind.errors import HivemindError
from hivemind.settings import load_settings
from hivemind.supervisor.paths import HivePaths

from .doors import DOORS
from .hive_kit import Hive

FEW = settings().max_examples * 2 // 5  # of each door: there are many


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> HivePaths:
    paths = HivePaths.of(load_settings(Hive(tmp_path_factory.mktemp("fuzz")).folder, {}))
    paths.make()
    return paths


@pytest.mark.parametrize("name", DOORS)
@settings(max_examples=FEW, suppress_health_check=list(HealthCheck))
@given(rng=st.randoms(use_true_random=False))
def test_what_is_spoilt_is_refused_or_harmless(name: str, files: HivePaths, rng: Random) -> None:
    DOORS[name].try_it(rng, files)


DEEPER = b"[" * 1000 + b"]" * 1000
FOUND: list[tuple[str, Any]] = [
    ("a reply", b'{"v":1,"n":"a.0","e":1,"q":1,"k":"reply","b":5}'),
    ("a recording", b'{"time":1,"topic":"x","envelope":{"x":' + DEEPER + b',"d":123456789012345678901}}'),
    ("an answer of hived", b'{"hived":{"host":5,"hive":[],"pid":"x"},"programs":[],"results":[],"done":true}'),
    ("selection.json", b'{"only":5}'),
    ("enabled.json", b'[{"name":1}]'),
    ("enabled.json", b"5"),
    ("scale.json", b'{"batman":-1}'),
    ("plan.json", b'{"programs":[{"name":5,"kind":"node","node":"a","command":"x","priority":"high"}]}'),
    ("plan.json", b'{"programs":[],"mending":[1]}'),
    ("release.json", b'{"number":7,"hash":"ab","made":1e300}'),
    ("a URL", b"redis://h?x=\xff"),
    ("a URL", b"redis+cluster://h:99999"),
    ("how long, how many, since when", b"9" * 5000),
    ("how long, how many, since when", b"9" * 400 + b"d"),
    ("what a server says of itself", "²".encode()),
    ("a redirection", b"MOVED " + b"9" * 5000 + b" h:1"),
    ("slots of a Cluster", [[0, 8191]]),
    ("slots of a Cluster", 5),
    ("a word of a Sentinel", [b"message", b"+switch-master"]),
]


@pytest.mark.parametrize(("name", "what"), FOUND, ids=[f"{number} {name}" for number, (name, _) in enumerate(FOUND)])
def test_what_once_did_harm_does_none(name: str, what: Any, files: HivePaths) -> None:
    DOORS[name].open(what, files)


async def test_a_file_without_ends_of_lines_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    with path.open("wb") as out:
        out.truncate(3 * LONGEST)
    file = os.open(path, os.O_RDONLY)
    with pytest.raises(HivemindError, match="a line of more than 8 MiB"):
        async for _ in lines_of(file):
            pass
    os.close(file)
