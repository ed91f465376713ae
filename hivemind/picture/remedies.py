"""What to do about each kind of thing that is not well. Pure: texts, and commands in backticks that one can run."""

from __future__ import annotations

from collections.abc import Mapping

MISSING = "`hm why {name}` says what hinders it"
REFUSED = "`hm doctor` says what is wrong with that Redis: its memory, its disk, or that it is a replica"
SHARDS = "start these servers again, or let replicas take their place: `hm doctor` looks at each"
LOST = "`hm why {name}` says how it ended; hived starts again what ends under it"
FENCED = "let one of the two go: `hm nodes` says where each runs"
BROKEN = "mend the file, then `hived reload`"
FAILING = "`hm logs {name}` has the traceback"
UNCONFIRMED = "CONFIRM asks for more than this Redis does: see `hm doctor`"
STANDBY = "nothing: it takes over when the one that has its number ends"
STOPPED = "`hm start {name}` when it is to run again"
WAITS = "`hm why {name}` says for what, and who could give it"
LOGS = "make room on that disk"
UNSENT = "`hm why {name}` says why; in a secured hive name the topic in `sends` of NODES, then `hived reload`"
OUTBOX = "Redis takes less than they send: `hm doctor` looks at it"
ASIDE = "nothing, if it is not to come back: it is forgotten after a day"

#: by what a subscription counts that should be 0; ``name`` is the instance that has the most of it
COUNTS: Mapping[str, str] = {
    "missed": "who must miss nothing reads with durable=True; `hm why {name}` says when it was cut off",
    "dropped": "its handler is slower than what comes: more workers or copies, or durable=True",
    "failed in a handler": "`hm logs {name}` has the tracebacks",
    "invalid": "sender and receiver do not agree on the payload: see the handler's annotation",
    "malformed": "somebody sends what is no message of Hivemind: a handler with raw=True sees it",
    "parked for another try": "nothing: they are tried again by themselves",
    "dead-lettered": "`hm dead list` shows them, `hm dead replay` sends them again",
    "lost by a stream": "the stream was trimmed before they were read: keep more, or read faster",
}


#: by the kind of a note on durable delivery
DURABLE: Mapping[str, str] = {
    "waiting": "start who sends there, or mend the pattern",
    "behind": "give the group more copies or workers, or make its handler faster; `hm lag` follows it",
    "retired": "nothing, if it is not to come back: `hm forget GROUP` lets go of what is kept for it",
}
