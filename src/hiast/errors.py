"""The one exception for input that a user can put right."""

from __future__ import annotations

import math
from typing import Any


class InputError(ValueError):
    """A file, key or value given by the user does not fit.

    The message is one sentence that names it and says what to do; commands print it and exit with code 2.
    """


class RunError(RuntimeError):
    """A run cannot go on, for a reason that is no mistake of the program: the message says which, and what helps."""


def check_not_negative(what: str, **values: Any) -> None:
    """Refuse settings that are not finite numbers of at least 0, by their names.

    Raises:
        InputError: Names what they belong to, the setting and its value.
    """
    for name, value in values.items():
        if not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
            raise InputError(f"{what}: {name} is {value}; give a number that is 0 or more.")
