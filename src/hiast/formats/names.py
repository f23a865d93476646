"""Class names and colors as annotation tools need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hiast.classes import IGNORED, Color, LabelSpace
from hiast.errors import InputError

Key = TypeVar("Key", int, Color)
BLACK: Color = (0, 0, 0)

NOT_A_CLASS = frozenset(
    {
        "background",
        "__background__",
        "_background_",
        "__ignore__",
        "ignore",
        "ignored",
        "unlabeled",
        "unlabelled",
        "void",
    }
)
"""Names (in lower case) that tools give to pixels of no class. They are ignored unless a class has that name."""


def distinct_colors(classes: LabelSpace) -> tuple[Color, ...]:
    """One RGB color per class so that a color picture can be read back.

    Black stands for ignored pixels in color pictures. A class that is black, or that has the color of an earlier
    class, gets the first free color of the PASCAL VOC color map instead.
    """
    colors: list[Color | None] = []
    for color in classes.colors:
        colors.append(None if color == BLACK or color in colors else color)
    free = (color for color in voc_colors()[1:] if color not in colors)
    return tuple(next(free) if color is None else color for color in colors)


def voc_colors() -> tuple[Color, ...]:
    """The color map of PASCAL VOC (development kit, VOClabelcolormap): 256 different colors, black first.

    Bit ``3 * n + channel`` of the index is bit ``7 - n`` of the channel.
    """
    colors = np.zeros((256, 3), np.int64)
    index = np.arange(256)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return tuple((int(r), int(g), int(b)) for r, g, b in colors)


def name_of_ignored(classes: LabelSpace) -> str:
    """The name that an export gives to ignored pixels: "background", or another one where that is a class."""
    taken = {name.lower() for name in classes.names}
    choices = ("background", "ignored", "unlabeled", "void", "__ignore__")
    free = [name for name in choices if name not in taken]
    if not free:
        raise InputError(
            f"One of the names {', '.join(choices)} must be free for ignored pixels: rename a class."
        )
    return free[0]


@dataclass(frozen=True)
class NameTable:
    """Turns the names of classes in a file into class indices.

    Args:
        classes: Class names in the order of their indices.
        ignored: Further names whose pixels are ignored.
    """

    classes: tuple[str, ...]
    ignored: frozenset[str]

    @staticmethod
    def of(classes: Sequence[str], ignored: Iterable[str] = ()) -> NameTable:
        """Table for some class names.

        Raises:
            InputError: ``classes`` is one string, empty, too long, or names a class twice.
        """
        if isinstance(classes, str) or isinstance(ignored, str):
            raise InputError("Class names must be a list of names, not one string.")
        names = tuple(classes)
        if not 1 <= len(names) <= IGNORED or len(set(names)) != len(names):
            raise InputError(f"Class names must be 1 to 255 different names, not {list(names)}.")
        return NameTable(names, frozenset(ignored))

    def index(self, name: str, where: object) -> int:
        """Class index of a name, 255 for a name that stands for no class.

        Args:
            name: Name in the file.
            where: The file, for the message.

        Raises:
            InputError: The name is unknown.
        """
        if name in self.classes:
            return self.classes.index(name)
        if name in self.ignored or name.lower() in NOT_A_CLASS:
            return IGNORED
        raise InputError(
            f"{where} names the class '{name}', which is none of {', '.join(self.classes)}: "
            "add it to the classes or to the names that are ignored (ignored)."
        )

    def split(self, names: Mapping[Key, str]) -> tuple[dict[Key, int], dict[Key, str]]:
        """Class indices of some values or colors, 255 for ignored; and the names that are unknown.

        Files often list classes that no picture holds, so that an unknown name is an error only where it is used.
        """
        indices: dict[Key, int] = {}
        unknown: dict[Key, str] = {}
        for key, name in names.items():
            if name in self.classes or name in self.ignored or name.lower() in NOT_A_CLASS:
                indices[key] = self.index(name, "")
            else:
                unknown[key] = name
        return indices, unknown
