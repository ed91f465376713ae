"""What can be set: the constants of a hive and the tuning of its nodes, each with its default and what is allowed."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .patterns import SERVER, PatternMode
from .retention import MOST_SECONDS, WEEK
from .topics import check_name, check_pattern, check_topic

_URL_SCHEMES = ("redis://", "rediss://", "unix://", "redis+sentinel://", "redis+cluster://")
_CONTROLLER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_TARGET = re.compile(r"[^\s:]+(:[A-Za-z_]\w*)?")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[A-Za-z0-9:]([A-Za-z0-9:.%_-]{0,253})")
_SECRET_NAME = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|AUTH", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)\S*(?=@)")
_QUERY_PASSWORD = re.compile(r"([?&]\w*(?:password|secret|token)=)[^&\s]*", re.IGNORECASE)


_PLAIN = {  # what pydantic says of a type is not what one writes
    "dict_type": "a dict, such as {...}",
    "model_type": "a dict, such as {...}",
    "model_attributes_type": "a dict, such as {...}",
    "list_type": "a list, such as [...]",
    "string_type": "a text in quotes",
    "path_type": "a path as a text in quotes",
    "bool_type": "True or False",
    "bool_parsing": "True or False",
}


class NodeTuning(BaseModel):
    """What ``NODES`` may say about one node. It tunes an enabled node, or with ``target`` adds one from elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: int = Field(1, ge=0, le=1000, description="How many copies run.")
    env: dict[str, str] = Field({}, description="Environment variables for its processes.")
    restart: Literal["always", "on-failure", "never"] = Field(
        "always", description="When it ends, start it again: always, on-failure, never."
    )
    needs: list[str] = Field([], description="Nodes and topics for which it waits: it begins when they consume.")
    tags: list[str] = Field([], description="Names for groups of nodes: `hm restart @tag`.")
    target: str | None = Field(None, description="Where its code is, if not in nodes/: package.module:Class.")
    process: str = Field("", description="Nodes with the same name here run together in one process of that name.")
    hosts: list[str] = Field([], description="Hosts that it may run on, by name or as @tag. Empty: all in HOSTS.")
    per_host: bool = Field(False, description="True: `replicas` is the number of copies on each of these hosts.")

    sends: list[str] = Field(
        [],
        description="Topics, or patterns of them, that it may send on besides those of its services: `hived secure`.",
    )
    asks: list[str] = Field([], description="Requests that it may make, by name or pattern: `hived secure`.")

    @field_validator("sends", "asks")
    @classmethod
    def _are_patterns(cls, patterns: list[str]) -> list[str]:
        return [check_pattern(one) for one in patterns]

    @field_validator("needs")
    @classmethod
    def _are_nodes_or_topics(cls, needs: list[str]) -> list[str]:
        for need in needs:
            check_topic(need.removeprefix("topic:"))  # what a node may be called a topic may be, too
        return needs

    @field_validator("tags")
    @classmethod
    def _are_names(cls, names: list[str]) -> list[str]:
        return [check_name(name, "tag") for name in names]

    @field_validator("hosts")
    @classmethod
    def _are_hosts_or_tags(cls, hosts: list[str]) -> list[str]:
        return [f"@{check_name(one[1:], 'tag')}" if one.startswith("@") else _host(one) for one in hosts]

    @field_validator("process")
    @classmethod
    def _is_a_process(cls, name: str) -> str:
        return check_name(name, "process") if name else name

    @field_validator("target")
    @classmethod
    def _is_a_target(cls, target: str | None) -> str | None:
        if target is not None and not _TARGET.fullmatch(target):
            raise ValueError("write package.module, package.module:Class or file.py:Class")
        return target


class Constants(BaseModel):
    """Every setting with its default. The descriptions are the comments that ``hm new`` writes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    HIVE_NAME: str = Field("default", description="The hive's name; hives on one Redis are kept apart by it.")
    HIVE_DEFAULT_PORT: int = Field(
        9476, ge=0, le=65535, description="Port of the root's page; if taken, the next free one. 0: any free one."
    )
    HIVE_DEFAULT_HOST: str = Field(
        "127.0.0.1",
        description="Address of the root's page. Elsewhere than on the loopback it needs HIVE_KEY, and has a login.",
    )
    HIVE_KEY: str = Field(
        "",
        description="What signs the page's tokens; put it into HIVEMIND_HIVE_KEY_FILE. Empty: there is no login.",
        repr=False,
    )
    HIVE_CONTROLLER: str = Field(
        "", description="The root's class, package.module:Class. Empty: the plain RootController."
    )
    LOG_LOCATION: Path = Field(
        default_factory=lambda data: log_folder(os.environ, data.get("HIVE_NAME", "default")),
        description="Folder of the log files. Empty: ~/.local/log/<name>; macOS ~/Library/Logs/<name>.",
    )
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO", description="What goes to the log files: DEBUG, INFO, WARNING, ERROR or CRITICAL."
    )
    LOG_FORMAT: Literal["text", "json"] = Field(
        "text", description="How log lines are written: text for people, or json, one object a line."
    )
    LOG_MAX_BYTE_SIZE: int = Field(5 * 1024 * 1024, ge=0, description="Bytes after which a log file is rotated.")
    LOG_BACKUP_COUNT: int = Field(2, ge=0, le=1000, description="How many rotated log files are kept.")
    STATIC_DIRS: list[Path] = Field([], description="Folders of files that the root serves under /static.")
    TEMPLATE_DIRS: list[Path] = Field([], description="Folders of templates that the root's page finds first.")
    REDIS_URL: str = Field("", description="redis://, rediss://, unix:// ... Empty: a server of its own in var/.")
    PATTERNS: PatternMode = Field(
        SERVER, description="Who matches patterns: server (Redis), or resolved (each node, from announced topics)."
    )
    HEARTBEAT: float = Field(
        2.0, gt=0, le=3600, allow_inf_nan=False, description="Seconds from one sign of life of a node to the next."
    )
    LEASE: float = Field(
        6.0, gt=0, le=86400, allow_inf_nan=False, description="Seconds without one after which it counts as lost."
    )
    STOP_TIMEOUT: float = Field(
        10.0, gt=0, le=3600, allow_inf_nan=False, description="Seconds that a node has to end politely."
    )
    CONFIRM: Literal["memory", "second", "disk", "replica"] = Field(
        "second",
        description="What Redis has done with a kept message when flush() returns: memory, second, disk, replica.",
    )
    GROUP_RETIRE: float = Field(
        WEEK,
        ge=60,
        le=MOST_SECONDS,
        allow_inf_nan=False,
        description="Seconds unseen after which a durable group holds nothing back; after as many again it goes.",
    )
    DEAD_LETTERS: int = Field(
        100_000, ge=1, le=1_000_000_000, description="About how many dead letters of a topic are kept."
    )
    MIDDLEWARE: list[str] = Field([], description="Classes around all messages of all nodes, package.module:Class.")
    PROPAGATE: list[str] = Field([], description="Headers that pass from a message to what its handler sends.")
    PRODUCTION: bool = Field(False, description="True: `hm dev` and `hm drill` keep their hands off this hive.")
    HOSTS: dict[str, list[str]] = Field(
        {}, description="The hosts of the hive, each with its tags. Empty: every hived runs all nodes."
    )
    NODES: dict[str, NodeTuning] = Field(
        {},
        description="By name: replicas, env, restart, needs, tags, target, process, hosts, per_host, sends, asks.",
    )

    @field_validator("HIVE_NAME")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name(name, "hive")

    @field_validator("HIVE_DEFAULT_HOST")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        if not _ADDRESS.fullmatch(host):
            raise ValueError("write an address, or a name, of this machine, such as 127.0.0.1, 0.0.0.0 or ::")
        return host

    @field_validator("HIVE_CONTROLLER")
    @classmethod
    def _is_a_controller(cls, target: str) -> str:
        if target and not _CONTROLLER.fullmatch(target):
            raise ValueError("write package.module:Class, such as root:GothamController, or nothing")
        return target

    @field_validator("MIDDLEWARE")
    @classmethod
    def _are_classes(cls, targets: list[str]) -> list[str]:
        if wrong := [target for target in targets if not _CONTROLLER.fullmatch(target)]:
            raise ValueError(f"{wrong[0]!r}: write package.module:Class, such as middleware:Tracing")
        return targets

    @field_validator("LOG_LEVEL", mode="before")
    @classmethod
    def _in_upper_case(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @field_validator("LOG_LOCATION")
    @classmethod
    def _from_the_hive(cls, path: Path, info: ValidationInfo) -> Path:
        return _absolute(path, info)

    @field_validator("STATIC_DIRS", "TEMPLATE_DIRS")
    @classmethod
    def _all_from_the_hive(cls, paths: list[Path], info: ValidationInfo) -> list[Path]:
        return [_absolute(path, info) for path in paths]

    @field_validator("REDIS_URL")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if url.startswith("rediss+cluster://"):
            raise ValueError("TLS for a Redis Cluster is not supported yet; without it, write redis+cluster://")
        if url and not url.startswith(_URL_SCHEMES):
            raise ValueError(f"begin with one of {' '.join(_URL_SCHEMES)}, or leave it empty for an embedded server")
        return url

    @field_validator("LEASE")
    @classmethod
    def _outlives_a_lost_beat(cls, lease: float, info: ValidationInfo) -> float:
        beat = info.data.get("HEARTBEAT", 0.0)
        if lease < 2 * beat:
            raise ValueError(f"must be at least twice HEARTBEAT, {2 * beat:g}, or one late beat counts as a death")
        return lease

    @field_validator("HOSTS")
    @classmethod
    def _hosts_have_names(cls, hosts: dict[str, list[str]]) -> dict[str, list[str]]:
        return {_host(name): [check_name(tag, "tag") for tag in tags] for name, tags in hosts.items()}

    @field_validator("NODES")
    @classmethod
    def _nodes_have_names(cls, nodes: dict[str, NodeTuning]) -> dict[str, NodeTuning]:
        for name, tuning in nodes.items():
            if check_name(name) in tuning.needs:
                raise ValueError(f"{name} needs itself")
        return nodes


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a host: letters, digits, '-', '_' and '.', such as alfa")
    return name


def allowed(error: ErrorDetails) -> str:
    """What may stand where pydantic found ``error``, in words: the whole range, not only the bound that was crossed."""
    path = error["loc"]
    model = Constants if len(path) == 1 else NodeTuning
    if error["type"] == "extra_forbidden":
        return f"there is no such setting{did_you_mean(str(path[-1]), model.model_fields)}"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"].startswith(("int_", "float_")) or "_than" in error["type"]:
        return _range(model.model_fields[str(path[-1])])
    told = error["msg"].removeprefix("Input should be ")
    return "must be " + _PLAIN.get(error["type"], told)


def _range(number: FieldInfo) -> str:
    bounds = {key: getattr(m, key) for m in number.metadata for key in ("ge", "gt", "le") if hasattr(m, key)}
    kind = "whole number" if number.annotation is int else "number"
    low = f"at least {bounds['ge']}" if "ge" in bounds else f"greater than {bounds['gt']}"
    high = f" and at most {bounds['le']}" if "le" in bounds else ""
    return f"must be a {kind}, {low}{high}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about ``name``: ``, did you mean ...?`` if one of ``known`` looks like it, else nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f", did you mean {close[0]}?" if close else ""


def redact(url: str) -> str:
    """``url``, or any text with URLs in it, with every password as ``***``."""
    return _QUERY_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", url))


def masked(value: object, name: str = "") -> Any:
    """``value`` for people to read: passwords in URLs, and whatever is called like a secret, as ``***``."""
    if is_secret(name) and not isinstance(value, dict | list):
        return "***"
    if isinstance(value, dict):
        return {key: masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, name) for inner in value]
    return redact(value) if isinstance(value, str) else value


def is_secret(name: str) -> bool:
    """Whether what is called ``name`` sounds like a secret: its value is shown to nobody."""
    return _SECRET_NAME.search(name) is not None


def state_folder(environ: Mapping[str, str]) -> Path:
    """The platform's folder for what programs keep between runs."""
    if environ.get("XDG_STATE_HOME"):
        return Path(environ["XDG_STATE_HOME"])
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or _home(environ) / "AppData" / "Local")
    return _home(environ) / ".local" / "state"


def log_folder(environ: Mapping[str, str], name: str) -> Path:
    """The platform's log folder, plus the hive's name."""
    if sys.platform == "darwin":
        return _home(environ) / "Library" / "Logs" / name
    if sys.platform == "win32":
        return state_folder(environ) / "hivemind" / "Logs" / name
    if environ.get("XDG_STATE_HOME"):
        return state_folder(environ) / "hivemind" / "log" / name
    return _home(environ) / ".local" / "log" / name


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _absolute(path: Path, info: ValidationInfo) -> Path:
    base = info.context["base"] if info.context else Path.cwd()
    return Path(base, path.expanduser())
