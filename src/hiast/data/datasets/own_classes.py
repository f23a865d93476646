"""Classes of a dataset of one's own, from the keys of a YAML file."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

from hiast.classes import CITYSCAPES_19, Color, LabelSpace
from hiast.data.datasets.label_tables import parse_color
from hiast.errors import InputError


def label_space(names: Sequence[str], colors: Mapping[str, str] | None = None) -> LabelSpace:
    """Classes of a dataset of one's own.

    Args:
        names: Class names in the order of their indices.
        colors: Class name -> "red,green,blue" or "#rrggbb". A class without one gets that of the Cityscapes
            class of the same name, or one from around the color circle.

    Raises:
        InputError: Names are not usable, or a color is given to a class that does not exist.
    """
    names = _checked_names(names)
    given = dict(zip(CITYSCAPES_19.names, CITYSCAPES_19.colors, strict=True))
    for name, color in (colors or {}).items():
        if name not in names:
            raise InputError(f"A color is given to '{name}', which is not a class: {', '.join(names)}.")
        given[name] = parse_color(color)
    try:
        return LabelSpace(names, tuple(given.get(name, _hue(i)) for i, name in enumerate(names)))
    except ValueError as error:
        raise InputError(str(error)) from error


def _checked_names(names: Any) -> tuple[str, ...]:
    """Class names as text.

    Raises:
        InputError: They are not a list, or a name is something that YAML does not read as text.
    """
    if isinstance(names, Mapping) and list(names) == list(range(len(names))):
        names = list(names.values())
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise InputError(f"names is {names!r}; write a list such as [road, sky].")
    for name in names:
        if name is None or isinstance(name, bool):
            raise InputError(
                f"names holds {name}: YAML reads null, on, off, yes and no without quotes as something else than text; "
                "write such a name in quotes."
            )
        if not isinstance(name, str | int | float):
            raise InputError(f"names holds {name!r}; class names have to be text.")
    return tuple(map(str, names))


def _hue(index: int) -> Color:
    # Steps of the golden ratio spread any number of hues evenly.
    red, green, blue = colorsys.hsv_to_rgb(index * 0.6180339887 % 1, 0.65, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)
