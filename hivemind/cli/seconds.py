"""A time in seconds, as an option takes it."""

from __future__ import annotations

import click

LONGEST = 86400.0  #: seconds; a day


class Seconds(click.ParamType[float]):
    """How long, in seconds: more than nothing, a day at the most."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= LONGEST:
            self.fail(f"{value!r}: write seconds, such as 2 or 0.5, {LONGEST:.0f} at the most", param, ctx)
        return seconds
