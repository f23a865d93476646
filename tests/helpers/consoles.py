"""Consoles that keep what is printed."""

from __future__ import annotations

import io

from rich.console import Console


def terminal() -> Console:
    """A terminal of 200 columns."""
    return Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)


def file() -> Console:
    """A file."""
    return Console(file=io.StringIO(), force_terminal=False)
