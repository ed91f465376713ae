"""The command line: `hm` for hives and their nodes, `hived` for this machine's daemon."""
