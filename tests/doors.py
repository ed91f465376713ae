"""Every place where something comes in that anybody may have written: how it is read, and which errors it may raise.

A door is given what was right and has been spoilt. It raises what it ``allows``, or returns what its callers may use
without another look: so it uses that, too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

from hivemind.bus.assurance import proof_of
from hivemind.bus.cluster import SlotMap, is_halted, read_answers, redirection
from hivemind.bus.endpoint import Endpoint
from hivemind.bus.once import mark_of
from hivemind.bus.primary import moved_to
from hivemind.bus.receiving import LiveSubscription
from hivemind.bus.requests_wire import pairs, read, read_request, remote_error
from hivemind.bus.streams import body_of, is_for, reader_of
from hivemind.cli.playing import Played, _recorded
from hivemind.cli.sending import parsed
from hivemind.data.entries import idle_groups, reading_from, retired_groups, topic_from
from hivemind.data.heirs import life_of
from hivemind.data.letters import letter_from
from hivemind.data.records import Instance, about_from, json_object, stats_from
from hivemind.errors import (
    ConfigurationError,
    HivemindError,
    PayloadError,
    RedisDenied,
    RedisUnavailable,
)
from hivemind.identity import PidFile, this_boot
from hivemind.last_settings import last_settings
from hivemind.message import Malformed, Message, decode, is_envelope, payload_of
from hivemind.patterns import PatternTable
from hivemind.retention import Retention, check_tier
from hivemind.root.address import AddressFile
from hivemind.settings import load_settings
from hivemind.since import check_since, span
from hivemind.supervisor.control import decode_answer, decode_request
from hivemind.supervisor.desired import read_scale, read_selection, read_stopped
from hivemind.supervisor.events import fields
from hivemind.supervisor.lives import Exit, exit_in, load_lives
from hivemind.supervisor.paths import HivePaths
from hivemind.supervisor.plan import known_before, load
from hivemind.supervisor.releases import releases
from hivemind.supervisor.wishes import wishes
from hivemind.topics import check_pattern, matches

from .spoil import REPLIES, spoilt, spoilt_value

Files = HivePaths
ENVELOPE = (
    b'{"v":1,"n":"batman.0","e":1795321510007,"s":42,"t":1795321514.2,"d":{"a":[1,"x"]},"h":{"reply":"hm:g:i:x"}}'
)
BYTES = b'{"v":1,"n":"batman.0","e":1795321510007,"s":43,"t":1795321514.2,"b":"aGVsbG8="}'
REQUEST = b'{"at":1795321514.2,"budget":5000,"try":1,' + ENVELOPE[1:]
PROCESS = {"pid": 4242, "started": 12.5, "boot": this_boot(), "host": "cave"}
PROGRAM = {
    "name": "batman.0", "kind": "node", "node": "batman", "command": ["python", "-m", "x"], "priority": 10,
    "digest": "ab", "env": {"A": ""}, "restart": "always", "stop_timeout": 10.0, "tags": ["t"],
    "members": {"batman": "/h/nodes/batman.py"}, "pidfile": "", "code": "cd",
}  # fmt: skip
PLAN = {
    "programs": [PROGRAM], "stopped": [PROGRAM], "mending": {"/h/nodes/joker.py": 17}, "settings": "ab",
    "problems": [{"node": "joker", "reason": "SyntaxError", "file": "nodes/joker.py", "line": 3}],
}  # fmt: skip
LIFE = {"began": 10.0, "ended": 12.0, "status": 1, "signal": "", "words": "KeyError"}
LIVES = {
    "boot": this_boot(), "failures": 2, "next": 30.0, "lives": [LIFE, LIFE], "began": 14.0, "pid": 7,
    "is_adopted": False,
}  # fmt: skip
SLOTS = [[0, 8191, [b"10.0.0.1", 7000, b"id1"], [b"10.0.0.2", 7001, b"id2"]], [8192, 16383, [b"", 7002, b"id3"]]]
LETTER = {
    "topic": "orders", "entry": "1-0", "group": "shop", "instance": "shop.0", "incarnation": 17, "tries": 4,
    "died": 1795321514.2, "reason": "KeyError", "traceback": "", "message": ENVELOPE.decode(), "raw": "aGk=",
}  # fmt: skip
STATS = {
    "state": "running", "outbox": 1, "services": [{"name": "x", "sent": 3}], "members": [{"name": "a", "state": "b"}],
    "subscriptions": [{"pattern": "*", "received": 3}], "responders": [{"name": "price", "handled": 1}],
}  # fmt: skip
ABOUT = {"host": "cave", "pid": 1, "started": 1.0, "lease": 6.0, "process": PROCESS, "metadata": {"a": "b"}}
URLS = (
    b"redis://user:pw@h:6379/0?hive=gotham&protocol=2", b"unix:///tmp/x.sock?hive=g", b"redis+cluster://h1:1,h2:2",
    b"redis+sentinel://u:p@h1:26379,h2:26380/service?sentinel_password=x", b"rediss://h:1?ssl_ca_certs=/x",
)  # fmt: skip


@dataclass(frozen=True)
class Door:
    """How texts are read that once were one of the ``samples``; in ``files`` what is read lies in the hive's folder."""

    read: Callable[[Any, Files], object]
    samples: tuple[Any, ...]
    allows: tuple[type[Exception], ...] = ()

    def try_it(self, rng: Random, files: Files) -> None:
        """Let one that is spoilt come in. Raises what is a fault."""
        self.open(spoilt(rng, rng.choice(self.samples)), files)

    def open(self, what: Any, files: Files) -> None:
        """Let something come in. Raises what is a fault."""
        try:
            self.read(what, files)
        except self.allows:
            return


@dataclass(frozen=True)
class ReplyDoor(Door):
    """The same, for what a server answers."""

    def try_it(self, rng: Random, files: Files) -> None:
        reply = rng.choice(self.samples)
        for _ in range(rng.randint(0, 3)):
            reply = spoilt_value(rng, reply, REPLIES)
        self.open(reply, files)


def replies(use: Callable[[Any], object], *samples: Any, allows: tuple[type[Exception], ...] = ()) -> ReplyDoor:
    return ReplyDoor(lambda reply, _: use(reply), samples, allows)


def texts(read: Callable[[str], object], *samples: bytes, allows: tuple[type[Exception], ...] = ()) -> Door:
    """A door for what a person, or a file of settings, says."""
    return Door(lambda text, _: read(text.decode(errors="surrogateescape")), samples, allows)


def file(path: Callable[[Files], Path], read: Callable[[Files], object], sample: object) -> Door:
    """A door for a file of hived's own."""

    def write_and_read(text: bytes, files: Files) -> object:
        place = path(files)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
        return read(files)

    return Door(write_and_read, (json.dumps(sample).encode(),))


# -- how each is read, and then used


def _message(body: bytes, _: Files) -> None:
    value = decode(body)
    if is_envelope(value):
        payload_of(value)
        message = Message("t", value, None)
        assert message.id
        assert isinstance(message.headers, dict)
        assert message.sent_at + message.incarnation + message.sequence is not None
    assert mark_of(body) is None or is_envelope(value)


def _live(body: bytes, _: Files) -> None:
    subscription, channel = LiveSubscription("*", raw=True), b"hm:g:t:x"
    subscription.receive([[b"message", channel, one] for one in (ENVELOPE, body, BYTES, body)], {channel: "x"})
    assert subscription.ledger.received + subscription.ledger.stale + subscription.ledger.duplicate == 4


def _request(body: bytes, _: Files) -> None:
    said = read(body)
    reply, number, at, budget, tried = read_request(said, "hm:g:i:")
    assert reply.startswith("hm:g:i:")
    assert number + tried >= 0 or at + budget


def _reply(body: bytes, _: Files) -> None:
    said = read(body)
    if isinstance(said, dict):
        assert str(remote_error("price", said))
        assert all(number >= 0 for number, _ in pairs(said.get("q")))
        if {"d", "b"} & said.keys():
            payload_of(said)


def _answer(body: bytes, _: Files) -> None:
    if (answer := decode_answer(body)) is not None:
        assert sorted([(answer.hived.host, answer.hived.hive), ("cave", "/h")])
        assert all(" ".join((one.program, one.text)) for one in answer.results)


def _control(body: bytes, _: Files) -> None:
    if (found := decode_request(body)) is not None:
        assert 0 <= found[0].replicas <= 1000
        assert "".join((*found[0].targets, *found[0].options, *found[0].options.values(), found[1])) is not None


def _registry(body: bytes, _: Files) -> None:
    raw = json_object(body)
    found = Instance("batman.0", 17, 1.0, about_from(raw, "batman.0"), stats_from(raw))
    assert orjson.dumps(found.to_json())
    assert isinstance(found.state, str)


def _entry(raw: bytes, _: Files) -> None:
    if (topic := topic_from("orders", raw)) is not None:
        assert topic.retention.seconds or topic.retention.entries
        assert orjson.loads(topic.entry())
    if (reading := reading_from("shop orders.*", raw)) is not None:
        assert int((1e9 - (span(reading.since) or 0.0)) * 1000) is not None
        assert idle_groups("x", [reading]) == retired_groups("x", [reading], 0)


def _letter(raw: bytes, _: Files) -> None:
    letter = letter_from("orders", b"1-0", [b"l", raw])
    assert orjson.dumps(letter.to_json())
    assert isinstance(letter.body, bytes)
    letter.envelope()


def _recording(text: bytes, files: Files) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for line in text.split(b"\n"):
            yield line

    async def play() -> None:
        async for one in _recorded(lines(), Played(files.hive)):
            assert one.topic
            assert time.monotonic() + one.at is not None

    asyncio.run(play())


def _plan(files: Files) -> None:
    plan = load(files)
    for one in (*plan.programs, *plan.stopped):
        assert plan.program(one.name)
        assert one.number >= 0
        assert one.version + " ".join((*one.command, *one.tags, *one.sharing, *one.env, one.pidfile)) is not None
        assert one.stop_timeout + one.priority is not None
    assert all(str(problem) for problem in plan.problems)
    assert all(isinstance(path, str) and time is not None for path, time in plan.mending.items())


def _desired(files: Files) -> None:
    assert all(count >= 0 for count in read_scale(files).values())
    assert "".join((*read_stopped(files), *read_selection(files).only)) is not None


def _lives(files: Files) -> None:
    found = load_lives(files.program_lives("batman.0"), this_boot())
    assert found.text(100.0) is not None
    assert (found.ended(100.0, Exit(1), rng=lambda: 1.0).next or 100.0) <= 160.0


def _pid(files: Files) -> None:
    PidFile(files.program_pid("batman.0")).living()
    record = PidFile(files.program_pid("batman.0")).read()
    assert record is None or isinstance(record.digest, str)


def _settings(files: Files) -> None:
    settings = last_settings(files.hive)
    assert settings is None or settings.shown()


def _slots(reply: Any) -> None:
    slots, info, server = reply if isinstance(reply, list) and len(reply) == 3 else (reply, reply, reply)
    found = read_answers(("10.0.0.9", 7000), slots, info, server)
    assert isinstance(found, SlotMap)
    assert found.primary(77) is None or found.primaries
    assert is_halted(info) in (True, False)


def _moved(reply: Any) -> None:
    address = moved_to("service", reply)
    assert address is None or 0 <= address[1] < 100_000


def _stream(reply: Any) -> None:
    if isinstance(reply, list) and all(isinstance(one, bytes) for one in reply):
        assert isinstance(body_of(reply), bytes)
        assert is_for("shop", reply) in (True, False)
        for one in reply:
            reader = reader_of("shop", one)
            assert reader is None or reader.incarnation >= 0
            assert life_of(one) >= 0


def _pattern(text: str) -> None:
    pattern = check_pattern(text)
    table: PatternTable[int] = PatternTable()
    table.add(pattern, 1)
    for topic in ("bat-signal-main", "a" * 128, "x"):
        assert bool(table.of(topic)) == matches(pattern, topic)


def _url(text: str) -> None:
    endpoint = Endpoint.parse(text)
    assert endpoint.redacted is not None
    assert all(port < 65_536 for _, port in (endpoint.seeds if endpoint.is_cluster else ()))


def _words(text: str) -> None:
    for check in (check_since, check_tier, lambda value: Retention.of(True, value)):
        try:
            check(text)
        except ConfigurationError:
            continue
    assert (span(text) or 0.0) < 1e18


def _environment(text: str) -> None:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = dict.fromkeys(ENVIRONMENT, text)
    if isinstance(said, dict):
        load_settings(None, {str(name): str(value) for name, value in said.items()})


def _event(text: str) -> None:
    assert all(isinstance(value, str) for value in fields(text).values())
    assert isinstance(exit_in(text.encode(errors="replace"), "batman.0", 7), Exit)


ENVIRONMENT = {
    "HIVEMIND_HEARTBEAT": "2", "HIVEMIND_LEASE": "6", "HIVEMIND_NODES": '{"batman":{"replicas":2}}',
    "HIVEMIND_REDIS_URL": "redis://h", "HIVEMIND_STATIC_DIRS": "[]", "HIVEMIND_HIVE_NAME": "g",
}  # fmt: skip
INFO = b"redis_version:8.0.1\r\ncluster_current_epoch:6\r\ncluster_state:ok\r\ncluster_slots_pfail:0\r\n"
ANSWER = {
    "hived": {"host": "cave", "hive": "/h", "pid": 7}, "programs": ["batman.0"], "done": True, "waiting": [],
    "results": [{"program": "batman.0", "ok": True, "text": "started"}],
}  # fmt: skip
CONTROL = {"verb": "scale", "targets": ["batman"], "replicas": 3, "options": {"a": "b"}, "reply": "hived-ab"}
LINE = b'{"time":1795321514.2,"topic":"orders","envelope":' + ENVELOPE + b"}\n"
BIG = b'{"time":1,"topic":"orders","envelope":{"x":[],"v":1,"n":"a.0","e":1,"s":1,"d":123456789012345678901234567890}}'

DOORS: Mapping[str, Door] = {
    "a message": Door(_message, (ENVELOPE, BYTES), (Malformed,)),
    "a live message": Door(_live, (ENVELOPE, BYTES)),
    "a request": Door(_request, (REQUEST,), (Malformed,)),
    "a reply": Door(_reply, (b'{"v":1,"n":"a.0","e":1,"q":1,"k":"reply","b":"aGk="}', REQUEST), (Malformed,)),
    "a control request": Door(_control, (json.dumps(CONTROL).encode(),)),
    "an answer of hived": Door(_answer, (json.dumps(ANSWER).encode(),)),
    "the registry": Door(_registry, (json.dumps(STATS | ABOUT).encode(),)),
    "a kept topic, or a reading": Door(
        _entry, (b'{"at":17,"durable":true,"keep":"7d","seen":18}', b'{"since":"10m","at":17,"node":"shop","seen":1}')
    ),
    "a dead letter": Door(_letter, (json.dumps(LETTER).encode(),), (Malformed,)),
    "a recording": Door(_recording, (LINE + LINE, BIG), (HivemindError,)),
    "plan.json": file(lambda files: files.plan, _plan, PLAN),
    "enabled.json": file(
        lambda files: files.enabled, known_before, [{"name": "a", "module": "nodes.a", "file": "a.py", "line": 1}]
    ),
    "scale.json": file(lambda files: files.scale, _desired, {"batman": 3}),
    "stopped.json": file(lambda files: files.stopped, _desired, ["batman.0"]),
    "wishes.json": file(
        lambda files: files.wishes,
        lambda files: [time.localtime(at) for _, at in wishes(files.wishes).values()],
        {"batman": ["restarted", time.time()]},
    ),
    "selection.json": file(lambda files: files.selection, _desired, {"only": ["a"], "root": True, "nodes": True}),
    "settings.json": file(
        lambda files: files.settings,
        _settings,
        {"values": {"HIVE_NAME": "g", "LEASE": 6.0, "NODES": {"a": {"replicas": 2}}}, "sources": {"LEASE": "x"}},
    ),
    "a file of lives": file(lambda files: files.program_lives("batman.0"), _lives, LIVES),
    "a pid file": file(lambda files: files.program_pid("batman.0"), _pid, {**PROCESS, "digest": "ab"}),
    "the root's address": file(
        lambda files: files.root,
        lambda files: AddressFile(files.root).read(),
        {"url": "http://127.0.0.1:1", "pid": 1, "process": PROCESS},
    ),
    "release.json": file(
        lambda files: files.releases / "7-ab" / "release.json",
        lambda files: [time.localtime(one.made) for one in releases(files)],
        {"number": 7, "hash": "ab", "made": 1795321514.2},
    ),
    "slots of a Cluster": replies(_slots, [SLOTS, INFO, INFO], SLOTS, allows=(RedisDenied, RedisUnavailable)),
    "a redirection": texts(lambda text: redirection(text, ("h", 1)), b"MOVED 3999 127.0.0.1:6381"),
    "a word of a Sentinel": replies(_moved, [b"message", b"+switch-master", b"service 1.1.1.1 1 2.2.2.2 6379"]),
    "an entry of a stream": replies(_stream, [b"b", ENVELOPE, b"g", b"shop"], [b"shop.0.e17", b"17"]),
    "what a server says of itself": texts(lambda text: proof_of({"redis_version": text}), b"8.0.1"),
    "a pattern": texts(_pattern, b"bat-*[a-c]?x*", b"[!a]*", b"*" * 60, allows=(ConfigurationError,)),
    "a URL": texts(_url, *URLS, allows=(ConfigurationError,)),
    "how long, how many, since when": texts(_words, b"10m", b"1000", b"7d", b"all", b"disk"),
    "the environment": texts(_environment, json.dumps(ENVIRONMENT).encode(), allows=(HivemindError,)),
    "a payload on the command line": texts(
        lambda text: parsed(text, is_text=False), b'{"a":[1,2.5,null]}', b"text", allows=(PayloadError,)
    ),
    "an event of supervisord": texts(
        _event, b"processname:batman.0 groupname:x expected:1 pid:7", b"spawned: 'batman.0' with pid 7\nexited: x"
    ),
}
