"""Errors: one tree, drawn in the docstring, and texts that say what and where."""

from __future__ import annotations

import inspect
import re

from hivemind import errors
from hivemind.errors import HivemindError


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, HivemindError)]
    real = {one.__name__: one.__bases__[0].__name__ for one in classes if one is not HivemindError}
    assert drawn_tree(errors.__doc__ or "") == real


def drawn_tree(text: str) -> dict[str, str]:
    """Each error and what it hangs from."""
    above, found = ["HivemindError"], {}
    for branch, name in re.findall(r"^    ((?:│   |    )*[├└]── )(\w+)", text, re.MULTILINE):
        level = len(branch) // len("├── ")
        del above[level:]
        found[name] = above[-1]
        above.append(name)
    return found


def test_every_error_is_caught_by_the_root_and_documented() -> None:
    for name, one in inspect.getmembers(errors, inspect.isclass):
        if issubclass(one, Exception):
            assert issubclass(one, HivemindError), name
            assert one.__doc__, name


def test_a_wrong_setting_names_file_line_constant_value_and_what_is_allowed() -> None:
    error = errors.SettingsError("LEASE", "soon", "a number of seconds above 0", "config/hive.py", 12)
    assert str(error) == "config/hive.py:12: LEASE = 'soon': a number of seconds above 0"
    assert str(errors.SettingsError("LEASE", 0, "above 0", "environment")) == "environment: LEASE = 0: above 0"


def test_a_node_that_cannot_load_points_at_the_fault() -> None:
    assert str(errors.NodeLoadError("batman", "no such thing", "b.py", 3)) == "batman: b.py:3: no such thing"
    assert str(errors.NodeLoadError("batman", "no such thing", "b.py")) == "batman: b.py: no such thing"
    assert str(errors.NodeLoadError("batman", "no such thing")) == "batman: no such thing"


def test_messages_that_did_not_get_through_are_in_the_error() -> None:
    lost = [errors.Undelivered("bat-signal", 7, "OOM command not allowed"), errors.Undelivered("bat-signal", 8, "OOM")]
    refused = errors.Refused(lost)
    assert refused.messages == tuple(lost)
    assert "2 messages, the first on topic 'bat-signal': OOM command" in str(refused)
    assert "2 messages within 1.5 s" in str(errors.Unconfirmed(lost, 1.5))
    assert "within 9.49 s" in str(errors.Unconfirmed(lost, 9.48833))


def test_the_others_say_who_and_which() -> None:
    assert str(errors.InstanceHeld("batman.0", "process 7 on cave")) == "batman.0 is held by process 7 on cave"
    assert str(errors.Fenced("batman.0", 1, 2)) == "batman.0: incarnation 1 has been replaced by 2"
    assert str(errors.PayloadError("$.speed[3]", "NaN is not JSON")) == "payload at $.speed[3]: NaN is not JSON"
