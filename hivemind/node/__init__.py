"""The core: nodes, their services and subscriptions, and how a process runs one."""
