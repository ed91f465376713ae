from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import orjson

from hivemind.identity import ProcessIdentity
from hivemind.root.address import AddressFile, listen, url_of

from .servers import free_port


def write(path: Path, url: str, process: ProcessIdentity) -> None:
    path.write_bytes(orjson.dumps({"url": url, "pid": process.pid, "process": process.to_json()}))


def test_the_wanted_port_is_taken_when_it_is_free() -> None:
    port = free_port()
    with listen(port) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{port}"


def test_a_port_that_is_taken_gives_the_next_free_one() -> None:
    with listen(free_port()) as first:
        taken = first.getsockname()[1]
        with listen(taken) as second:
            assert taken < second.getsockname()[1] <= taken + 20


def test_a_port_that_may_not_be_used_gives_another_one() -> None:
    with listen(65535) as first, listen(65535) as second:
        assert first.getsockname()[1] != second.getsockname()[1]


def test_port_0_is_any_free_port() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[1] > 0


def test_a_port_on_which_somebody_else_is_bound_to_all_addresses_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other, listen(other.getsockname()[1]) as listener:
        assert listener.getsockname()[1] != other.getsockname()[1]


def test_the_address_file_says_where_the_page_is_until_it_is_removed(tmp_path: Path) -> None:
    file = AddressFile(tmp_path / "var" / "root.json")
    assert file.read() is None
    file.write("http://127.0.0.1:1")
    assert file.read() == "http://127.0.0.1:1"
    found = orjson.loads(file.path.read_bytes())
    assert (found["url"], found["pid"]) == ("http://127.0.0.1:1", os.getpid())
    file.remove("http://127.0.0.1:1")
    file.remove("http://127.0.0.1:1")
    assert not file.path.exists()
    assert list(file.path.parent.iterdir()) == []


def test_a_second_root_leaves_the_file_of_a_living_one_alone(tmp_path: Path) -> None:
    file = AddressFile(tmp_path / "root.json")
    parent = ProcessIdentity.of(os.getppid())
    assert parent is not None
    write(file.path, "http://127.0.0.1:1", parent)
    file.write("http://127.0.0.1:2")
    file.remove("http://127.0.0.1:2")
    assert file.read() == "http://127.0.0.1:1"


def test_the_file_of_a_killed_root_is_not_believed_and_is_replaced(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        gone = ProcessIdentity.of(process.pid)
    assert gone is not None
    file = AddressFile(tmp_path / "root.json")
    write(file.path, "http://127.0.0.1:1", gone)
    assert file.read() is None
    file.write("http://127.0.0.1:2")
    assert file.read() == "http://127.0.0.1:2"


def test_a_file_that_is_no_address_is_as_good_as_none(tmp_path: Path) -> None:
    file = AddressFile(tmp_path / "root.json")
    for text in ("", "[]", "{}", '{"url": "x", "process": 3}', "\x00"):
        file.path.write_text(text)
        assert file.read() is None
