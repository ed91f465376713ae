"""The settings with which a hive was last started or reloaded: they hold for what runs while its own are broken.

A mistake in ``config/hive.py`` must lock nobody out of a hive that runs, and keep nobody down who dies meanwhile: by
these it is looked at and stopped, and what hived starts again runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from .constants import Constants, NodeTuning, redact
from .errors import ConfigurationError
from .settings import HIVE, Settings, find_hive, led, load_settings
from .whole import put

LAST_SETTINGS = "settings.json"  #: in ``var``
NODE_ENVS = Path("run", "environments.json")  #: in ``var``, beside those of the programs: what NODES gives each node


def save_settings(settings: Settings) -> None:
    """Remember ``settings``, for their owner's eyes only; the environments of nodes beside the programs'. Raises
    OSError.
    """
    values = settings.constants.model_dump(mode="json", exclude={"NODES": {"__all__": {"env"}}})
    envs = {name: tuning.env for name, tuning in settings.constants.NODES.items() if tuning.env}
    put(settings.var / NODE_ENVS, orjson.dumps(envs))
    said = {"values": values, "sources": dict(settings.sources)}
    put(settings.var / LAST_SETTINGS, orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


def last_settings(hive: Path) -> Settings | None:
    """The settings with which ``hive`` was last started or reloaded; None if it never was, or they are spoilt.

    What this version does not know, as another version wrote it, is left out.
    """
    found, envs = _read(hive / "var" / LAST_SETTINGS), _read(hive / "var" / NODE_ENVS)
    try:
        values = {name: value for name, value in found["values"].items() if name in Constants.model_fields}
        envs = envs if isinstance(envs, dict) else {}
        nodes = values.get("NODES", {}).items()
        values["NODES"] = {node: {**_known(tuning), "env": envs.get(node, {})} for node, tuning in nodes}
        constants = Constants.model_validate(values, context={"base": hive})
        return led(Settings(constants, dict(found["sources"]), hive.absolute()))
    except (ValidationError, AttributeError, KeyError, TypeError, ValueError):
        return None


def settings_or_applied(environ: Mapping[str, str]) -> tuple[Settings, str]:
    """The settings of the hive that a program of hived's is in; where those are broken, or gone, the ones that were
    applied last, and what is wrong. Raises ConfigurationError where there are none of those either.
    """
    try:
        return load_settings(find_hive(Path.cwd(), None, environ), environ), ""
    except ConfigurationError as error:
        last = last_settings(Path(environ[HIVE])) if environ.get(HIVE) else None
        if last is None:
            raise
        return last, words_of(error)


def fault_of_settings(hive: Path | None, environ: Mapping[str, str]) -> str:
    """What is wrong with the settings of ``hive``, for people; "" if nothing is."""
    try:
        load_settings(hive, environ)
    except ConfigurationError as error:
        return words_of(error)
    return ""


def words_of(error: ConfigurationError) -> str:
    """What it says, to go on from in a sentence."""
    return redact(str(error)).rstrip(".")


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _known(tuning: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tuning.items() if name in NodeTuning.model_fields}
