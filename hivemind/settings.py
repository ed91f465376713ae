"""Settings: the constants of ``config/hive.py``, checked, and where each of them came from.

The later wins: the defaults, ``config/hive.py``, the file that the environment variable ``HIVE_SETTINGS``
names, the variables ``HIVEMIND_<CONSTANT>`` (JSON for lists and dicts), and ``HIVEMIND_<CONSTANT>_FILE``
(the value is what that file contains). Last of all, where the REDIS_URL that they give is one that `hm redis move` has
left, it is the one that the hive has moved to.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .constants import (
    Constants,
    NodeTuning,
    allowed,
    did_you_mean,
    log_folder,
    masked,
    redact,
    state_folder,
)
from .errors import ConfigurationError, HiveNotFound, SettingsError
from .settings_file import SettingsFile, run_file
from .whereabouts import FILE, Moved, moved

__all__ = ["Constants", "NodeTuning", "Settings", "find_hive", "is_hive", "load_settings", "redact"]

HIVE = "HIVEMIND_HIVE"  #: environment variable with the folder of the hive
HIVE_FILE = Path("config") / "hive.py"
OWN_NAMES = frozenset({"HIVE_ROOT", "BASE"})  # a settings file may define these for its own use
SOCKET_PATH_LIMIT = 100  # bytes; sockaddr_un holds 104 on macOS and 108 on Linux
LONGEST_SOCKET_NAME = len("supervisord.sock.4194304")  # supervisord binds <socket>.<pid> and renames it


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one hive, as they hold for this process."""

    constants: Constants
    sources: Mapping[str, str]  # "config/hive.py:12", "HIVE_SETTINGS:3", "environment HIVEMIND_X" or "default"
    hive: Path | None  # the folder that holds config/hive.py; None outside a hive
    state: Path = field(default_factory=lambda: state_folder(os.environ))
    temporary: Path = field(default_factory=lambda: _temporary_folder(os.environ))
    moved: Moved | None = None  # the move by which the hive has come to REDIS_URL

    @property
    def name(self) -> str:
        """The hive's name."""
        return self.constants.HIVE_NAME

    @property
    def redis_url(self) -> str:
        """Where Redis is; empty: the embedded server."""
        return self.constants.REDIS_URL

    @property
    def as_set(self) -> Constants:
        """The constants with the REDIS_URL of before a move: for whom that changes nothing."""
        return self.constants.model_copy(update={"REDIS_URL": self.moved.was}) if self.moved else self.constants

    @property
    def var(self) -> Path:
        """What the hive keeps between runs: its own ``var/``, or outside a hive a folder in the user's state folder."""
        return self.hive / "var" if self.hive else self.state / "hivemind" / self.name

    @property
    def runtime(self) -> Path:
        """Where unix sockets lie: ``var``, or where their paths would be too long a folder of one's own, mode 0700.

        That folder is made here; a ConfigurationError says if somebody else got there first.
        """
        if len(os.fsencode(self.var)) + 1 + LONGEST_SOCKET_NAME <= SOCKET_PATH_LIMIT:
            return self.var
        digest = hashlib.sha256(os.fsencode(self.var)).hexdigest()[:12]
        return _private_folder(self.temporary / f"hivemind-{digest}")

    def log_file(self, name: str, number: int = 0) -> Path:
        """The log file of a node's copy ``number``: ``batsignal.log``, and from 1 on ``batsignal-1.log``.

        hived and the root have one, too. ``logged_in`` is the way back.
        """
        return self.constants.LOG_LOCATION / (f"{name}-{number}.log" if number else f"{name}.log")

    def shown(self) -> dict[str, Any]:
        """Every constant as JSON has it, secrets as ``***``: for people, logs and web pages."""
        values = self.constants.model_dump(mode="json")
        return {name: masked(value, name) if value else value for name, value in values.items()}


def logged_in(file: Path) -> str:
    """The instance whose log ``file`` is by its name: ``batsignal.1`` for ``batsignal-1.log``."""
    name, dash, number = file.stem.rpartition("-")
    return f"{name}.{number}" if dash and number.isdecimal() else f"{file.stem}.0"


def find_hive(start: Path, explicit: str | None, environ: Mapping[str, str], what: str = "--hive") -> Path | None:
    """The hive to use: ``explicit``, else ``HIVEMIND_HIVE``, else the first one from ``start`` upwards, else
    the only one a level below ``start``, else None: the hive ``default``.

    Raises HiveNotFound if what was named is none; ``what`` is how ``explicit`` was given.
    """
    for name, given in ((explicit, what), (environ.get(HIVE), HIVE)):
        if name:
            return _named_hive(start, name, given)
    for folder in (start.absolute(), *start.absolute().parents):
        if is_hive(folder):
            return folder
    below = hives_below(start.absolute())
    return below[0] if len(below) == 1 else None


def is_hive(folder: Path) -> bool:
    """Whether ``folder`` holds ``config/hive.py``."""
    try:
        return (folder / HIVE_FILE).is_file()
    except OSError:
        return False


def hives_below(folder: Path) -> list[Path]:
    """The hives that are direct sub-folders of ``folder``."""
    try:
        return sorted(path for path in folder.iterdir() if is_hive(path))
    except OSError:
        return []


def load_settings(hive: Path | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of ``hive`` (None: of the hive ``default``, which has no file).

    Raises SettingsError for a wrong value and ConfigurationError for a file that fails, both with file and line.
    """
    hive = hive.absolute() if hive else None
    files = _run_files(hive, environ)
    values: dict[str, Any] = dict(files[-1][1].values) if files else {}
    sources = dict.fromkeys(Constants.model_fields, "default")
    for label, file in files:
        _refuse_unknown(file)
        sources |= {name: f"{label}:{file.line(name) or 1}" for name in file.given if name in sources}
    values = {name: value for name, value in values.items() if name in sources}
    for name, source, value in _from_environment(environ):
        values[name], sources[name] = value, source
    if not values.get("LOG_LOCATION"):
        values["LOG_LOCATION"] = log_folder(environ, str(values.get("HIVE_NAME", "default")))
        sources["LOG_LOCATION"] = "default"
    try:
        constants = Constants.model_validate(values, context={"base": hive or Path.cwd()})
    except ValidationError as error:
        raise _settings_error(error.errors()[0], sources, [file for _, file in files]) from None
    return led(Settings(constants, sources, hive, state_folder(environ), _temporary_folder(environ)))


def led(settings: Settings) -> Settings:
    """``settings`` with the REDIS_URL that the hive has moved to, if they say that, or where it was."""
    found = moved(settings.var)
    if found is None or settings.redis_url not in (found.to, *found.sources):
        return settings
    if settings.redis_url == found.to:
        return replace(settings, moved=found)
    source = f"var/{FILE} (hm redis move), instead of {settings.sources.get('REDIS_URL', 'default')}"
    constants = settings.constants.model_copy(update={"REDIS_URL": found.to})
    sources = {**settings.sources, "REDIS_URL": source}
    return replace(settings, constants=constants, sources=sources, moved=found)


def _temporary_folder(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())


def _private_folder(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o77):
        raise ConfigurationError(f"{path} is for this hive's sockets, but others can reach it: remove it")
    return path


def _named_hive(start: Path, name: str, what: str) -> Path:
    folder = Path(os.path.normpath(start.absolute() / Path(name).expanduser()))
    if is_hive(folder):
        return folder
    below = hives_below(folder)
    hint = f" Did you mean {below[0]}?" if below else ""
    raise HiveNotFound(f"{what} {folder}: there is no hive, for there is no {HIVE_FILE} in it.{hint}")


def _run_files(hive: Path | None, environ: Mapping[str, str]) -> list[tuple[str, SettingsFile]]:
    files: list[tuple[str, SettingsFile]] = []
    if hive is not None:
        files.append((str(HIVE_FILE), run_file(hive / HIVE_FILE, {})))
    if environ.get("HIVE_SETTINGS"):
        before = files[-1][1].values if files else {}
        files.append(("HIVE_SETTINGS", run_file(Path(environ["HIVE_SETTINGS"]).expanduser().absolute(), before)))
    return files


def _refuse_unknown(file: SettingsFile) -> None:
    for name in file.given:
        if name not in Constants.model_fields and name not in OWN_NAMES:
            hint = did_you_mean(name, Constants.model_fields)
            reason = f"there is no such setting{hint}; begin names of your own with _"
            raise SettingsError(name, masked(file.values.get(name), name), reason, str(file.path), file.line(name))


def _from_environment(environ: Mapping[str, str]) -> Iterable[tuple[str, str, Any]]:
    for name in Constants.model_fields:
        variable = f"HIVEMIND_{name}"
        if variable in environ:
            yield name, f"environment {variable}", _parsed(name, environ[variable], variable)
        if environ.get(f"{variable}_FILE"):
            variable = f"{variable}_FILE"
            yield name, f"environment {variable}", _parsed(name, _content(name, environ[variable], variable), variable)


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What of ``environ`` settings are read from."""
    names = [f"HIVEMIND_{name}" for name in Constants.model_fields]
    read = {"HIVE_SETTINGS", *names, *(f"{name}_FILE" for name in names)}
    return {name: value for name, value in environ.items() if name in read}


def _parsed(name: str, text: str, variable: str) -> Any:
    default = Constants.model_fields[name].default
    if not isinstance(default, list | dict):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        value, kind = (text, "list") if isinstance(default, list) else ("***", "object")
        raise SettingsError(name, value, f"must be a JSON {kind}", f"environment {variable}") from None


def _content(name: str, path: str, variable: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(name, path, f"this file cannot be read: {error}", f"environment {variable}") from None


def _settings_error(error: ErrorDetails, sources: Mapping[str, str], files: Sequence[SettingsFile]) -> SettingsError:
    """Our error for pydantic's: the constant, the value without secrets, what is allowed, file and line."""
    constant, *path = error["loc"]
    what = ".".join(str(step) for step in error["loc"])
    value = masked(error["input"], str(error["loc"][-1]))
    if sources.get(str(constant)) == "default" and constant == "LEASE":  # then the HEARTBEAT that was given is too long
        constant, path = "HEARTBEAT", []
    source = sources[str(constant)]
    if source.startswith("environment ") or not files:
        return SettingsError(what, value, allowed(error), source)
    file = next((f for f in reversed(files) if str(constant) in f.given), files[0])
    return SettingsError(what, value, allowed(error), str(file.path), file.line(str(constant), path))
