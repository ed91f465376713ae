"""In whose name a process logs in at a Redis whose URL names nobody: files that `hived secure` writes.

``var/secure/<who>`` holds ``user:password`` of one user, mode 0600, in a folder of mode 0700. ``who`` is ``hived``,
``hm`` (who types commands, and clients in the hive's folder), ``root``, or ``node.<node>``. They are read at every
connect: who changes a password changes it for processes that run. Where there is no such folder nobody logs in.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..errors import RedisDenied

FOLDER = "secure"  #: in ``var``
OPERATOR, HIVED, ROOT = "hm", "hived", "root"
NODE = "node."  #: before the name of a node, or of a process that nodes share


def folder_of(var: Path) -> Path:
    """Where the files of a hive are."""
    return var / FOLDER


def is_secured(var: Path | None) -> bool:
    """Whether processes of this hive log in, each by its own name."""
    return var is not None and folder_of(var).is_dir()


def names_somebody(url: str) -> bool:
    """Whether a URL says who logs in: then everybody who goes there does so."""
    parts = urlsplit(url)
    return "@" in parts.netloc or any(name in ("username", "password") for name, _ in parse_qsl(parts.query))


def has_user(var: Path, who: str) -> bool:
    """Whether ``who`` has a user of its own."""
    return (folder_of(var) / who).is_file()


def credentials(var: Path | None, who: str) -> tuple[str, str] | None:
    """User and password of ``who``; None where nobody logs in.

    Raises RedisDenied, with what to do, where others do and there is nothing for this one, or it may not be read.
    """
    if var is None or not is_secured(var):
        return None
    file = folder_of(var) / who
    try:
        user, colon, password = file.read_text(encoding="ascii").strip().partition(":")
    except FileNotFoundError:
        raise RedisDenied(f"Redis knows no user {who} of this hive: `hived secure` makes one, and {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RedisDenied(f"{file}, with which {who} would log in at Redis, cannot be read: {error}") from None
    if not (user and colon and password):
        raise RedisDenied(f"{file} holds no user and password: `hived secure` writes it anew")
    return user, password


def with_login(arguments: Mapping[str, Any], var: Path | None, who: str) -> dict[str, Any]:
    """The arguments of a connection with user and password, where those of the URL name none. Raises what
    ``credentials`` raises.
    """
    found = None if {"username", "password"} & arguments.keys() else credentials(var, who)
    return dict(arguments) if found is None else {**arguments, "username": found[0], "password": found[1]}
