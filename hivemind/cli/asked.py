"""Asking before something is destroyed."""

from __future__ import annotations

import click

from . import output


def confirmed(question: str, otherwise: str) -> bool:
    """Whether somebody says yes. Raises ClickException, with ``otherwise``, if nobody is there to ask."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:  # nobody is there to ask, or Ctrl-C
        output.note("")
        raise click.ClickException(f"nobody said yes, and {otherwise}: --yes does it without asking") from None
