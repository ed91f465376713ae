"""How fast Hivemind is, beside its peers, over public APIs only. ``python -m benchmarks``, which is `make bench`."""
