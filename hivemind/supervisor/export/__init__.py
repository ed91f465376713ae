"""The same hive on another engine: what hived would run, as files for Kubernetes, compose or systemd.

``workloads`` says what runs, whatever the engine; ``kubernetes``, ``compose`` and ``systemd`` make texts of that, and
``image`` what the first two run it in. All of these are pure, and write no secret. ``yaml`` writes YAML; ``files`` puts
texts into a folder.
"""
