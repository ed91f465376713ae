"""Names: what may be one, and that our globs are Redis's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from hivemind.bus.cluster import slot_of
from hivemind.errors import InvalidName
from hivemind.topics import (
    ClusterNames,
    Names,
    check_instance,
    check_name,
    check_pattern,
    check_python_name,
    check_topic,
    is_pattern,
    matches,
)

from .servers import Connection, RedisServer

PIECES = ["a", "b", "c", "-", ".", "/", "*", "?", "[ab]", "[!a]", "[^b]", "[a-c]", "[!a-c]", "[-b]", "[a-b-]", "[*?]"]
PATTERNS = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join),
    st.text("abc-.*?[]!^", min_size=1, max_size=10),
)
TOPICS = st.lists(st.text("abcd-._/", min_size=1, max_size=8), min_size=1, max_size=10)


class Subscriber:
    """Asks a real server which topics a pattern matches: PUBLISH answers how many it reached."""

    def __init__(self, server: RedisServer, names: Names) -> None:
        self.names = names
        self.hearing, self.saying = Connection(server.socket), Connection(server.socket)

    def matches(self, pattern: str, topics: list[str]) -> list[bool]:
        self.hearing.ask("PSUBSCRIBE", self.names.live(pattern))
        reached = [self.saying.ask("PUBLISH", self.names.live(topic), "") == 1 for topic in topics]
        for _ in filter(None, reached):
            self.hearing.read()
        self.hearing.ask("PUNSUBSCRIBE", self.names.live(pattern))
        return reached


@pytest.fixture
def subscriber(server: RedisServer, hive_name: str) -> Iterator[Subscriber]:
    found = Subscriber(server, Names(hive_name))
    yield found
    found.hearing.close()
    found.saying.close()


@pytest.mark.every_server
@given(PATTERNS, TOPICS)
@example("[a-]*", ["a", "-", "ab"])
@example("[--b]", ["-", ".", "a", "b", "c"])
@example("[!-b]x", ["-x", "ax"])
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_pattern_matches_here_what_it_matches_in_redis(
    subscriber: Subscriber, pattern: str, topics: list[str]
) -> None:
    try:
        check_pattern(pattern)
    except InvalidName:
        assume(False)
    assert [matches(pattern, topic) for topic in topics] == subscriber.matches(pattern, topics)


@pytest.mark.timeout(5)
def test_a_pattern_of_many_stars_takes_no_time() -> None:
    assert not matches("*a" * 60 + "b", "a" * 128)


@pytest.mark.parametrize("topic", ["a", "bat-signal-main", "host.cpu", "a/b_c.D-9", "x" * 128])
def test_a_topic_is_a_topic_and_a_pattern_that_matches_only_itself(topic: str) -> None:
    assert check_topic(topic) == check_pattern(topic) == topic
    assert not is_pattern(topic)
    assert matches(topic, topic)
    assert not matches(topic, topic + "x")


@pytest.mark.parametrize("topic", ["", "a b", "a\n", "ä", "a*", "a:b", "{a}", "x" * 129, None, 5, b"a"])
def test_what_cannot_be_a_topic_is_refused_with_the_reason(topic: str) -> None:
    with pytest.raises(InvalidName, match="cannot be the name of a topic: use 1 to 128"):
        check_topic(topic)


@pytest.mark.parametrize("pattern", ["*", "bat-*", "a?c", "[ab]*", "[!ab]", "[^ab]", "[a-z0-9]", "[-a]", "[a-c-]"])
def test_a_pattern_has_wildcards(pattern: str) -> None:
    assert check_pattern(pattern) == pattern
    assert is_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["", "a b", "[", "]", "[]", "[!]", "a]", "[a", "[[a]]", "[a!]", "[a-]", "[z-a]", "[a-.]", "\\*", "{a,b}", None],
)
def test_what_cannot_be_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidName, match="cannot be the name of a pattern"):
        check_pattern(pattern)


@pytest.mark.parametrize("name", ["a", "gotham", "Bat_Signal-2", "x" * 64])
def test_hives_and_nodes_have_plain_names(name: str) -> None:
    assert check_name(name) == name
    assert check_instance(f"{name}.0") == f"{name}.0"


@pytest.mark.parametrize("name", ["", "my hive", "../x", "2face", "-a", "_a", "a.b", "a:b", "ä", "x" * 65, None])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_name(name, "hive")
    with pytest.raises(InvalidName):
        check_instance(f"{name}")


@pytest.mark.parametrize(
    ("name", "why"), [("class", "keyword"), ("None", "keyword"), ("Class", "keyword"), ("a-b", "_")]
)
def test_a_name_that_becomes_a_module_must_be_one(name: str, why: str) -> None:
    with pytest.raises(InvalidName, match=why):
        check_python_name(name, "node")


def test_an_error_about_a_name_says_which_and_of_what() -> None:
    with pytest.raises(InvalidName) as caught:
        check_name("my hive", "hive")
    assert (caught.value.kind, caught.value.name) == ("hive", "my hive")
    assert isinstance(caught.value, ValueError)


def test_every_name_of_a_hive_in_redis_is_the_published_one() -> None:
    names = Names("gotham")
    assert names.live("bat-signal") == "hm:gotham:t:bat-signal"
    assert names.live("bat-[!ab]*") == "hm:gotham:t:bat-[^ab]*"
    assert names.topic(names.live("bat-signal")) == "bat-signal"
    assert names.beat("batman.0") == "hm:gotham:b:batman.0"
    assert names.control("node") == "hm:gotham:c:node"
    assert names.node("batman.0") == "hm:{gotham}:node:batman.0"
    assert names.nodes() == "hm:{gotham}:nodes"
    assert names.epoch("batman.0") == "hm:{gotham}:epoch:batman.0"
    assert names.whose("batman.0") == "hm:{gotham}:whose:batman.0"


def test_on_a_cluster_all_that_is_kept_is_in_the_slot_of_the_registry() -> None:
    names = ClusterNames("gotham")
    kinds = (names.stream, names.producers, names.retries, names.letters, names.order, names.memory)
    keys = [*(key("order") for key in kinds), names.responders("sum"), names.responders_since("sum")]
    assert {slot_of(key) for key in keys} == {slot_of(names.nodes())}
    assert len({*keys}) == len(keys)
    assert names.live("order") == Names("gotham").live("order")


@pytest.mark.parametrize("names", [Names("gotham"), ClusterNames("gotham")])
def test_what_begins_alike_is_of_one_kind(names: Names) -> None:
    assert names.stream("bat-signal").startswith(names.streams())
    assert names.responders("sum").startswith(names.requests())
    others = (names.producers("s"), names.node("s.0"), names.nodes(), names.kept(), names.responders("s"))
    assert not any(one.startswith(names.streams()) for one in others)
