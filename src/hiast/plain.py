"""Numbers and arrays of numpy as plain values of Python, which checkpoints and JSON can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """``value`` with numbers of Python in the place of numpy's, also within mappings, lists and tuples.

    Arrays become lists. Everything else is left as it is.

    Examples:
        >>> plain({"lr": np.float64(0.5), "sizes": (np.int64(2), 3), "betas": np.array([0.5, 1.0])})
        {'lr': 0.5, 'sizes': (2, 3), 'betas': [0.5, 1.0]}
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value


def make_plain(settings: Any) -> None:
    """Make the fields of a frozen dataclass plain, while it is made."""
    for field in dataclasses.fields(settings):
        object.__setattr__(settings, field.name, plain(getattr(settings, field.name)))
