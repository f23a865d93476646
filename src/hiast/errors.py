"""Exceptions whose message is shown to the user without a traceback, and a check that raises one."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any


class InputError(ValueError):
    """Raised when a file, key or value of the user does not fit.

    The message is one sentence that names it and says what to do. Commands print it and exit with code 2.
    """


class RunError(RuntimeError):
    """Raised when a run cannot continue for an external reason. The message says what to do."""


def check_not_negative(what: str, **values: Any) -> None:
    """Refuse settings that are not finite numbers of at least 0.

    Args:
        what: What the settings belong to, for the message.
        values: Settings by name.

    Raises:
        InputError: A value is negative, not finite, or not a number.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not (math.isfinite(value) and float(value) >= 0):
            raise InputError(f"{what}: {name} is {value}; give a number that is 0 or more.")
