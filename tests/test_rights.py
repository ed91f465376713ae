"""What the Redis user of a node may do, and what it may not: asked of real servers, in the name of each."""

from __future__ import annotations

from collections.abc import Iterator

import hiredis
import pytest

from hivemind.bus.functions import LIBRARY, library
from hivemind.supervisor.rights import Duties, askers_of, of_default, of_hived, of_node, of_operator
from hivemind.topics import Names

from .servers import Connection, RedisServer

pytestmark = pytest.mark.every_server

NAMES = Names("gotham")
SHOP = Duties("shop", sends=("sales",), keeps=("orders",), asks=("price",))
TILL = Duties("till", hears=("sales*", "news-[!x]*"), reads=("orders*",), answers=("price",))
THIEF = Duties("thief", hears=("*",))
ALL = (SHOP, TILL, THIEF)
Command = tuple[str | int, ...]
DENIED = ("NOPERM", "ACL failure", "The user executing the script can't")  # Redis 7.0 says the last, of a function


def users(server: RedisServer, *, resolved: bool = False) -> None:
    for one in ALL:
        askers = {name: askers_of(name, ALL) for name in one.answers}
        server.command("ACL", "SETUSER", one.name, ">pw", *of_node(one, NAMES, askers, resolved=resolved))
    server.command("ACL", "SETUSER", "hm", ">pw", *of_operator(NAMES))
    server.command("ACL", "SETUSER", "hived", ">pw", *of_hived())


@pytest.fixture
def guarded(own_server: RedisServer) -> RedisServer:
    own_server.command("FUNCTION", "LOAD", library())
    users(own_server)
    return own_server


def refused(server: RedisServer, user: str, *command: str | int) -> str:
    """Why Redis does not let a user do something; "" if it does, whatever else becomes of it."""
    with Connection(server.socket) as connection:
        assert connection.ask("AUTH", user, "pw") == "OK"
        try:
            connection.ask(*command)
        except hiredis.ReplyError as error:
            said = str(error)
            return said if any(sign in said for sign in DENIED) else ""
    return ""


def call(function: str, keys: list[str], *arguments: str | int) -> Command:
    return ("FCALL", f"{LIBRARY}_{function}", len(keys), *keys, *arguments)


def writes(key: str) -> Iterator[Command]:
    """Whatever could change a key, by a command or by a function."""
    yield from (("SET", key, "x"), ("DEL", key), ("UNLINK", key), ("EXPIRE", key, 1), ("PEXPIRE", key, 1))
    yield from (("APPEND", key, "x"), ("RENAME", key, "elsewhere"), ("RESTORE", key, 0, "x"), ("COPY", "x", key))
    yield from (("HSET", key, "x", "x"), ("HDEL", key, "x"), ("SADD", key, "x"), ("SREM", key, "x"))
    yield from (("ZADD", key, 1, "x"), ("ZREM", key, "x"), ("LPUSH", key, "x"), ("SETEX", key, 1, "x"))
    yield from (("XADD", key, "*", "b", "x"), ("XDEL", key, "0-1"), ("XTRIM", key, "MAXLEN", 0))
    yield from (("XGROUP", "CREATE", key, "g", "$", "MKSTREAM"), ("XGROUP", "DESTROY", key, "g"))
    yield from (("XACK", key, "g", "0-1"), ("XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">"))
    yield from (("SORT", "x", "STORE", key), ("BITOP", "NOT", key, "x"), ("SMOVE", key, "other", "x"))


FOREIGN = [
    *(NAMES.node("till.0"), NAMES.epoch("till.0"), NAMES.whose("till.0"), NAMES.node("shopping.0")),
    *(NAMES.stream("bills"), NAMES.producers("bills"), NAMES.letters("bills"), NAMES.retries("bills")),
    *(NAMES.order("orders"), NAMES.memory("orders"), NAMES.letters("orders"), NAMES.retries("orders")),
    *(NAMES.layout(), NAMES.readings(), NAMES.readers(), NAMES.caretaker(), NAMES.roll(), NAMES.move()),
    *(NAMES.topics(), NAMES.responders("sum"), NAMES.responders_since("sum")),
    *(Names("metropolis").node("shop.0"), Names("metropolis").stream("orders"), "somebody-elses"),
]


def test_a_stolen_password_writes_no_key_that_was_not_granted(guarded: RedisServer) -> None:
    let_through = [command for key in FOREIGN for command in writes(key) if not refused(guarded, SHOP.name, *command)]
    assert let_through == []


def test_a_stolen_password_reaches_no_such_key_through_a_function_either(guarded: RedisServer) -> None:
    names, before = NAMES, guarded.command("DBSIZE")
    guarded.command("HSET", names.node("till.0"), "incarnation", 5, "about", "{}", "stats", "{}")
    guarded.command("SADD", names.nodes(), "till.0")
    guarded.command("XADD", names.stream("bills"), "*", "b", "x")
    node, others = names.node("till.0"), [names.nodes(), names.resolvers(), names.resolved(), names.whose("till.0")]
    assert refused(guarded, "shop", *call("deregister", [node, *others], "till.0", 5))
    assert refused(guarded, "shop", *call("renew", [node, names.epoch("till.0"), names.whose("till.0")], 5, 1, "{}"))
    assert refused(guarded, "shop", *call("change", [node], "incarnation", "5", "9"))
    assert refused(guarded, "shop", *call("hold", [names.caretaker()], "me", 1000, "", 0))
    assert refused(guarded, "shop", *call("mark", [names.move()], "", "gone", 0))
    bills = [names.stream("bills"), names.producers("bills")]
    sent = ("PUBLISH", names.live("bills"), "shop.0", 1, 1, 0, "", 0, "", "", "{}")
    assert refused(guarded, "shop", *call("append", bills, *sent))
    assert refused(guarded, "shop", *call("trim", bills[:1], "0", "0", ""))
    letter = guarded.command("XADD", names.letters("bills"), "*", "b", "x")
    assert refused(guarded, "shop", *call("replay", [bills[0], names.letters("bills")], letter, "", "{}"))
    assert guarded.command("DBSIZE") == before + 4
    assert guarded.command("XLEN", names.stream("bills")) == 1


@pytest.mark.parametrize("user", ["shop", "till", "thief"])
def test_a_stolen_password_publishes_only_what_was_granted(guarded: RedisServer, user: str) -> None:
    granted = {
        "shop": {NAMES.live("sales"), NAMES.live("orders"), NAMES.request("price", "till.0.e1")},
        "till": {NAMES.replies("shop.0.aa"), NAMES.replies("client-1.0.aa"), NAMES.request("price", "till.0.e1")},
        "thief": set[str](),
    }[user]
    channels = [
        *(NAMES.live("sales"), NAMES.live("orders"), NAMES.live("bills"), NAMES.live("sales2")),
        *(NAMES.replies("shop.0.aa"), NAMES.replies("thief.0.aa"), NAMES.replies("client-1.0.aa")),
        *(NAMES.request("price", "till.0.e1"), NAMES.request("sum", "till.0.e1")),
        *(NAMES.control("hived"), NAMES.control("hived-1234"), "elsewhere", Names("metropolis").live("sales")),
        *(NAMES.beat(f"{one.name}.0") for one in ALL if one.name != user),
    ]
    allowed = {channel for channel in channels if not refused(guarded, user, "PUBLISH", channel, "{}")}
    assert allowed == granted | ({NAMES.replies("shop.0.aa")} if user == "shop" else set())
    assert refused(
        guarded, user, *call("ask", [NAMES.responders("sum")], "x", NAMES.request("sum", ""), "i", "", 1, "{}")
    )


def test_who_hears_a_pattern_may_not_send_what_matches_it(guarded: RedisServer) -> None:
    assert not refused(guarded, "till", "PSUBSCRIBE", NAMES.live("sales*"))
    assert refused(guarded, "till", "PUBLISH", NAMES.live("sales-2"), "{}")
    assert not refused(guarded, "till", "XREADGROUP", "GROUP", "till", "c", "STREAMS", NAMES.stream("orders"), ">")
    assert refused(guarded, "till", "XADD", NAMES.stream("orders"), "*", "b", "{}")
    assert refused(guarded, "till", "XTRIM", NAMES.stream("orders"), "MAXLEN", 0)


def test_a_pattern_is_granted_letter_by_letter(guarded: RedisServer) -> None:
    assert not refused(guarded, "till", "PSUBSCRIBE", NAMES.live("news-[!x]*"))
    assert not refused(guarded, "till", "SUBSCRIBE", NAMES.live("news-a"))
    assert refused(guarded, "till", "SUBSCRIBE", NAMES.live("news-x"))
    assert refused(guarded, "till", "PSUBSCRIBE", NAMES.live("*"))
    assert refused(guarded, "till", "PSUBSCRIBE", NAMES.live("sales-*"))  # though all of it matches what was granted


@pytest.mark.parametrize("user", ["shop", "till", "thief"])
def test_nobody_hears_the_inbox_of_another_or_what_hived_is_told(guarded: RedisServer, user: str) -> None:
    inboxes = [NAMES.replies(f"{one.name}.0.aa") for one in ALL if one.name != user]
    for channel in (*inboxes, NAMES.replies("client-1.0.aa"), NAMES.control("hived"), NAMES.control("hived-12")):
        assert refused(guarded, user, "SUBSCRIBE", channel), channel
    assert refused(guarded, user, "PSUBSCRIBE", NAMES.replies("*"))
    assert refused(guarded, user, "PSUBSCRIBE", "*")


@pytest.mark.parametrize(
    "command",
    [
        *(("EVAL", "return 1", 0), ("EVALSHA", "a" * 40, 0), ("SCRIPT", "LOAD", "return 1")),
        *(("FUNCTION", "LOAD", "REPLACE", "#!lua name=x"), ("FUNCTION", "FLUSH"), ("FUNCTION", "DUMP")),
        *(("ACL", "SETUSER", "thief", "allkeys"), ("ACL", "LIST"), ("ACL", "GETUSER", "hived"), ("ACL", "LOG")),
        *(("CONFIG", "GET", "requirepass"), ("CONFIG", "SET", "requirepass", ""), ("CONFIG", "REWRITE")),
        *(("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", 0), ("RANDOMKEY",), ("DBSIZE",), ("SWAPDB", 0, 1)),
        *(("MONITOR",), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "PAUSE", 1)),
        *(("PUBSUB", "CHANNELS"), ("SLOWLOG", "GET"), ("SHUTDOWN",), ("SAVE",)),
        *(("REPLICAOF", "NO", "ONE"), ("MIGRATE", "h", 1, "k", 0, 1), ("MODULE", "LIST"), ("SELECT", 1)),
    ],
)
def test_no_node_may_run_code_or_look_at_others_or_configure_the_server(guarded: RedisServer, command: Command) -> None:
    for user in ("shop", "till", "thief"):
        assert refused(guarded, user, *command), user


@pytest.mark.parametrize(
    "command",
    [
        *(("EVAL", "return 1", 0), ("FUNCTION", "FLUSH"), ("ACL", "SETUSER", "hm", "allkeys"), ("ACL", "LIST")),
        *(("FUNCTION", "LOAD", "REPLACE", library()), ("FUNCTION", "DELETE", LIBRARY), ("FUNCTION", "RESTORE", "x")),
        *(("CONFIG", "SET", "requirepass", ""), ("FLUSHALL",), ("SHUTDOWN",), ("MONITOR",)),
        *(("SET", "elsewhere", "x"), ("PUBLISH", Names("metropolis").live("sales"), "x")),
    ],
)
def test_who_types_commands_has_the_hive_and_not_the_server(guarded: RedisServer, command: Command) -> None:
    assert refused(guarded, "hm", *command)


def test_who_says_no_name_is_nobody_and_the_data_outlive_a_restart(own_server: RedisServer) -> None:
    users(own_server)
    acl = own_server.folder / "users.acl"
    own_server.command("FUNCTION", "LOAD", library())
    keys = (NAMES.kept(),)
    own_server.command(*call("change", list(keys)))
    own_server.command("HSET", NAMES.kept(), "a", "1", "b", "2")
    own_server.command(*call("change", list(keys), "a", "1", "3", "b", "2", ""))  # several writes: a transaction
    own_server.command("ACL", "SETUSER", "default", *of_default())
    with Connection(own_server.socket) as hived:
        hived.ask("AUTH", "hived", "pw")
        acl.write_text("\n".join(hived.ask("ACL", "LIST")) + "\n")
    own_server.lines = (f"aclfile {acl}",)
    own_server.restart(keep_data=True)
    for command in (("PING",), ("GET", NAMES.layout()), ("PUBLISH", NAMES.live("sales"), "x"), ("INFO",)):
        with pytest.raises(hiredis.ReplyError, match=r"NOAUTH"):
            own_server.command(*command)
    with Connection(own_server.socket) as hived:
        hived.ask("AUTH", "hived", "pw")
        assert hived.ask("HGETALL", NAMES.kept()) == ["a", "3"]
