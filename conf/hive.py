"""A commented config/hive.py, for a hive in production. `hm config` shows what holds, and where it came from.

Every setting is here. What you leave out has its default; environment variables such as HIVEMIND_REDIS_URL win.
Paths are relative to the hive's folder.
"""

import os

# A name of one's own begins with _ and is no setting.
_IS_TEST = os.environ.get("GOTHAM_STAGE") == "test"

# Hives on one Redis are kept apart by their names: a test system can share the server.
HIVE_NAME = "gotham-test" if _IS_TEST else "gotham"

# The page is on 127.0.0.1 at this port, or the next free one. On another address, such as "0.0.0.0", it has a login,
# and needs a key: docs/page-security.md.
HIVE_DEFAULT_PORT = 9476
HIVE_DEFAULT_HOST = "127.0.0.1"

# What signs the tokens with which one logs in. It comes from HIVEMIND_HIVE_KEY_FILE, a file that
# `hm token --new-key` makes.
HIVE_KEY = ""

# A class derived from RootController, to add routes and data to the page. Empty: the plain one.
HIVE_CONTROLLER = ""

# One log file for each process, each rotated by itself: at most 6 x 20 MiB for each here.
LOG_LOCATION = "logs"
LOG_LEVEL = "INFO"
LOG_FORMAT = "json"  # one object a line, for log shippers
LOG_MAX_BYTE_SIZE = 20 * 1024 * 1024
LOG_BACKUP_COUNT = 5

# Files under /static of the page, and templates that it finds before its own; templates themselves are not served.
STATIC_DIRS = ["static"]
TEMPLATE_DIRS = ["static/templates"]

# Where Redis is. The password comes from the environment: HIVEMIND_REDIS_URL, or HIVEMIND_REDIS_URL_FILE with a file.
# Empty: a server of the hive's own, with its data in var/redis. With more than one machine it has to be elsewhere.
REDIS_URL = "redis://127.0.0.1:6379"

# Who compares messages with patterns: Redis, which takes the longer the more distinct ones there are, or, with
# "resolved", each node, from the topics that are announced. `hm status` says when that is worth it. It changes with a
# full restart.
PATTERNS = "server"

# Every 2 s a node says that it lives; after 6 s of silence it counts as lost, and hived restarts one that hangs.
# Shorter finds a dead node sooner; longer forgives a machine that is short of breath. At least twice HEARTBEAT.
HEARTBEAT = 2.0
LEASE = 6.0

# Seconds for a node to end politely: to handle what it has received and to send what it has left.
STOP_TIMEOUT = 20.0

# What Redis has done with a durable message when flush() returns: "memory", "second", "disk" or "replica". A service
# may say otherwise for itself. "disk" needs appendfsync always, or Redis 8; see docs/delivery.md.
CONFIRM = "second"

# For how long, in seconds, what a group has yet to handle is kept after its node left the configuration.
GROUP_RETIRE = 14 * 86_400.0

# About how many dead letters of a topic are kept; `hm dead` shows them.
DEAD_LETTERS = 100_000

# Classes around whatever nodes send and handle, such as "middleware:Audit", and headers that pass from a message to
# what its handler sends, such as "traceparent".
MIDDLEWARE: list[str] = []
PROPAGATE: list[str] = []

# `hm dev` refuses to run this hive, so that nobody restarts it from a terminal by mistake.
PRODUCTION = not _IS_TEST

# The hosts of the hive, each with tags of your own; in NODES `hosts` and `per_host` say what runs where: docs/hosts.md.
# Empty: every hived runs all nodes, and two machines are a spare for each other.
HOSTS: dict[str, list[str]] = {}

# Nodes are enabled in nodes/__init__.py. Here they are tuned by name (replicas, env, restart, needs, tags, hosts), or
# with `target` added from elsewhere; docs/configuration.md has an example. A name that nothing enables is an error.
NODES: dict[str, dict[str, object]] = {}
