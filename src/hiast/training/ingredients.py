"""Ingredients of online self-training as plain values, and back, so that a checkpoint describes them without pickle."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from hiast import online
from hiast.errors import InputError
from hiast.plain import plain

_CLASS = "ingredient"
"""Key that holds the name of the class, which is looked up in ``hiast.online`` and nowhere else."""


def to_plain(value: Any) -> Any:
    """An ingredient, or a container of ingredients, as dictionaries, lists and plain values.

    Examples:
        >>> to_plain(online.ClassMix())
        {'ingredient': 'ClassMix', 'classes_of': 'image', 'ignored_counts': True, 'context': 0}
    """
    if isinstance(value, np.generic | np.ndarray):
        return plain(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    name = type(value).__name__
    if getattr(online, name, None) is not type(value):
        # An ingredient of the user's own class cannot be rebuilt; its name is kept for the record.
        return {_CLASS: None, "class": f"{type(value).__module__}.{name}"}
    return {_CLASS: name, **{key: to_plain(item) for key, item in _arguments(value).items()}}


def from_plain(value: Any) -> Any:
    """The inverse of ``to_plain``. An ingredient of a class outside ``hiast.online`` becomes None.

    Raises:
        InputError: The values name a class that this version does not know.
    """
    if isinstance(value, Mapping):
        if _CLASS not in value:
            return {key: from_plain(item) for key, item in value.items()}
        name = value[_CLASS]
        if name is None:
            return None
        if name not in online.__all__ or not isinstance(getattr(online, name), type):
            raise InputError(
                f"The checkpoint names an ingredient '{name}', which this version does not know."
            )
        arguments = {key: from_plain(item) for key, item in value.items() if key != _CLASS}
        return getattr(online, name)(**arguments)
    if isinstance(value, list):
        # An ingredient of one's own is left out, see above; it is needed for training alone.
        found = [(item, from_plain(item)) for item in value]
        return tuple(built for item, built in found if item is None or built is not None)
    return value


def unknown_parts(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the arguments that were ingredients of one's own, which ``from_plain`` cannot rebuild."""
    return tuple(
        name
        for name, value in arguments.items()
        if isinstance(value, Mapping) and value.get(_CLASS, name) is None
    )


def _arguments(value: Any) -> dict[str, Any]:
    """Constructor arguments of an ingredient, read from the attributes of the same name."""
    if dataclasses.is_dataclass(value) and not isinstance(value, nn.Module):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    names = [name for name in inspect.signature(type(value).__init__).parameters if name != "self"]
    return {name: getattr(value, name) for name in names}
