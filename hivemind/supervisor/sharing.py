"""Whether a Redis can be shared with other hosts, and how one that cannot could be."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from ..settings import Settings

HOW_TO_SHARE = (
    "Run one Redis that every host reaches (conf/redis.conf has the settings that matter: it listens on a port, with a "
    'password), and write REDIS_URL = "redis://:PASSWORD@ADDRESS:6379" into config/hive.py on each; '
    "`hm redis move URL` takes a hive that runs on an embedded one there, with all that it has"
)


def unshared(settings: Settings) -> str:
    """Why nobody can be reached by REDIS_URL from this host, where it is a unix socket that is not here, and what to
    do; "" if it is none, or is here.
    """
    found = urlsplit(settings.redis_url)
    if found.scheme != "unix" or Path(unquote(found.path)).exists():
        return ""
    source = settings.sources.get("REDIS_URL", "REDIS_URL")
    return (
        f"{source}: REDIS_URL is the unix socket {unquote(found.path)}, and there is none here. If it is the embedded "
        f"Redis of another host: that is reached on its own machine alone. {HOW_TO_SHARE}"
    )


def check_shared(settings: Settings) -> None:
    """Raise ConfigurationError where HOSTS names others, too, and the socket that all are to use is not here."""
    if len(settings.constants.HOSTS) > 1 and (why := unshared(settings)):
        raise ConfigurationError(why)
