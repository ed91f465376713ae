"""How fast Hivemind is, beside its peers. ``python -m benchmarks``, which is `make bench`.

Over public APIs only, but for `steps` and `nobody`, which look inside one process.
"""
