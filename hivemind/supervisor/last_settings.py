"""The settings with which a hive was last started or reloaded: they hold for what runs while its own are broken.

A mistake in ``config/hive.py`` must lock nobody out of a hive that runs: by these it is looked at and stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..settings import Constants, NodeTuning, Settings, led
from .files import read_json, write_json
from .paths import LAST_SETTINGS, HivePaths


def save_settings(paths: HivePaths, settings: Settings) -> None:
    """Remember ``settings``, for their owner's eyes only, and without the environments of nodes. Raises OSError."""
    values = settings.constants.model_dump(mode="json", exclude={"NODES": {"__all__": {"env"}}})
    write_json(paths.settings, {"values": values, "sources": dict(settings.sources)})


def last_settings(hive: Path) -> Settings | None:
    """The settings with which ``hive`` was last started or reloaded; None if it never was, or they are spoilt.

    What this version does not know, as another version wrote it, is left out.
    """
    found = read_json(hive / "var" / LAST_SETTINGS)
    try:
        values = {name: value for name, value in found["values"].items() if name in Constants.model_fields}
        values["NODES"] = {node: _known(tuning) for node, tuning in values.get("NODES", {}).items()}
        constants = Constants.model_validate(values, context={"base": hive})
        return led(Settings(constants, dict(found["sources"]), hive.absolute()))
    except (ValidationError, AttributeError, KeyError, TypeError, ValueError):
        return None


def _known(tuning: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tuning.items() if name in NodeTuning.model_fields}
