"""What a server says of itself to INFO."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind.bus.server_info import info_in, is_valkey, major_version, server_name

REDIS = {"redis_version": "7.0.15"}
VALKEY = {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "9.1.2"}


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        (b"# Server\r\nredis_version:7.0.15\r\nexecutable:/a:b\r\n", {**REDIS, "executable": "/a:b"}),
        ("redis_version:7.0.15\r\n", REDIS),
        (b"\xff:1\r\n", {"\ufffd": "1"}),
        (None, {}),
        (PermissionError("NOPERM: no"), {}),
    ],
)
def test_the_lines_of_an_answer_are_read_and_what_is_none_is_nothing(reply: Any, found: dict[str, str]) -> None:
    assert info_in(reply) == found


@pytest.mark.parametrize(
    ("info", "name", "major", "valkey"),
    [
        (REDIS, "Redis 7.0.15", 7, False),
        (VALKEY, "Valkey 9.1.2", 7, True),
        ({"redis_version": "10.2"}, "Redis 10.2", 10, False),
        ({"redis_version": "unstable"}, "Redis unstable", None, False),
        ({"redis_version": "7" * 10}, f"Redis {'7' * 10}", None, False),
        ({"redis_version": "\u0667.0"}, "Redis \u0667.0", None, False),
        ({}, "", None, False),
    ],
)
def test_a_server_has_a_name_for_people_and_a_version_for_us(
    info: dict[str, str], name: str, major: int | None, valkey: bool
) -> None:
    assert (server_name(info), major_version(info), is_valkey(info)) == (name, major, valkey)
