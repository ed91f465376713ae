"""What a message may carry: bytes, the same near and far."""

from __future__ import annotations


def checked(body: bytes | bytearray | memoryview | None) -> bytes:
    """The bytes of it; none for None. Raises TypeError."""
    if type(body) is bytes:
        return body
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"Body must be a sequence of bytes, not {type(body).__name__}: encode it first.")
