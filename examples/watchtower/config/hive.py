"""The settings of watchtower: every constant, with its default.

`hm config` shows what holds, and where it came from: the file that HIVE_SETTINGS names and environment
variables such as HIVEMIND_REDIS_URL win over this one. Paths are relative to the hive's folder.
"""

# The hive's name; hives on one Redis are kept apart by it.
HIVE_NAME = "watchtower"

# Port of the root's page; if taken, the next free one. 0: any free one.
HIVE_DEFAULT_PORT = 9476

# Address of the root's page. Elsewhere than on the loopback it needs HIVE_KEY, and has a login.
HIVE_DEFAULT_HOST = "127.0.0.1"

# What signs the page's tokens; put it into HIVEMIND_HIVE_KEY_FILE. Empty: there is no login.
HIVE_KEY = ""

# The root's class, package.module:Class. Empty: the plain RootController.
HIVE_CONTROLLER = "root:WatchtowerController"

# Folder of the log files. Empty: ~/.local/log/watchtower; macOS ~/Library/Logs/watchtower.
LOG_LOCATION = ""

# What goes to the log files: DEBUG, INFO, WARNING, ERROR or CRITICAL.
LOG_LEVEL = "INFO"

# How log lines are written: text for people, or json, one object a line.
LOG_FORMAT = "text"

# Bytes after which a log file is rotated.
LOG_MAX_BYTE_SIZE = 5242880

# How many rotated log files are kept.
LOG_BACKUP_COUNT = 2

# Folders of files that the root serves under /static.
STATIC_DIRS = ["static"]

# Folders of templates that the root's page finds first.
TEMPLATE_DIRS = ["static/templates"]

# redis://, rediss://, unix:// ... Empty: a server of its own in var/.
REDIS_URL = ""

# Who matches patterns: server (Redis), or resolved (each node, from announced topics).
PATTERNS = "server"

# Seconds from one sign of life of a node to the next.
HEARTBEAT = 2.0

# Seconds without one after which it counts as lost.
LEASE = 6.0

# Seconds that a node has to end politely.
STOP_TIMEOUT = 10.0

# What Redis has done with a kept message when flush() returns: memory, second, disk, replica.
CONFIRM = "second"

# Seconds unseen after which a durable group holds nothing back; after as many again it goes.
GROUP_RETIRE = 604800.0

# About how many dead letters of a topic are kept.
DEAD_LETTERS = 100000

# Classes around all messages of all nodes, package.module:Class.
MIDDLEWARE: list[str] = []

# Headers that pass from a message to what its handler sends.
PROPAGATE: list[str] = []

# True: `hm dev` and `hm drill` keep their hands off this hive.
PRODUCTION = False

# The hosts of the hive, each with its tags. Empty: every hived runs all nodes.
HOSTS: dict[str, dict[str, object]] = {}

# By name: replicas, env, restart, needs, tags, target, process, hosts, per_host, sends, asks.
NODES: dict[str, dict[str, object]] = {
    "alarm": {"sends": ["alert.*"]},
    "clerk": {"replicas": 2, "sends": ["entry.*"]},
    "lookout": {"asks": ["register.*"]},
    "usual": {"sends": ["usual.*"]},
}
