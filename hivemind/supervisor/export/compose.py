"""A hive for docker compose, or what else reads a compose file: a service for each node. Pure.

The root is not among them: it serves its page to its own machine only, and in a container that is the container.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...settings import HIVE
from .files import File
from .image import FOLDER
from .workloads import ALIVE, PROBE_FILE, PROBE_TIMEOUT, REDIS_VARIABLE, STARTING, Hive, Workload
from .yaml import Value, yaml

FILE = "compose.yaml"
REDIS_IMAGE = "valkey/valkey:9"
REDIS_GRACE = 20  # seconds to write its data to the disk, as under hived
INTERVAL = 5  # seconds between two questions
RETRIES = 2

Object = dict[str, Value]


def compose(hive: Hive, image: str, context: str, dockerfile: str) -> list[File]:
    """The services of a hive. ``context`` is the way from the file's folder to the hive's, and ``dockerfile`` from
    there to the Dockerfile.
    """
    build: Object = {"context": context, "dockerfile": dockerfile}
    nodes = [each for each in hive.workloads if not each.is_root]
    services: Object = {each.name: _service(hive, each, image, build) for each in nodes}
    whole: Object = {"name": project(hive), "services": services}
    if hive.has_own_redis:
        whole = {"name": project(hive), "services": {"redis": _redis(hive), **services}, "volumes": {"redis": {}}}
    return [File(FILE, f"{_said_first(hive)}\n{yaml(whole)}")]


def project(hive: Hive) -> str:
    """The hive's name as compose takes it."""
    return re.sub(r"[^a-z0-9_-]", "-", hive.name.lower())


def _said_first(hive: Hive) -> str:
    lines = [f"The hive {hive.name} for docker compose, written by `hived export compose`; docs/export.md tells more."]
    wanted = [] if hive.has_own_redis else [REDIS_VARIABLE]
    wanted += sorted({_variable(each, name) for each in hive.workloads if not each.is_root for name in each.hidden})
    if wanted:
        lines.append("What is secret belongs into the environment, or into the file .env beside this one:")
        lines += [f"  {name}=..." for name in wanted]
    lines.append("Then: docker compose up --build --detach --wait")
    return "".join(f"# {line}\n" for line in lines)


def _service(hive: Hive, work: Workload, image: str, build: Mapping[str, Value]) -> Object:
    service: Object = {
        "image": image,
        "build": build,
        "entrypoint": ["python"],
        "command": [_literally(each) for each in work.any_of],
        "working_dir": FOLDER,
        "environment": _environment(hive, work),
        "init": True,
        "restart": "no" if work.restart == "never" else work.restart,
        "stop_grace_period": f"{hive.grace}s",
        "healthcheck": _check(["python", *ALIVE], STARTING),
        "deploy": {"replicas": work.copies},
    }
    if hive.has_own_redis:
        service["depends_on"] = ["redis"]  # not for the start, nodes wait: so that it is stopped last
    return service


def _environment(hive: Hive, work: Workload) -> Object:
    plain = {HIVE: FOLDER, "HIVEMIND_PROBE": PROBE_FILE, **work.env}
    found: Object = {name: _literally(value) for name, value in plain.items()}
    where = "redis://redis:6379" if hive.has_own_redis else _reference(REDIS_VARIABLE)
    found[REDIS_VARIABLE] = where
    return found | {name: _reference(_variable(work, name)) for name in work.hidden}


def _variable(work: Workload, name: str) -> str:
    """What ``name`` of one node is called where the variables of all are together."""
    return f"{re.sub(r'[^A-Z0-9]', '_', work.name.upper())}_{name}"


def _reference(variable: str) -> str:
    return f"${{{variable}:?is not set}}"


def _redis(hive: Hive) -> Object:
    """The server that takes the place of the hive's own, with what conf/redis.conf says of stored data and memory."""
    fsync = "always" if hive.settings.constants.CONFIRM == "disk" else "everysec"
    return {
        "image": REDIS_IMAGE,
        "command": [
            *("valkey-server", "--appendonly", "yes", "--appendfsync", fsync, "--save", ""),
            *("--maxmemory-policy", "noeviction", "--client-output-buffer-limit", "pubsub 32mb 8mb 60"),
        ],
        "volumes": ["redis:/data"],
        "restart": "always",
        "stop_grace_period": f"{REDIS_GRACE}s",
        "healthcheck": _check(["valkey-cli", "ping"], REDIS_GRACE),
    }


def _check(command: list[str], start: int) -> Object:
    return {
        "test": ["CMD", *command],
        "interval": f"{INTERVAL}s",
        "timeout": f"{PROBE_TIMEOUT}s",
        "retries": RETRIES,
        "start_period": f"{start}s",
    }


def _literally(value: str) -> str:
    """Compose puts variables in where it reads a ``$``."""
    return value.replace("$", "$$")
