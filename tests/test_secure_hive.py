"""A secured hive, whole: it does all that a hive does, and who stole the password of a node has that node, no more."""

from __future__ import annotations

import os
import re
import signal
import stat
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import hiredis
import psutil
import pytest

from hivemind.bus.endpoint import Endpoint
from hivemind.errors import ConfigurationError, SupervisorError
from hivemind.supervisor import writing
from hivemind.supervisor.lifecycle import reload
from hivemind.supervisor.render import render
from hivemind.supervisor.secure import check_kind
from hivemind.topics import Names

from .hive_kit import Hive, hive_in, well
from .servers import Connection, RedisServer
from .waiting import eventually

pytestmark = pytest.mark.timeout(180)

NAMES = Names("gotham")
SHOP = """
from hivemind import Node, NoResponders, service

class Shop(Node):
    @service("sales", every=0.2)
    def sell(self, service):
        service.send("sold")

    @service("orders", every=0.2, durable=True)
    def order(self, service):
        service.send({"customer": 1})

    @service("notes", every=0.3, keep="10m")
    def note(self, service):
        service.send("note")

    @service("answers", every=0.3)
    async def ask(self, service):
        try:
            service.send(await self.request("price", 3, timeout=2))
        except NoResponders:
            pass  # the till begins, or Redis has just lost its list
"""
TILL = """
from hivemind import Node, responder, subscription

class Till(Node):
    @subscription("sales*")
    def sale(self, payload):
        self.log_info(f"live {payload}")

    @subscription("answers")
    def answer(self, payload):
        self.log_info(f"answered {payload}")

    @subscription("notes", since="all")
    def note(self, payload):
        self.log_info(f"kept {payload}")

    @subscription("orders", durable=True)
    def order(self, payload):
        self.log_info("durable")

    @subscription("order*", durable=True, group="ordered", order_by="customer", dedupe="10m")
    def in_order(self, payload):
        self.log_info("in order")

    @responder("price")
    def price(self, payload: int) -> int:
        return payload * 2
"""
FLOWS = ("live sold", "answered 6", "kept note", "durable", "in order")


@pytest.fixture
def shop(tmp_path: Path, server_program: Path) -> Iterator[Hive]:
    """A hive with a shop and a till, on a server of its own; nothing of it runs, or is secured, yet."""
    with hive_in(tmp_path / "gotham", more='NODES = {"shop": {"asks": ["price"]}}') as hive:
        hive.environ["HIVEMIND_REDIS_SERVER"] = str(server_program)
        hive.node("shop", SHOP)
        hive.node("till", TILL)
        yield hive


def secured(hive: Hive, *more: str) -> str:
    done = hive.run("hived", "secure", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def login(hive: Hive, who: str) -> tuple[str, str]:
    user, _, password = (hive.folder / "var/secure" / who).read_text().strip().partition(":")
    return user, password


def nobody(hive: Hive) -> Connection:
    return Connection(hive.engine.settings.runtime / "redis.sock")


def connected(hive: Hive, who: str) -> Connection:
    connection = nobody(hive)
    assert connection.ask("AUTH", *login(hive, who)) == "OK"
    return connection


def flows(hive: Hive) -> None:
    """Return when, from now on, messages of every kind have come."""
    begin = len(hive.log("till"))
    eventually(lambda: [each for each in FLOWS if f"  {each}" not in hive.log("till")[begin:]] == [], within=30)


def refusals(hive: Hive) -> list[str]:
    """Who was refused what since one looked before; but what each node tries once, and leaves to hived."""
    with connected(hive, "hived") as hived:
        entries = [dict(zip(one[::2], one[1::2], strict=True)) for one in hived.ask("ACL", "LOG", 100)]
        hived.ask("ACL", "LOG", "RESET")
    left = ("function|load", NAMES.layout(), NAMES.caretaker())
    return [f"{one['username']} {one['object']}" for one in entries if one["object"] not in left]


@pytest.mark.every_server
def test_a_secured_hive_does_all_that_a_hive_does(shop: Hive) -> None:
    secured(shop)
    shop.start()
    flows(shop)
    eventually(lambda: well(shop), within=20)
    assert refusals(shop) == []

    os.kill(shop.program("redis").pid or 0, signal.SIGKILL)  # it comes back with its users, and its data
    flows(shop)
    eventually(lambda: well(shop), within=20)
    with connected(shop, "hived") as hived:
        assert hived.ask("XLEN", NAMES.stream("orders")) > 5
        hived.ask("FLUSHALL")
    flows(shop)
    eventually(lambda: well(shop), within=20)
    assert refusals(shop) == []

    for words in (["status"], ["nodes"], ["topics"], ["lag"], ["doctor"], ["why", "till"], ["dead", "list"]):
        done = shop.run("hm", *words)
        assert done.returncode == 0, f"hm {words}: {done.stdout} {done.stderr}"
    assert shop.run("hm", "request", "price", "4").stdout.strip() == "8"
    assert "sold" in shop.run("hm", "tail", "sal*", "--count", "2").stdout
    assert shop.run("hm", "pub", "sales", '"by hand"').returncode == 0
    eventually(lambda: "live by hand" in shop.log("till"))
    assert shop.run("hm", "roll", "till").returncode == 0
    assert shop.run("hm", "redis", "backup", "whole.backup").returncode == 0
    assert refusals(shop) == []
    assert shop.run("hived", "stop").returncode == 0
    shop.start()
    flows(shop)
    with connected(shop, "hived") as hived:
        hived.ask("FUNCTION", "FLUSH")  # nobody but hived may load them again
    flows(shop)


@pytest.mark.every_server
def test_who_stole_the_password_of_a_node_has_that_node_and_no_more(shop: Hive) -> None:
    secured(shop)
    shop.start()
    flows(shop)
    inbox = NAMES.replies("client-0a.0.ff")
    forbidden: dict[str, list[tuple[str | int, ...]]] = {
        "node.till": [
            *(("PUBLISH", NAMES.live(topic), "{}") for topic in ("sales", "orders", "answers", "elsewhere")),
            *(("PUBLISH", NAMES.control("hived"), "{}"), ("PUBLISH", NAMES.beat("shop.0"), "{}")),
            *(("XADD", NAMES.stream("orders"), "*", "b", "x"), ("DEL", NAMES.stream("orders"))),
            *(("HSET", NAMES.node("shop.0"), "incarnation", 9), ("DEL", NAMES.node("shop.0")), ("SUBSCRIBE", inbox)),
            *(("SET", NAMES.layout(), 9), ("HSET", NAMES.kept(), "orders", "x"), ("SUBSCRIBE", NAMES.control("hived"))),
        ],
        "node.shop": [
            *(("PUBLISH", NAMES.live("other"), "{}"), ("PUBLISH", inbox, "{}"), ("PSUBSCRIBE", NAMES.live("*"))),
            *(("XREADGROUP", "GROUP", "till", "x", "STREAMS", NAMES.stream("orders"), ">"), ("KEYS", "*")),
            *(("XACK", NAMES.stream("orders"), "till", "0-1"), ("XADD", NAMES.letters("orders"), "*", "b", "x")),
            *(("HSET", NAMES.readings(), "till orders", "x"), ("ACL", "SETUSER", "me"), ("EVAL", "return 1", 0)),
        ],
    }
    for who, commands in forbidden.items():
        for command in commands:
            with connected(shop, who) as thief, pytest.raises(hiredis.ReplyError, match=r"NOPERM"):
                thief.ask(*command)
    with nobody(shop) as thief, pytest.raises(hiredis.ReplyError, match=r"NOAUTH"):
        thief.ask("GET", NAMES.layout())
    flows(shop)


@pytest.mark.every_server
def test_a_hive_that_runs_can_be_secured_and_get_new_passwords_and_be_opened_again(shop: Hive) -> None:
    shop.start()
    flows(shop)
    pids = shop.pids()
    assert "made: hived, hm, node.shop, node.till, root" in secured(shop)
    flows(shop)
    eventually(lambda: well(shop), within=20)
    assert refusals(shop) == []
    before = {who: login(shop, who) for who in ("hived", "hm", "root", "node.shop", "node.till")}
    assert "nothing had to be changed" in secured(shop)
    assert before == {who: login(shop, who) for who in before}

    assert "changed: hived, hm, node.shop, node.till, root" in secured(shop, "--rotate")
    for who, (user, password) in before.items():
        assert login(shop, who)[1] != password
        with nobody(shop) as thief, pytest.raises(hiredis.ReplyError, match=r"WRONGPASS"):
            thief.ask("AUTH", user, password)
    flows(shop)
    eventually(lambda: well(shop), within=20)

    assert "removed: hived, hm, node.shop, node.till, root" in secured(shop, "--undo")
    flows(shop)
    eventually(lambda: well(shop), within=20)
    assert not (shop.folder / "var/secure").exists()
    assert shop.pids() == pids  # nobody was restarted for any of this


def test_a_reload_makes_the_user_of_a_new_node_and_takes_that_of_one_that_went(shop: Hive) -> None:
    secured(shop)
    shop.start()
    flows(shop)
    shop.node("late", TILL.replace("class Till", "class Late").replace('"price"', '"cost"').replace("ordered", "l"))
    assert shop.run("hived", "reload").returncode == 0
    eventually(lambda: "live sold" in shop.log("late"), within=20)
    with connected(shop, "node.late") as late, pytest.raises(hiredis.ReplyError, match=r"NOPERM"):
        late.ask("PUBLISH", NAMES.live("sales"), "{}")
    shop.configure('NODES = {"shop": {"asks": ["price"]}, "late": {"sends": ["sal*"]}}')
    done = shop.run("hived", "reload")  # which restarts nobody: what it may do follows all the same
    assert done.stdout == "what they may do in Redis was changed: node.late\n", done.stdout
    with connected(shop, "node.late") as late:
        late.ask("PUBLISH", NAMES.live("sales"), "{}")
    user, password = login(shop, "node.late")
    shop.configure('NODES = {"shop": {"asks": ["price"]}}')
    shop.write("nodes/__init__.py", "from .shop import shop\nfrom .till import till\n")
    assert shop.run("hived", "reload").returncode == 0
    assert not (shop.folder / "var/secure/node.late").exists()
    with nobody(shop) as thief, pytest.raises(hiredis.ReplyError, match=r"WRONGPASS"):
        thief.ask("AUTH", user, password)
    flows(shop)


def test_a_reload_that_fails_leaves_each_user_what_it_was_allowed(shop: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    secured(shop)
    shop.start()
    flows(shop)

    def allowed() -> dict[str, list[str]]:
        with connected(shop, "hived") as hived:
            return {each.split(" ", 2)[1]: sorted(each.split()) for each in hived.ask("ACL", "LIST")}

    before = allowed()
    shop.node("shop", SHOP.replace('service("notes"', 'service("memos"'))
    with monkeypatch.context() as patched:
        patched.setattr(writing, "render", lambda *what: render(*what) + "[program:x]\nstartsecs=soon\n")
        for _ in range(2):
            with pytest.raises(SupervisorError, match=r"the hive is as it was"):
                reload(shop.engine)
            assert allowed() == before
    flows(shop)
    assert shop.run("hived", "reload").returncode == 0
    assert allowed() != before


def test_nothing_shows_a_password(shop: Hive) -> None:
    said = secured(shop)
    said += shop.start().stdout
    flows(shop)
    said += secured(shop, "--rotate") + secured(shop, "--print")
    for words in (
        ["config"],
        ["status", "--json"],
        ["nodes", "--json"],
        ["doctor"],
        ["why", "till"],
        ["redis", "status"],
    ):
        done = shop.run("hm", *words)
        said += done.stdout + done.stderr
    said += shop.run("hived", "status", "--json").stdout
    page = shop.status().page
    for path in ("/", "/nodes", "/metrics"):
        try:
            said += urllib.request.urlopen(f"{page}{path}", timeout=5).read().decode()
        except urllib.error.HTTPError as error:
            said += error.read().decode()
    processes = shop.processes() + shop.servers()
    assert processes
    for process in processes:
        with_env = {**process.environ()} if process.status() != psutil.STATUS_ZOMBIE else {}
        said += " ".join(process.cmdline()) + repr(with_env)
    secret = shop.folder / "var/secure"
    for file in shop.folder.rglob("*"):
        if file.is_file() and secret not in file.parents:
            said += file.read_bytes().decode(errors="replace")
    passwords = {file.name: login(shop, file.name)[1] for file in secret.iterdir()}
    assert len(passwords) == 5
    assert [who for who, password in passwords.items() if password in said] == []
    assert {stat.S_IMODE(file.stat().st_mode) for file in secret.iterdir()} == {0o600}
    assert stat.S_IMODE(secret.stat().st_mode) == 0o700
    assert stat.S_IMODE((shop.folder / "var/redis/users.acl").stat().st_mode) == 0o600
    assert stat.S_IMODE((shop.engine.settings.runtime / "redis.sock").stat().st_mode) == 0o700


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("what", [("kill", "redis"), ("fill",), ("cut", "redis")])
def test_drills_find_in_a_secured_hive_that_promises_are_kept(shop: Hive, what: tuple[str, ...]) -> None:
    secured(shop)
    shop.start()
    flows(shop)
    eventually(lambda: well(shop), within=20)
    done = shop.run("hm", "drill", *what, "--yes", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kept" in done.stdout
    flows(shop)


def test_a_node_that_cannot_be_loaded_keeps_the_user_that_it_had(shop: Hive) -> None:
    shop.node("fragile")
    secured(shop)
    before = login(shop, "node.fragile")
    shop.write("nodes/fragile/fragile.py", "import nowhere")
    shop.node("newborn")
    done = shop.run("hived", "secure")
    assert done.returncode == 1
    assert "node.fragile: a node of it cannot be loaded" in done.stderr
    assert (shop.folder / "var/secure/node.newborn").exists()
    assert login(shop, "node.fragile") == before
    shop.run("hived", "start")  # it writes the users anew, from which Redis begins
    eventually(lambda: shop.program("redis").pid is not None, within=20)
    os.kill(shop.program("redis").pid or 0, signal.SIGKILL)
    flows(shop)
    with connected(shop, "node.fragile") as fragile:
        assert fragile.ask("PING") == "PONG"


def test_where_nodes_resolve_patterns_a_secured_hive_works_too(shop: Hive) -> None:
    shop.configure('PATTERNS = "resolved"\nNODES = {"shop": {"asks": ["price"]}}')
    secured(shop)
    shop.start()
    flows(shop)
    eventually(lambda: well(shop), within=20)
    assert refusals(shop) == []
    with connected(shop, "node.till") as thief, pytest.raises(hiredis.ReplyError, match=r"NOPERM"):
        thief.ask("PUBLISH", NAMES.live("sales"), "{}")


def tells(hive: Hive, node: str, text: str) -> bool:
    return text in hive.log(node)


LOOSE = """
from hivemind import HivemindError, Node, service

class {name}(Node):
    @service("declared.{name}", every=0.2)
    def tick(self, service):
        self.send("alarms.fire", "undeclared")
        try:
            self.log_info("told " + str(self.request("price", 21, timeout=5.0)))
        except HivemindError as error:
            self.log_info(type(error).__name__ + ": " + str(error))
"""


def test_a_node_that_sends_and_asks_what_it_did_not_declare_is_told(shop: Hive) -> None:
    shop.node("loose", LOOSE.format(name="Loose"))
    shop.node("nosy", LOOSE.format(name="Nosy"))  # which asks for something: it has an inbox
    shop.configure('NODES = {"shop": {"asks": ["price"]}, "nosy": {"asks": ["other"]}}')
    secured(shop)
    shop.start()
    eventually(lambda: "Redis refuses messages on topic 'alarms.fire'" in shop.log("loose"), within=20)
    eventually(lambda: "of loose.0 never left it" in shop.run("hm", "status").stdout, within=10)
    for name in ("loose", "nosy"):
        todo = f'write "{name}": {{"asks": ["price"]}} into NODES in config/hive.py, then `hived reload`'
        eventually(partial(tells, shop, name, todo), within=10)
        assert "RequestTimeout" not in shop.log(name)
    said = shop.run("hived", "secure", "--refused").stdout
    assert re.search(r"^node\.loose +channel +hm:gotham:t:alarms\.fire +\d+ ", said, re.MULTILINE), said
    shop.configure('NODES = {"shop": {"asks": ["price"]}, "loose": {"sends": ["alarms.*"], "asks": ["price"]}}')
    assert shop.run("hived", "reload").returncode == 0
    assert "undeclared" in shop.run("hm", "tail", "alarms.*", "--count", "1", timeout=20).stdout
    eventually(lambda: "told 42" in shop.log("loose"), within=20)


@pytest.mark.long
def test_who_runs_while_the_hive_is_secured_and_may_not_ask_is_told_what_to_write(shop: Hive) -> None:
    shop.configure()
    shop.node("loose", LOOSE.format(name="Loose"))
    shop.start()
    eventually(lambda: "told 42" in shop.log("loose"), within=20)
    secured(shop)
    begin = len(shop.log("loose"))
    todo = 'write "loose": {"asks": ["price"]} into NODES in config/hive.py, then `hived reload`'
    eventually(partial(tells, shop, "loose", todo), within=20)
    assert "RequestTimeout" not in shop.log("loose")[begin:]


def test_on_a_redis_elsewhere_whoever_may_make_users_is_asked_for_once(
    shop: Hive, own_server: RedisServer, tmp_path: Path
) -> None:
    acl = tmp_path / "users.acl"
    acl.write_text("user chief on >top allkeys allchannels +@all\nuser default off allkeys allchannels +@all\n")
    own_server.lines = (f"aclfile {acl}",)
    own_server.restart(keep_data=False)
    shop.configure(f'REDIS_URL = "{own_server.url}"\nNODES = {{"shop": {{"asks": ["price"]}}}}')
    done = shop.run("hived", "secure")
    assert done.returncode == 1
    assert "--admin" in done.stderr
    url = tmp_path / "chief"
    url.write_text(own_server.url.replace("unix://", "unix://chief:top@") + "\n")
    assert "made: hived" in secured(shop, "--admin", str(url))
    assert "nothing had to be changed" in secured(shop)  # hived may by now
    shop.start()
    flows(shop)
    with Connection(own_server.socket) as thief:
        thief.ask("AUTH", *login(shop, "node.till"))
        with pytest.raises(hiredis.ReplyError, match=r"NOPERM"):
            thief.ask("PUBLISH", NAMES.live("sales"), "{}")
    own_server.restart(keep_data=True, kill=True)  # its aclfile has the users
    flows(shop)


def may_log_in(server: RedisServer, user: str, password: str) -> bool:
    with Connection(server.socket) as door:
        try:
            return bool(door.ask("AUTH", user, password) == "OK")
        except hiredis.ReplyError:
            return False


@pytest.mark.parametrize("default", ["on nopass", "off"])
def test_who_is_taken_away_on_a_redis_elsewhere_does_not_return_when_it_starts_again(
    own_server: RedisServer, tmp_path: Path, default: str
) -> None:
    acl, url = tmp_path / "users.acl", tmp_path / "chief"
    acl.write_text(f"user chief on >top allkeys allchannels +@all\nuser default {default} ~* &* +@all\n")
    url.write_text(own_server.url.replace("unix://", "unix://chief:top@") + "\n")
    own_server.lines = (f"aclfile {acl}",)
    own_server.restart(keep_data=False)
    with hive_in(tmp_path / "gotham", more=f'REDIS_URL = "{own_server.url}"') as hive:
        secured(hive, "--admin", str(url))
        passwords = [login(hive, who) for who in ("hived", "hm", "root")]
        assert "removed: hived, hm, root" in secured(hive, "--undo")
        own_server.restart(keep_data=True, kill=True)
        assert [user for user, password in passwords if may_log_in(own_server, user, password)] == []
        with Connection(own_server.socket) as chief:
            chief.ask("AUTH", "chief", "top")
            left = ["hm.gotham.hived"] if default == "off" else []  # it saved, and could not save that it is gone
            assert [each for each in chief.ask("ACL", "USERS") if each.startswith("hm.")] == left
        assert "was not secured" in secured(hive, "--undo")


def test_who_cannot_be_taken_away_because_redis_is_gone_is_so_the_next_time(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with hive_in(tmp_path / "gotham", more=f'REDIS_URL = "{own_server.url}"') as hive:
        secured(hive)
        own_server.stop()
        assert hive.run("hived", "secure", "--undo").returncode != 0
        assert (hive.folder / "var/secure/hived").exists()
        own_server.start()
        assert "removed: hived, hm, root" in secured(hive, "--undo")
        assert own_server.command("ACL", "USERS") == ["default"]


def test_each_host_has_passwords_of_its_own_for_the_same_users(own_server: RedisServer, tmp_path: Path) -> None:
    settings = f'REDIS_URL = "{own_server.url}"\nHOSTS = {{"alfa": [], "bravo": []}}'
    with hive_in(tmp_path / "alfa", more=settings) as alfa, hive_in(tmp_path / "bravo", more=settings) as bravo:
        for host in (alfa, bravo):
            host.node("till", TILL)
            secured(host)
        old, others = login(alfa, "node.till"), login(bravo, "node.till")
        assert old != others
        assert may_log_in(own_server, *old)
        assert may_log_in(own_server, *others)
        secured(alfa, "--rotate")
        assert not may_log_in(own_server, *old)
        assert may_log_in(own_server, *login(alfa, "node.till"))
        assert may_log_in(own_server, *others)


def test_a_default_user_without_rights_is_warned_of_for_its_data_would_be_lost(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with hive_in(tmp_path / "gotham", more=f'REDIS_URL = "{own_server.url}"') as hive:
        assert "still lets in who says no name" in hive.run("hived", "secure").stderr
        own_server.command("ACL", "SETUSER", "default", "off", "-flushall")
        said = hive.run("hived", "secure")
        assert "it can lose data when it starts" in said.stderr
        assert "still lets in" not in said.stderr


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:secret@127.0.0.1:6379", "take it out there"),
        ("redis+cluster://127.0.0.1:7000", "aclfile of each"),
        ("redis+sentinel://127.0.0.1:26379/gotham", "aclfile of each"),
    ],
)
def test_what_cannot_be_secured_from_here_says_what_to_do(gotham: Hive, url: str, why: str) -> None:
    gotham.configure(f'REDIS_URL = "{url}"')
    with pytest.raises(ConfigurationError, match=why) as caught:
        check_kind(gotham.engine)
    assert "secret" not in str(caught.value)
    assert not (gotham.folder / "var/secure").exists()


async def test_who_has_no_user_in_a_secured_hive_is_told_how_to_get_one(gotham: Hive) -> None:
    folder = gotham.folder / "var"
    (folder / "secure").mkdir(parents=True)
    from hivemind.errors import RedisDenied

    with pytest.raises(RedisDenied, match=r"no user node.batman .* `hived secure`"):
        await Endpoint.parse("redis://127.0.0.1:1", folder, "node.batman").open("test")
