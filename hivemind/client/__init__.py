"""On the bus without a node: for scripts and web applications. Nothing of a client is registered or watched.

- what users see: ``client`` ``messages``; as type checkers see them on the loop: ``awaited``
- what it has while it is open: ``session``; what it sends: ``posting`` ``unread``
"""
