"""Where Redis is: URLs, what is wrong with them, and that a password is shown to nobody."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind.bus.endpoint import Endpoint
from hivemind.bus.translation import reply_error, translated
from hivemind.errors import ConfigurationError, InvalidName, RedisDenied, RedisRefused, RedisUnavailable

pytestmark = pytest.mark.timeout(20)

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "hive"),
    [
        ("redis://localhost", "default"),
        ("redis://localhost:7000/2?hive=gotham", "gotham"),
        ("rediss://bob:pw@example.org:7000?ssl_cert_reqs=none&hive=gotham&ssl_ca_certs=/ca.pem", "gotham"),
        ("unix:///tmp/redis.sock", "default"),
        ("unix://:pw@/tmp/redis.sock?hive=gotham&db=1", "gotham"),
        ("redis+sentinel://h1,h2:7000/main", "default"),
        ("redis+sentinel://bob:pw@h1:1,h2:2,h3:3/main?hive=gotham&sentinel_password=x", "gotham"),
        ("redis://localhost?protocol=2", "default"),
        ("redis+cluster://h1,h2:7000", "default"),
        ("redis+cluster://bob:pw@h1:1,h2:2?hive=gotham", "gotham"),
    ],
)
def test_a_url_names_a_redis_and_a_hive(url: str, hive: str) -> None:
    endpoint = Endpoint.parse(url)
    assert endpoint.hive == hive
    assert "hive=" not in endpoint.url
    assert Endpoint.parse(endpoint.url).url == endpoint.url


def test_what_is_no_option_of_ours_stays_in_the_url() -> None:
    assert Endpoint.parse("unix:///tmp/r.sock?hive=gotham&db=1").url == "unix:///tmp/r.sock?db=1"
    assert Endpoint.parse("unix:///tmp/r.sock").url == "unix:///tmp/r.sock"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "begin with redis://"),
        ("localhost:7000", "begin with redis://"),
        ("http://localhost", "begin with redis://"),
        ("rediss+cluster://a:1", "TLS for a Redis Cluster is not supported yet"),
        ("redis+cluster://", "redis+cluster://host:port,host:port"),
        ("redis+cluster://a:x", "'a:x' is not host:port"),
        ("redis+cluster://a:1/3", "without a database"),
        ("redis://localhost:port", "port"),
        ("redis://localhost:99999", "ort"),
        ("redis://localhost?colour=red", "no such option: colour"),
        ("redis://localhost?socket_timeout=soon", "socket_timeout"),
        ("redis+sentinel://h1:1,h2:2", "/<service>"),
        ("redis+sentinel:///main", "/<service>"),
        ("redis+sentinel://h1:x/main", "'h1:x' is not host:port"),
        (f"redis://bob:{SECRET}/1@localhost:7000", "special characters"),
        (f"redis://bob:{SECRET}@localhost:port", "special characters"),
        (f"rediss://bob:{SECRET}@[::1", "special characters"),
    ],
)
def test_a_url_that_cannot_be_is_refused_in_words_without_the_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.parse(url)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)


def test_a_hive_that_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidName):
        Endpoint.parse("redis://localhost?hive=my hive")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{SECRET}@localhost:1", "redis://:***@localhost:1"),
        (f"redis://bob:{SECRET}@localhost/2", "redis://bob:***@localhost/2"),
        (f"unix://bob:{SECRET}@/tmp/r.sock", "unix://bob:***@/tmp/r.sock"),
        (f"redis+sentinel://bob:{SECRET}@h1:1,h2:2/main?sentinel_password={SECRET}", "sentinel_password=***"),
        (f"redis://localhost?password={SECRET}", "redis://localhost?password=***"),
        (f"rediss://localhost?ssl_password={SECRET}", "ssl_password=***"),
    ],
)
def test_a_password_is_shown_to_nobody(url: str, shown: str) -> None:
    endpoint = Endpoint.parse(url)
    assert shown in endpoint.redacted
    assert SECRET not in endpoint.redacted + str(endpoint) + repr(endpoint)


@given(st.text(max_size=30))
def test_any_text_is_an_endpoint_or_a_configuration_error(text: str) -> None:
    for scheme in ("redis", "rediss", "unix", "redis+sentinel"):
        with contextlib.suppress(ConfigurationError):
            Endpoint.parse(f"{scheme}://{text}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("WRONGPASS invalid username-password pair", RedisDenied),
        ("NOAUTH Authentication required.", RedisDenied),
        ("NOPERM this user has no permissions", RedisDenied),
        ("LOADING Redis is loading the dataset in memory", RedisUnavailable),
        ("MASTERDOWN Link with MASTER is down", RedisUnavailable),
        ("READONLY You can't write against a read only replica.", RedisUnavailable),
        ("BUSY Redis is busy running a script.", RedisUnavailable),
        ("BUSYGROUP Consumer Group name already exists", RedisRefused),
        ("OOM command not allowed", RedisRefused),
        ("MISCONF Errors writing to the AOF file", RedisRefused),
        ("ERR unknown command", RedisRefused),
    ],
)
def test_an_error_reply_becomes_the_error_that_says_what_it_means(text: str, kind: type[Exception]) -> None:
    assert type(reply_error(text)) is kind


def test_foreign_errors_become_ours() -> None:
    assert type(translated(OSError("no route"), "redis://h")) is RedisUnavailable
    assert type(translated(TimeoutError(), "redis://h")) is RedisUnavailable
    assert str(translated(ValueError("what"), "redis://h")) == "redis://h: ValueError: what"
    ours = RedisRefused("OOM")
    assert translated(ours, "redis://h") is ours
