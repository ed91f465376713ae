"""The tests of gotham: run `pytest` (`pip install pytest`) in the hive's folder."""

from pathlib import Path

from hivemind.settings import load_settings


def test_the_settings_are_sound() -> None:
    """config/hive.py loads, and names this hive."""
    hive = Path(__file__).resolve().parent.parent
    assert load_settings(hive, environ={}).name == "gotham"
