"""Whether a Redis is as a hive needs it: judgements over facts, for `hm doctor`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from ..bus.assurance import Proof, proof_of
from ..bus.facts import ANY, ServerFacts
from ..bus.server_info import OLDEST, major_version, server_name
from ..bus.translation import SILENT
from ..english import amount, duration
from ..message import MAX_PAYLOAD
from ..patterns import RESOLVED

MIB = 1024 * 1024
EACH = 4  #: connections that a node may have
SPARE = 32  #: connections for hived, the root, and people
SKEW = 1.0  #: seconds by which two clocks may differ
SLOW = 0.1  #: seconds that an answer may take
SLOW_DISK = 0.5  #: seconds that the disk of Redis may take for a write
DELAYED = 0.001  #: the share of its life that a Redis may have waited for its disk
DELAY = 2.0  #: seconds for which it waited each time that it counts
MANY = 10  #: distinct patterns from which on they cost something
FULL = 0.9  #: the share of a limit from which on that is near
NEWER = "Redis 7.0 or later, or Valkey"
HIDDEN = "not allowed to look"


class Level(StrEnum):
    """How bad a finding is."""

    RED = "red"  # something breaks, or a promise does not hold
    YELLOW = "yellow"  # it works, and could be better
    UNKNOWN = "unknown"  # not allowed to look
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found there, what that means, and what to do about it ("" where nothing)."""

    level: Level
    subject: str
    found: str
    means: str = ""
    todo: str = ""

    @property
    def text(self) -> str:
        """All of it but the subject, in a line."""
        return "; ".join(part for part in (self.found, self.means, self.todo) if part)

    def to_json(self) -> dict[str, str]:
        """One flat object; stable names."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a hive wants of its Redis: its tier of confirmation, for so many processes, and how it keeps patterns."""

    confirm: str = "second"
    instances: int = 0
    patterns: str = ""


def findings(servers: Sequence[ServerFacts], needs: Needs) -> list[Finding]:
    """What is to be said of all servers; where there are several, each with its address."""
    return [
        Finding(
            one.level,
            f"{one.subject} of {server.where}" if len(servers) > 1 else one.subject,
            one.found,
            one.means,
            one.todo,
        )
        for server in servers
        for one in _of(server, needs)
    ]


def _of(server: ServerFacts, needs: Needs) -> Iterator[Finding]:
    if server.error:
        means = "nodes wait for it, and what is kept waits in their outboxes"
        todo = "start that server, or see REDIS_URL"
        if SILENT in server.error:
            todo = "see what holds it up: its machine, its disk, a script"
        yield Finding(Level.RED, "Redis", f"{server.where}: {server.error}", means, todo)
        return
    for found in (*(judge(server) for judge in JUDGES), *(judge(server, needs) for judge in FITTING)):
        if found is not None:
            yield found


def version(server: ServerFacts) -> Finding | None:
    """Whether it is new enough."""
    name, major = server_name(server.info), major_version(server.info)
    if not name:
        return _hidden("version", "INFO")
    if major is not None and major < OLDEST:
        return Finding(Level.RED, "version", name, "nothing of a hive works there", NEWER)
    return Finding(Level.GREEN, "version", name)


def functions(server: ServerFacts) -> Finding | None:
    """Whether our functions are, or can be, there."""
    if not server.knows_functions:
        return Finding(
            Level.YELLOW, "functions", "this server has none", "ours are sent as scripts, which costs more", NEWER
        )
    if server.has_functions is None:
        return _hidden("functions", "FUNCTION LIST")
    return Finding(Level.GREEN, "functions", "loaded" if server.has_functions else "loaded by the first who needs them")


def role(server: ServerFacts) -> Finding | None:
    """Whether it takes writes at all."""
    if server.info.get("role") == "slave":
        means, todo = "it refuses to write", "let REDIS_URL name its primary, or the Sentinels"
        return Finding(Level.RED, "role", "this is a replica", means, todo)
    if server.info.get("loading") == "1":
        return Finding(
            Level.YELLOW, "role", "it is still loading its data", "nodes wait for it", "ask again in a moment"
        )
    if server.info.get("cluster_enabled") == "1" and server.info.get("cluster_state", "ok") != "ok":
        return Finding(
            Level.RED, "role", "its Cluster has failed", "what some shards have cannot be written", "see CLUSTER INFO"
        )
    return None


def eviction(server: ServerFacts) -> Finding | None:
    """Whether it throws keys away when its memory is full."""
    policy = server.settings.get("maxmemory-policy") or server.info.get("maxmemory_policy", "")
    limit = _number(server.settings.get("maxmemory") or server.info.get("maxmemory"))
    gone = _number(server.info.get("evicted_keys")) or 0
    if not policy:
        return _hidden("eviction", "CONFIG GET and INFO")
    means = "when memory is full it throws away what was kept: the registry, and durable messages"
    todo = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration"
    if policy != "noeviction":
        lost = f", and it has thrown away {gone:,} keys" if gone else ""
        level = Level.RED if limit or gone else Level.YELLOW
        return Finding(level, "eviction", f"maxmemory-policy {policy}{lost}", means, todo)
    return Finding(Level.GREEN, "eviction", "noeviction")


def memory(server: ServerFacts) -> Finding | None:
    """How much of its memory is taken."""
    used, limit = (_number(server.info.get(name)) for name in ("used_memory", "maxmemory"))
    if used is None:
        return _hidden("memory", "INFO")
    if not limit:
        means, todo = "it takes memory until the machine has none", "set maxmemory"
        return Finding(Level.YELLOW, "memory", f"{_mib(used)}, without a limit", means, todo)
    found = f"{_mib(used)} of {_mib(limit)}"
    if used > FULL * limit:
        level = Level.RED if used >= limit else Level.YELLOW
        return Finding(
            level, "memory", found, "when it is full, nothing is kept any more", "raise maxmemory, or keep less"
        )
    return Finding(Level.GREEN, "memory", found)


def persistence(server: ServerFacts, needs: Needs) -> Finding | None:
    """Whether it keeps what CONFIRM promises."""
    if needs.confirm == "memory":
        return Finding(Level.GREEN, "persistence", "CONFIRM is memory, which needs none")
    aof = server.settings.get("appendonly") or {"0": "no", "1": "yes"}.get(server.info.get("aof_enabled", ""), "")
    fsync = server.settings.get("appendfsync", "")
    promise = f'CONFIRM = "{needs.confirm}" does not hold'
    if needs.confirm == "replica":
        return _replicas(server, promise)
    if not aof:
        return _hidden("persistence", "CONFIG GET and INFO")
    if aof == "no":
        means = f"{promise}: what was kept is gone when it restarts"
        return Finding(Level.RED, "persistence", "appendonly no", means, "CONFIG SET appendonly yes")
    if not fsync:
        return _hidden("persistence", "CONFIG GET appendfsync")
    found = f"appendonly yes, appendfsync {fsync}"
    if (
        needs.confirm == "disk"
        and fsync != "always"
        and not (fsync == "everysec" and proof_of(server.info) is Proof.WAITAOF)
    ):
        todo = "CONFIG SET appendfsync always; where it is the hive's own, `hived reload`"
        return Finding(Level.RED, "persistence", found, f"{promise}: it writes to its disk later", todo)
    if fsync == "no":
        means = f"{promise}: it writes to its disk when the system likes, half a minute later perhaps"
        return Finding(Level.RED, "persistence", found, means, "CONFIG SET appendfsync everysec")
    return Finding(Level.GREEN, "persistence", found)


def _replicas(server: ServerFacts, promise: str) -> Finding:
    count, least = _number(server.info.get("connected_slaves")), _number(server.settings.get("min-replicas-to-write"))
    if count is None:
        return _hidden("persistence", "INFO")
    if count == 0:
        return Finding(Level.RED, "persistence", "no replica", f"{promise}: nothing is confirmed", "connect a replica")
    if not least:
        means = "a primary that is cut off takes what is lost when it comes back"
        todo = "CONFIG SET min-replicas-to-write 1" if least is not None else "see that min-replicas-to-write is 1"
        return Finding(
            Level.YELLOW, "persistence", f"replicas: {count}, min-replicas-to-write 0 or hidden", means, todo
        )
    return Finding(Level.GREEN, "persistence", f"replicas: {count}")


def disk(server: ServerFacts) -> Finding | None:
    """Whether it could write to its disk, and fast enough."""
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"):
        if server.info.get(name, "ok") != "ok":
            todo = "see its log; is its disk full?"
            return Finding(Level.RED, "its disk", f"{name} is {server.info[name]}", "it may refuse to write", todo)
    return _slow_disk(server)


def _slow_disk(server: ServerFacts) -> Finding | None:
    """How long its disk takes for what it has to be sure of (fsync)."""
    delayed, uptime = (_number(server.info.get(name)) or 0 for name in ("aof_delayed_fsync", "uptime_in_seconds"))
    found = []
    if server.writing > SLOW_DISK:
        found.append(f"a write takes longer than {server.writing:.1f} s")
    if server.stood > SLOW_DISK:
        found.append(f"it held Redis up for {server.stood:.1f} s not long ago")
    if DELAY * delayed > DELAYED * uptime:
        found.append(f"Redis waited for it in vain {amount(delayed, 'time')} in {duration(uptime)}")
    if not found:
        return None if "aof_delayed_fsync" not in server.info else Finding(Level.GREEN, "its disk", "fast enough")
    means = 'of what it confirmed at "second", a kill takes up to two seconds, and a power cut more'
    if server.settings.get("appendfsync") == "always":
        means = "everybody waits for each write"
    todo = "see what else writes to that disk (`iotop`, `LATENCY DOCTOR`), or give Redis a faster one"
    return Finding(Level.YELLOW, "its disk", ", and ".join(found), means, todo)


def buffers(server: ServerFacts) -> Finding | None:
    """Whether its limits let through what a hive sends."""
    limits = server.settings.get("client-output-buffer-limit")
    if limits is None:
        return _hidden("buffers", "CONFIG GET")
    words = limits.split()
    hard = dict(zip(words[::4], map(int, words[1::4]), strict=False))
    pubsub, normal = hard.get("pubsub", 0), hard.get("normal", 0)
    if not pubsub:
        means = "one subscriber that does not read takes the memory of all"
        todo = "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60'"
        return Finding(Level.YELLOW, "buffers", "no limit for subscribers", means, todo)
    for what, size in (("client-output-buffer-limit pubsub", pubsub), ("client-output-buffer-limit normal", normal)):
        if 0 < size < 8 * MIB:
            means = "who is sent a burst is cut off, and misses live messages"
            return Finding(Level.YELLOW, "buffers", f"{what} {_mib(size)}", means, "raise it to 32mb")
    for what in ("proto-max-bulk-len", "client-query-buffer-limit"):
        size = _number(server.settings.get(what)) or 0
        if 0 < size < 2 * MAX_PAYLOAD:
            means = "it cuts off who sends a large message"
            return Finding(Level.YELLOW, "buffers", f"{what} {_mib(size)}", means, "raise it to 4mb")
    return Finding(Level.GREEN, "buffers", f"a subscriber is cut off at {_mib(pubsub)}")


def clients(server: ServerFacts, needs: Needs) -> Finding | None:
    """Whether everybody gets a connection."""
    most = _number(server.settings.get("maxclients") or server.info.get("maxclients"))
    now = _number(server.info.get("connected_clients"))
    if most is None:
        return _hidden("clients", "CONFIG GET and INFO")
    found = f"{'?' if now is None else now} of {most:,} connections"
    least = EACH * needs.instances + SPARE
    todo = f"CONFIG SET maxclients {max(10_000, 2 * least)}"
    if most < least:
        means = f"{needs.instances} processes may need {least:,}: the last ones get none"
        return Finding(Level.RED, "clients", found, means, todo)
    if now is not None and now > FULL * most:
        return Finding(Level.YELLOW, "clients", found, "soon nobody more gets in", todo)
    return Finding(Level.GREEN, "clients", found)


def idle(server: ServerFacts) -> Finding | None:
    """Whether it closes connections that are quiet."""
    seconds = _number(server.settings.get("timeout"))
    if not seconds:
        return None
    means = "it closes connections that say nothing for so long: they are made anew each time"
    return Finding(Level.YELLOW, "idle connections", f"timeout {seconds}", means, "CONFIG SET timeout 0")


def rights(server: ServerFacts, needs: Needs) -> Finding | None:
    """Whether our user may do what a hive does."""
    who, lacks = f"user {server.user or 'default'}", server.rights
    if lacks is None:
        return _hidden("rights", "MULTI")
    channels = [one for one in lacks.channels if one != ANY or needs.patterns != RESOLVED]
    parts = [f"run {', '.join(lacks.commands)}"] if lacks.commands else []
    parts += [f"use keys {', '.join(lacks.keys)}"] if lacks.keys else []
    parts += [f"use channels {', '.join(channels)}"] if channels else []
    if not parts:
        return Finding(Level.GREEN, "rights", f"{who} may do all that a hive does")
    means = "what needs that fails"
    if ANY in channels:
        means += ", such as subscriptions with wildcards: Redis asks for the right to that very pattern, or to *"
    rules = [*(f"+{one}" for one in lacks.commands), *(f"~{one}" for one in lacks.keys)]
    rules += [f"&{one}" for one in ([ANY] if ANY in channels else channels)]
    todo = f"ACL SETUSER {server.user or 'default'} {' '.join(rules)}"
    return Finding(Level.RED, "rights", f"{who} may not {', nor '.join(parts)}", means, todo)


def clock(server: ServerFacts) -> Finding | None:
    """Whether its clock and ours agree."""
    if server.skew is None:
        return _hidden("clock", "TIME")
    return of_clocks("clock of Redis", server.skew, "this machine's")


def of_clocks(subject: str, skew: float, whose: str) -> Finding:
    """What to say of a clock that is so many seconds ahead of another."""
    if abs(skew) <= SKEW:
        return Finding(Level.GREEN, subject, f"within {SKEW:g} s of {whose}")
    found = f"{abs(skew):,.1f} s {'ahead of' if skew > 0 else 'behind'} {whose}"
    means = "nobody is declared dead for that, but ages, --since and times in logs are wrong by as much"
    return Finding(Level.YELLOW, subject, found, means, "let both machines follow one time server (NTP)")


def doors(server: ServerFacts) -> Finding | None:
    """Whether strangers can reach it."""
    said = server.settings
    if "bind" not in said or "requirepass" not in said:
        return _hidden("doors", "CONFIG GET")
    local = {"127.0.0.1", "-::1", "::1", "localhost", "-127.0.0.1"}
    is_open = said.get("port") != "0" and not set(said["bind"].split() or ["*"]) <= local
    if is_open and not said["requirepass"] and said.get("protected-mode") == "no" and server.user in ("", "default"):
        means = "who reaches it can send to every node, and read and delete everything"
        return Finding(
            Level.RED,
            "doors",
            f"open to all, bind {said['bind']!r}, no password",
            means,
            "set requirepass, or bind 127.0.0.1",
        )
    return Finding(Level.GREEN, "doors", "only this machine" if not is_open else "a password, or protected-mode")


def patterns(server: ServerFacts, needs: Needs) -> Finding | None:
    """How many patterns every message is compared with."""
    if server.patterns is None:
        return _hidden("patterns", "PUBSUB NUMPAT")
    found = f"{server.patterns:,} distinct, of all hives here"
    if server.patterns >= MANY and needs.patterns != RESOLVED:
        means, todo = (
            "Redis compares every message with each of them",
            'PATTERNS = "resolved" compares none (docs/scale.md)',
        )
        return Finding(Level.YELLOW, "patterns", found, means, todo)
    return Finding(Level.GREEN, "patterns", found)


def speed(server: ServerFacts) -> Finding | None:
    """How long it takes to answer."""
    if server.round_trip is None:
        return None
    found = f"{server.round_trip * 1000:.1f} ms for an answer"
    if server.round_trip > SLOW:
        return Finding(
            Level.YELLOW,
            "speed",
            found,
            "each request takes that, too",
            "is it far, busy, or its disk slow? see SLOWLOG GET",
        )
    return Finding(Level.GREEN, "speed", found)


JUDGES = (version, functions, role, eviction, memory, disk, buffers, idle, clock, doors, speed)
FITTING = (persistence, clients, rights, patterns)  #: those that also ask what the hive needs


def _hidden(subject: str, how: str) -> Finding:
    return Finding(Level.UNKNOWN, subject, HIDDEN, f"{how} is forbidden to this user, or missing", "ask who runs it")


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB"
