"""Actors on one address: mailboxes, hooks, asking, links, timers, and how they end."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hivemind.actors import PID, Context, Overflow, Process, Room, install
from hivemind.actors.cell import Life
from hivemind.actors.testing import ephemeral_context
from hivemind.errors import (
    ActorError,
    DeclarationError,
    InvalidMethod,
    InvalidProcess,
    NoActor,
    RemoteError,
    RequestLost,
    RequestTimeout,
    UnboundProcess,
)

from .waiting import eventually


@pytest.fixture
def context() -> Iterator[Context]:
    with ephemeral_context() as made:
        yield made


class Echo(Process):
    @install("echo")
    def echo(self, from_pid: PID, body: bytes) -> bytes:
        return body

    @install("fail")
    def fail(self, from_pid: PID, body: bytes) -> None:
        raise ValueError("no such luck")


class AsyncEcho(Echo):
    @install("echo")
    async def echo(self, from_pid: PID, body: bytes) -> bytes:  # type: ignore[override]
        return body

    @install("fail")
    async def fail(self, from_pid: PID, body: bytes) -> None:  # type: ignore[override]
        raise ValueError("no such luck")


class Ear(Process):
    """Remembers what it hears, and of whose end."""

    def __init__(self, name: str = "ear", block: Callable[[], Any] = lambda: None) -> None:
        super().__init__(name)
        self.heard: list[Any] = []
        self.ends: list[tuple[PID, str]] = []
        self.block = block

    @install("hear")
    def hear(self, from_pid: PID, body: bytes) -> None:
        self.block()
        self.heard.append(body)

    def note(self, *what: Any) -> None:
        self.heard.append(what)

    def exited(self, pid: PID, reason: str) -> None:
        self.ends.append((pid, reason))


class Client(Process):
    def __init__(self, name: str = "client") -> None:
        super().__init__(name)


def spawned(context: Context, *processes: Process) -> None:
    for one in processes:
        context.spawn(one)


# -- addresses


@pytest.mark.parametrize("text", ["a@127.0.0.1:5051", "slave(1)@10.0.0.1:1", "a@[::1]:80"])
def test_a_pid_is_read_and_written_the_same_and_can_be_pickled(text: str) -> None:
    pid = PID.from_string(text)
    assert (str(pid), pickle.loads(pickle.dumps(pid))) == (text, pid)


@pytest.mark.parametrize("text", ["", "a", "a@b", "a@b:x", "a@:1", "a@b:70000", "a@::1:80", "a@b:-1"])
def test_what_is_no_pid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid PID"):
        PID.from_string(text)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a?", "ä", "a\n"])
def test_a_name_that_no_line_of_http_can_have_is_refused(context: Context, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        context.spawn(Client(name))


def test_a_context_has_the_pid_of_its_only_actor(context: Context) -> None:
    with pytest.raises(InvalidProcess, match="none"):
        _ = context.pid
    pid = context.spawn(Client())
    assert context.pid == pid
    context.spawn(Client("other"))
    with pytest.raises(InvalidProcess, match=r"client@.*other@"):
        _ = context.pid


# -- what a class declares


def test_handlers_are_inherited_overridden_and_may_have_several_mailboxes() -> None:
    class Both(AsyncEcho):
        @install("one")
        @install("two")
        def more(self, from_pid: PID, body: bytes) -> None: ...

    assert set(Both("both").message_names) == {"echo", "fail", "one", "two"}
    assert Both.declared.mailboxes["echo"].is_async


def test_two_methods_for_one_mailbox_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(DeclarationError, match="one and two both take 'x'"):

        class Torn(Process):
            @install("x")
            def one(self, from_pid: PID, body: bytes) -> None: ...

            @install("x")
            def two(self, from_pid: PID, body: bytes) -> None: ...


# -- spawning


def test_initialize_runs_before_any_message_and_what_it_raises_undoes_the_spawning(context: Context) -> None:
    class Slow(Ear):
        def initialize(self) -> None:
            self.context.post(self.pid, self.pid, "hear", b"early")
            time.sleep(0.05)
            self.heard.append("initialized")

    class Broken(Client):
        def initialize(self) -> None:
            raise OSError("no")

    slow = Slow()
    context.spawn(slow)
    eventually(lambda: slow.heard == ["initialized", b"early"])
    with pytest.raises(OSError, match="no"):
        context.spawn(Broken())
    context.spawn(Client())  # the name is free


def test_an_async_initialize_is_waited_for_and_raises_as_well(context: Context) -> None:
    class Later(Client):
        async def initialize(self) -> None:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        context.spawn(Later())
    context.spawn(Client())


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(context: Context) -> None:
    first, second = Ear(), Ear()
    context.spawn(first)
    with pytest.raises(InvalidProcess, match="already"):
        context.spawn(second)
    second = Ear()
    context.spawn(second, replace=True)
    client = Client()
    context.spawn(client)
    client.send(second.pid, "hear", b"x")
    eventually(lambda: second.heard == [b"x"])
    assert first.heard == []


def test_what_is_not_spawned_says_so() -> None:
    with pytest.raises(UnboundProcess):
        _ = Client().pid


# -- messages


@pytest.mark.parametrize("body", ["text", 7, ["x"]])
def test_a_body_that_is_no_bytes_is_refused_near_and_far(context: Context, body: Any) -> None:
    client = Client()
    context.spawn(client)
    for to in (client.pid, PID("127.0.0.1", 1, "x")):
        with pytest.raises(TypeError, match="Body must be a sequence of bytes"):
            client.send(to, "hear", body)


def test_messages_of_a_sender_come_in_their_order(context: Context) -> None:
    ear, client = Ear(), Client()
    spawned(context, ear, client)
    for number in range(2000):
        client.send(ear.pid, "hear", b"%d" % number)
    eventually(lambda: len(ear.heard) == 2000)
    assert ear.heard == [b"%d" % number for number in range(2000)]


def test_a_blocking_actor_stops_no_other(context: Context) -> None:
    free = threading.Event()
    blocked = [Ear(f"blocked{number}", lambda: free.wait(20)) for number in range(50)]
    ear, client = Ear(), Client()
    spawned(context, ear, client, *blocked)
    for one in blocked:
        client.send(one.pid, "hear")
    client.send(ear.pid, "hear", b"x")
    eventually(lambda: ear.heard == [b"x"])
    assert not any(one.heard for one in blocked)
    free.set()
    eventually(lambda: all(one.heard for one in blocked))


def test_a_message_for_nobody_is_a_dead_letter_that_says_why(context: Context) -> None:
    ear, client = Ear(), Client()
    spawned(context, ear, client)
    client.send(ear.pid, "nothing", b"1")
    client.send(PID(context.ip, context.port, "nobody"), "hear", b"2")
    eventually(lambda: context.dead_count == 2)
    assert [(one.body, one.reason) for one in context.dead_letters] == [
        (b"1", "it has no such mailbox"),
        (b"2", "there is no such actor"),
    ]


def test_a_message_is_delegated_with_its_sender(context: Context) -> None:
    ear, front, client = Echo("echo"), Client("front"), Client()
    spawned(context, ear, front, client)
    front.delegate("echo", ear.pid)
    assert client.ask(front.pid, "echo", b"x").get() == b"x"


@pytest.mark.parametrize(("overflow", "kept"), [(Overflow.DROP_NEWEST, b"01"), (Overflow.DROP_OLDEST, b"89")])
def test_a_full_mailbox_drops_as_was_said_and_each_is_a_dead_letter(
    context: Context, overflow: Overflow, kept: bytes
) -> None:
    begun, free = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        free.wait(20)

    ear, client = Ear("ear", block), Client()
    context.spawn(ear, room=Room(2, overflow))
    context.spawn(client)
    client.send(ear.pid, "hear", b"first")
    assert begun.wait(10)
    for digit in b"0123456789":
        client.send(ear.pid, "hear", bytes([digit]))
    eventually(lambda: context.dead_count == 8)
    free.set()
    eventually(lambda: b"".join(ear.heard[1:]) == kept)


def test_a_handler_that_raises_is_followed_by_the_next_message(context: Context) -> None:
    echo, client = Echo("echo"), Client()
    spawned(context, echo, client)
    client.send(echo.pid, "fail")
    assert client.ask(echo.pid, "echo", b"x").get() == b"x"


# -- asking


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_what_a_handler_returns_or_raises_comes_back_to_who_asked(context: Context, kind: type[Echo]) -> None:
    echo, client = kind("echo"), Client()
    spawned(context, echo, client)
    assert client.ask(echo.pid, "echo", b"x").get() == b"x"
    with pytest.raises(RemoteError, match="ValueError: no such luck"):
        client.ask(echo.pid, "fail").get()


def test_one_actor_asks_another_on_the_loop(context: Context) -> None:
    class Asking(Client):
        @install("go")
        async def go(self, from_pid: PID, body: bytes) -> Any:
            return await self.ask(echo.pid, "echo", body)

    echo, asking, client = AsyncEcho("echo"), Asking("asking"), Client()
    spawned(context, echo, asking, client)
    assert client.ask(asking.pid, "go", b"x").get() == b"x"


def test_who_asks_nobody_is_told_at_once_and_who_waits_too_long_when_that_is_over(context: Context) -> None:
    free = threading.Event()
    ear, client = Ear("ear", lambda: free.wait(20)), Client()
    spawned(context, ear, client)
    with pytest.raises(NoActor, match="no such mailbox"):
        client.ask(ear.pid, "nothing").get()
    with pytest.raises(RequestTimeout, match=r"within 0\.05 s"):
        client.ask(ear.pid, "hear", timeout=0.05).get()
    free.set()


def test_an_answer_is_not_waited_for_on_the_loop(context: Context) -> None:
    class Wrong(AsyncEcho):
        @install("go")
        async def go(self, from_pid: PID, body: bytes) -> Any:
            return self.ask(self.pid, "echo").get()

    wrong, client = Wrong("wrong"), Client()
    spawned(context, wrong, client)
    with pytest.raises(RemoteError, match="write `await` here"):
        client.ask(wrong.pid, "go").get()


# -- calls and timers


def test_a_method_is_called_on_the_actors_turn_whatever_its_instance_calls_so(context: Context) -> None:
    ear = Ear()
    context.spawn(ear)
    ear.__dict__["note"] = threading.Event()  # the class has the handler
    context.dispatch(ear.pid, "note", 1, 2)
    eventually(lambda: ear.heard == [(1, 2)])
    with pytest.raises(InvalidMethod):
        context.dispatch(ear.pid, "nothing")
    with pytest.raises(InvalidProcess):
        context.dispatch(PID("127.0.0.1", 1, "x"), "note")


def test_a_delay_fires_from_any_thread_in_time_and_not_when_it_was_cancelled(context: Context) -> None:
    ear = Ear()
    context.spawn(ear)
    began = time.monotonic()
    context.delay(30, ear.pid, "note", "never").cancel()
    context.delay(0.05, ear.pid, "note", "soon")
    eventually(lambda: ear.heard == [("soon",)])
    assert 0.05 <= time.monotonic() - began < 2


def test_what_is_done_every_so_often_ends_with_the_actor(context: Context) -> None:
    ear = Ear()
    context.spawn(ear)
    timer = ear.every(0.01, "note", "tick")
    eventually(lambda: len(ear.heard) >= 3)
    ear.terminate()
    eventually(lambda: context.pids == [])
    assert timer.is_over


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_a_delay_of_no_seconds_is_refused(context: Context, seconds: float) -> None:
    ear = Ear()
    context.spawn(ear)
    with pytest.raises(ValueError, match="no number of seconds"):
        ear.delay(seconds, "note")


# -- links


def test_who_is_linked_is_told_once_and_why_and_who_unlinked_is_not(context: Context) -> None:
    one, two, target = Ear("one"), Ear("two"), Client("target")
    spawned(context, one, two, target)
    one.link(target.pid)
    one.link(target.pid)
    two.link(target.pid)
    two.unlink(target.pid)
    pid = target.pid
    target.terminate()
    eventually(lambda: one.ends == [(pid, "terminated")])
    assert two.ends == []


def test_a_link_to_nobody_is_told_at_once(context: Context) -> None:
    ear = Ear()
    context.spawn(ear)
    nobody = PID(context.ip, context.port, "nobody")
    ear.link(nobody)
    eventually(lambda: ear.ends == [(nobody, "there is no such actor")])


def test_exited_is_called_with_what_it_takes_and_one_that_raises_harms_nobody(context: Context) -> None:
    told = []

    class Old(Client):
        def exited(self, pid: PID) -> None:  # type: ignore[override]
            told.append(pid.id)
            raise KeyError("mine")

    old, ear, target = Old("old"), Ear(), Client("target")
    spawned(context, old, ear, target)
    old.link(target.pid)
    ear.link(target.pid)
    target.terminate()
    eventually(lambda: ear.ends and told == ["target"])
    context.send(old.pid, ear.pid, "hear", b"alive")
    eventually(lambda: ear.heard == [b"alive"])


def test_exited_goes_ahead_of_what_waits_and_never_runs_in_another_actors_turn(context: Context) -> None:
    begun, free = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        free.wait(20)

    class Ordered(Ear):
        def exited(self, pid: PID, reason: str) -> None:
            self.heard.append("exited")

    ear, client, target = Ordered("ear", block), Client(), Client("target")
    spawned(context, ear, client, target)
    ear.link(target.pid)
    client.send(ear.pid, "hear", b"1")
    assert begun.wait(10)
    client.send(ear.pid, "hear", b"2")
    target.terminate()
    eventually(lambda: [pid.id for pid in context.pids] == ["ear", "client"])
    assert ear.heard == []
    free.set()
    eventually(lambda: ear.heard == [b"1", "exited", b"2"])


def test_a_monitor_has_its_own_notice_and_can_be_cancelled(context: Context) -> None:
    ear, target = Ear(), Client("target")
    spawned(context, ear, target)
    told: list[tuple[PID, str]] = []
    ear.monitor(target.pid, lambda pid, reason: told.append((pid, reason)))
    ear.monitor(target.pid, lambda pid, reason: told.append((pid, "never"))).cancel()
    pid = target.pid
    context.terminate(target.pid, "enough")
    eventually(lambda: told == [(pid, "enough")])
    assert ear.ends == []


# -- ending


def test_who_ends_finalizes_last_and_what_waited_is_dead(context: Context) -> None:
    begun, free = threading.Event(), threading.Event()

    class Last(Ear):
        def finalize(self) -> None:
            self.heard.append("finalized")

    def block() -> None:
        begun.set()
        free.wait(20)

    last, client = Last("last", block), Client()
    spawned(context, last, client)
    for body in (b"1", b"2"):
        client.send(last.pid, "hear", body)
    assert begun.wait(10)
    last.terminate()
    last.terminate()
    eventually(lambda: (found := context.find("last")) is not None and found.life is Life.STOPPING)
    free.set()
    eventually(lambda: context.dead_count == 1)
    assert last.heard == [b"1", "finalized"]
    assert [pid.id for pid in context.pids] == ["client"]


def test_stop_from_another_thread_takes_less_than_a_second_and_frees_the_port() -> None:
    context = Context(ip="127.0.0.1", port=0)
    context.spawn(Ear())
    began = time.monotonic()
    context.stop()
    assert time.monotonic() - began < 1
    assert not context.is_alive()
    with Context(ip="127.0.0.1", port=context.port):
        pass
    context.stop()
    with pytest.raises(ActorError, match="was stopped"):
        context.start()


def test_stop_is_bounded_where_an_actor_blocks_and_who_waits_for_an_answer_gets_none() -> None:
    free, begun = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        free.wait(20)

    context = Context(ip="127.0.0.1", port=0)
    ear, client = Ear("ear", block), Client()
    spawned(context, ear, client)
    answer = client.ask(ear.pid, "hear")
    assert begun.wait(10)
    began = time.monotonic()
    context.stop(within=0.2)
    assert time.monotonic() - began < 2
    with pytest.raises(RequestLost):
        answer.get()
    free.set()


def test_an_actor_can_stop_its_own_context() -> None:
    class Tired(Client):
        @install("stop")
        def stop(self, from_pid: PID, body: bytes) -> None:
            self.context.stop()  # type: ignore[attr-defined]

    context = Context(ip="127.0.0.1", port=0)
    tired = Tired()
    context.spawn(tired)
    tired.send(tired.pid, "stop")
    context.join(10)
    assert not context.is_alive()


def test_a_context_is_stopped_where_the_body_of_with_raises() -> None:
    with pytest.raises(KeyError), ephemeral_context() as context:
        raise KeyError
    assert not context.is_alive()


def test_a_context_that_was_never_started_frees_its_port() -> None:
    context = Context(ip="127.0.0.1", port=0)
    context.stop()
    Context(ip="127.0.0.1", port=context.port).stop()


def test_where_a_port_is_taken_that_is_said(context: Context) -> None:
    with pytest.raises(Context.SocketError, match=f"cannot listen at 127.0.0.1:{context.port}"):
        Context(ip="127.0.0.1", port=context.port)
