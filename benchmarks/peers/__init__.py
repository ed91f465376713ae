"""Each peer as its own documentation says: a publisher and a subscriber, ``python -m benchmarks.peers.NAME ROLE``."""
