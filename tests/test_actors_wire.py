"""Actors of two addresses, and whatever speaks libprocess: as bytes, in every dialect."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hivemind.actors import PID, Context, Process, install, route
from hivemind.actors.testing import ephemeral_context
from hivemind.errors import NoActor, RemoteError

from .servers import free_port
from .test_actors import AsyncEcho, Client, Ear, Echo, spawned
from .waiting import eventually


@pytest.fixture
def here() -> Iterator[Context]:
    with ephemeral_context() as made:
        yield made


@pytest.fixture
def there() -> Iterator[Context]:
    with ephemeral_context() as made:
        yield made


class Bytes(Ear):
    """Remembers who sent what; its name is what a libprocess calls one."""

    def __init__(self) -> None:
        super().__init__("slave(1)")

    @install("m")
    def m(self, from_pid: PID, body: bytes) -> None:
        self.heard.append((str(from_pid), body))

    @install("a.b/c")
    def nested(self, from_pid: PID, body: bytes) -> None:
        self.heard.append(("nested", body))

    @route("/m")
    def shown(self, request: Any) -> Any:
        return {"verb": request.method, "behind": request.path, "q": request.get_argument("q")}

    @route("/broken")
    def broken(self, request: Any) -> Any:
        raise ValueError

    @route("/written")
    async def written(self, request: Any) -> None:
        request.set_status(202)
        request.set_header("X-More", "1")
        request.write("a")
        request.write(b"b")


@contextmanager
def connected(context: Context) -> Iterator[socket.socket]:
    with socket.create_connection((context.ip, context.port), timeout=10) as made:
        yield made


def answers(made: socket.socket, count: int = 1) -> bytes:
    """What came, once there are so many answers."""
    read = b""
    while read.count(b"HTTP/1.1 ") < count or b"\r\n\r\n" not in read.rpartition(b"HTTP/1.1 ")[2]:
        data = made.recv(65536)
        if not data:
            break
        read += data
    return read


EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "actors"
FROM = b"tx(1)@127.0.0.1:9"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nbody0\r\n0\r\n\r\n"
BOTH_WAYS = b"User-Agent: libprocess/%b\r\nLibprocess-From: %b\r\nConnection: Keep-Alive\r\n"
PLAIN = b"Content-Length: 5\r\n"
DIALECTS = {
    "compactor": b"POST /slave(1)/m HTTP/1.0\r\nConnection: Keep-Alive\r\n"
    + PLAIN
    + b"Libprocess-From: %b\r\n\r\nbody0",
    "mesos 0.18": b"POST /slave(1)/m HTTP/1.0\r\nUser-Agent: libprocess/%b\r\nConnection: Keep-Alive\r\n" + CHUNKED,
    "mesos 0.22": b"POST /slave(1)/m HTTP/1.1\r\n" + BOTH_WAYS + b"Host: \r\n" + CHUNKED,
    "mesos 1.11": b"POST /slave(1)/m HTTP/1.1\r\n" + BOTH_WAYS + b"Host: 10.0.0.2:5051\r\n" + CHUNKED,
    "curl": b"POST /slave%%281%%29/m?x=1 HTTP/1.1\r\nHost: a\r\nlibprocess-from:  %b \r\n" + PLAIN + b"\r\nbody0",
}


def in_dialect(name: str) -> bytes:
    form = DIALECTS[name]
    return form % ((FROM,) * form.count(b"%b"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_libprocess_that_ever_was_is_understood(here: Context, dialect: str) -> None:
    ear = Bytes()
    here.spawn(ear)
    with connected(here) as made:
        made.sendall(in_dialect(dialect))
        said = answers(made)
    assert said.startswith(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n")
    assert (b"Connection: Keep-Alive" in said) == (b"HTTP/1.0" in in_dialect(dialect))
    eventually(lambda: ear.heard == [(FROM.decode(), b"body0")])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_requests_may_come_pipelined_in_fragments_and_from_who_closes_at_once(here: Context, dialect: str) -> None:
    ear = Bytes()
    here.spawn(ear)
    three = in_dialect(dialect) * 3
    with connected(here) as made:
        for at in range(0, len(three), 7):
            made.sendall(three[at : at + 7])
    eventually(lambda: len(ear.heard) == 3)


def test_a_message_without_a_body_or_a_length_counts(here: Context) -> None:
    ear = Bytes()
    here.spawn(ear)
    with connected(here) as made:
        made.sendall(b"POST /slave(1)/m HTTP/1.0\r\nUser-Agent: libprocess/%b\r\nConnection: Keep-Alive\r\n\r\n" % FROM)
    eventually(lambda: ear.heard == [(FROM.decode(), b"")])


BOTH = b"Libprocess-From: nonsense\r\nUser-Agent: libprocess/%b\r\n" % FROM


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        (b"POST /nobody/m", b"Libprocess-From: %b\r\n" % FROM, 404),
        (b"POST /slave(1)/nothing", b"Libprocess-From: %b\r\n" % FROM, 202),
        (b"POST /slave(1)/a.b/c", b"Libprocess-From: %b\r\n" % FROM, 202),
        (b"POST /slave(1)/m", b"Libprocess-From: nonsense\r\n", 400),
        (b"POST /slave(1)/m", BOTH, 202),
        (b"POST /slave(1)/nothing", b"", 404),
        (b"GET /slave(1)/nothing", b"", 404),
        (b"GET /slave(1)/broken", b"", 500),
        (b"GET /", b"", 404),
    ],
)
def test_the_answer_says_what_became_of_it(here: Context, line: bytes, headers: bytes, status: int) -> None:
    here.spawn(Bytes())
    with connected(here) as made:
        made.sendall(line + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"Content-Length: 0\r\n\r\n")
        assert answers(made).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "PATCH", "POST", "OPTIONS"])
def test_a_route_takes_every_verb_what_is_below_it_and_shares_its_name_with_a_mailbox(here: Context, verb: str) -> None:
    here.spawn(Bytes())
    with connected(here) as made:
        made.sendall(f"{verb} /slave(1)/m/below/?q=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        said = answers(made)
    assert f'{{"verb":"{verb}","behind":"/below","q":"1"}}'.encode() in said
    assert b"Content-Type: application/json" in said


def test_a_route_writes_as_one_of_compactor_and_head_has_no_body(here: Context) -> None:
    here.spawn(Bytes())
    with connected(here) as made:
        for verb in (b"GET", b"HEAD"):
            made.sendall(verb + b" /slave(1)/written HTTP/1.1\r\nHost: a\r\n\r\n")
        said = answers(made, 2)
    first, _, second = said[1:].partition(b"HTTP/1.1 ")
    assert (b"X-More: 1" in first, first.endswith(b"\r\n\r\nab"), second.endswith(b"\r\n\r\n")) == (True, True, True)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, 413),
        (b"POST /a/b HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_hostile_bytes_are_refused_and_the_connection_ends(sent: bytes, status: int) -> None:
    with ephemeral_context(max_body=1000) as context, connected(context) as made:
        made.sendall(sent)
        said = b""
        while data := made.recv(65536):
            said += data
        assert said.startswith(b"HTTP/1.1 %d " % status)
        with ephemeral_context() as other:
            ear, client = Ear(), Client()
            context.spawn(ear)
            other.spawn(client)
            client.send(ear.pid, "hear", b"alive")
            eventually(lambda: ear.heard == [b"alive"])


def test_who_claims_an_address_that_is_not_his_is_refused_where_that_is_asked_for() -> None:
    with ephemeral_context(is_strict=True) as context, connected(context) as made:
        ear = Bytes()
        context.spawn(ear)
        made.sendall(in_dialect("compactor").replace(b"127.0.0.1", b"10.99.0.1") + in_dialect("compactor"))
        said = answers(made, 2)
        assert (said.count(b" 400 "), said.count(b" 202 ")) == (1, 1)


# -- two contexts


@pytest.mark.parametrize("size", [0, 1, 1024, 1024 * 1024])
def test_a_body_of_any_size_comes_and_its_answer_goes_back(here: Context, there: Context, size: int) -> None:
    echo, client = AsyncEcho("echo"), Client()
    here.spawn(client)
    there.spawn(echo)
    assert client.ask(echo.pid, "echo", b"x" * size).get() == b"x" * size


def test_five_hundred_come_in_their_order_over_one_connection(here: Context, there: Context) -> None:
    ear, other, client = Ear(), Ear("other"), Client()
    here.spawn(client)
    spawned(there, ear, other)
    for number in range(500):
        client.send(ear.pid, "hear", b"%d" % number)
        client.send(other.pid, "hear", b"%d" % number)
    eventually(lambda: len(ear.heard) == len(other.heard) == 500)
    assert ear.heard == other.heard == [b"%d" % number for number in range(500)]
    assert len(there._wire._open) == 1


def test_errors_travel_back_over_the_wire(here: Context, there: Context) -> None:
    echo, client = Echo("echo"), Client()
    here.spawn(client)
    there.spawn(echo)
    with pytest.raises(RemoteError, match="ValueError: no such luck"):
        client.ask(echo.pid, "fail").get()
    with pytest.raises(NoActor, match="no such mailbox"):
        client.ask(echo.pid, "nothing").get()
    with pytest.raises(NoActor, match="no such actor"):
        client.ask(PID(there.ip, there.port, "nobody"), "echo").get()


def test_a_link_connects_by_itself_and_tells_when_the_peer_stops(here: Context, there: Context) -> None:
    ear, target = Ear(), Client("target")
    here.spawn(ear)
    there.spawn(target)
    ear.link(target.pid)
    eventually(lambda: len(there._wire._open) == 1)
    there.stop()
    eventually(lambda: [pid for pid, _ in ear.ends] == [target.pid], within=1.0)
    assert "connection" in ear.ends[0][1]


def test_a_link_to_an_address_where_nobody_listens_is_told_at_once(here: Context) -> None:
    ear = Ear()
    here.spawn(ear)
    nobody = PID("127.0.0.1", free_port(), "nobody")
    ear.link(nobody)
    eventually(lambda: [pid for pid, _ in ear.ends] == [nobody], within=1.0)
    assert "cannot be reached" in ear.ends[0][1]


def test_what_is_sent_where_nobody_listens_is_dead_and_heals_when_somebody_does(here: Context) -> None:
    client = Client()
    here.spawn(client)
    port = free_port()
    to = PID("127.0.0.1", port, "ear")
    client.send(to, "hear", b"lost")
    eventually(lambda: [one.body for one in here.dead_letters] == [b"lost"])
    with ephemeral_context(port=port) as there:
        ear = Ear()
        there.spawn(ear)
        client.send(to, "hear", b"found")
        eventually(lambda: ear.heard == [b"found"])


def test_a_silent_connection_is_a_link_and_is_kept(here: Context) -> None:
    with connected(here) as made:
        made.settimeout(0.5)
        with pytest.raises(TimeoutError):
            made.recv(1)


def test_it_works_over_ip_version_6() -> None:
    try:
        with ephemeral_context(ip="::1") as one, ephemeral_context(ip="::1") as other:
            echo, client = Echo("echo"), Client()
            one.spawn(client)
            other.spawn(echo)
            assert str(echo.pid).startswith("echo@[::1]:")
            assert client.ask(echo.pid, "echo", b"x").get() == b"x"
    except Context.SocketError:
        pytest.skip("!!! NOT TESTED: no IP of version 6 here")


def test_others_are_told_the_address_that_is_advertised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_IP", "10.9.8.7")
    monkeypatch.setenv("LIBPROCESS_ADVERTISE_PORT", "1234")
    with ephemeral_context() as context:
        assert str(context.spawn(Client())) == "client@10.9.8.7:1234"


def test_ten_threads_send_at_once_and_nothing_is_lost(here: Context, there: Context) -> None:
    ear, client = Ear(), Client()
    there.spawn(ear)
    here.spawn(client)

    def send() -> None:
        for _ in range(200):
            client.send(ear.pid, "hear", b"x")

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(ear.heard) == 2000)


def test_a_process_without_handlers_is_an_actor_too(here: Context) -> None:
    assert here.spawn(Process("bare")).id == "bare"


# -- the examples that compactor's documentation prints


@pytest.mark.parametrize("name", ["ping", "leader"])
def test_an_example_of_compactors_documentation_runs_as_printed(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
