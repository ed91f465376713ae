"""What the table calls Hivemind and its peers."""

from __future__ import annotations

OURS = "Hivemind"
BARE = "bare loop"
THREADS, MODEL = "Hivemind, threads", "Hivemind, pydantic model"
FASTSTREAM, FASTSTREAM_PIPELINES = "FastStream", "FastStream, pipelines"
JETSTREAM, JETSTREAM_PUSH = "JetStream, pull", "JetStream, push"
NATS, ZMQ, REDIS_PY = "nats-py", "pyzmq PUB/SUB", "redis-py PubSub"
DISCARDING = "discarding sockets"
