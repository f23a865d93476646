"""Labels of one folder that are coded in more than one way: permuted palettes, ids beside colors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LARGEST_ID = 31
"""Gray values from 1 up to here are ids rather than colors, which would hardly differ from black."""


@dataclass
class Palettes:
    """The palettes of label files: what color each index has, and where.

    Attributes:
        colors: Index -> color as "red,green,blue" -> the first file in which the index has it.
    """

    colors: dict[int, dict[str, Path]] = field(default_factory=dict)

    def add(self, path: Path, palette: Mapping[int, str]) -> None:
        """Add the palette of a file, as ``palettes.palette_colors`` gives it."""
        for index, color in palette.items():
            self.colors.setdefault(index, {}).setdefault(color, path)

    def permuted(self) -> str | None:
        """Says that the same colors have different indices in different files; None: they have not.

        Programs that reduce the colors of a picture sort palettes anew for each file, so that an index does not stand
        for one class. Colors that differ without being permuted are a matter of taste, and indices count.

        Examples:
            >>> palettes = Palettes()
            >>> palettes.add(Path("a.png"), {0: "0,0,0", 1: "255,0,0"})
            >>> palettes.add(Path("b.png"), {0: "255,0,0", 1: "0,0,255"})
            >>> palettes.permuted()
            'index 0 is color 0,0,0 in a.png and color 255,0,0 in b.png'
        """
        places: dict[str, set[int]] = {}
        for index, colors in self.colors.items():
            for color in colors:
                places.setdefault(color, set()).add(index)
        for index, colors in sorted(self.colors.items()):
            if len(colors) > 1 and any(len(places[color]) > 1 for color in colors):
                (first, one), (second, other) = list(colors.items())[:2]
                return f"index {index} is color {first} in {one} and color {second} in {other}"
        return None


def id_colors(colors: Collection[object]) -> set[str]:
    """Those colors of one label that are ids read as gray values, as "1,1,1"; none if the label holds other colors too.

    Examples:
        >>> sorted(id_colors({"0,0,0": 5, "1,1,1": 2, "2,2,2": 1}))
        ['1,1,1', '2,2,2']
        >>> id_colors({"0,0,0": 5, "1,1,1": 2, "200,0,0": 1}), id_colors({"0,0,0": 5, "128,128,128": 1})
        (set(), set())
    """
    values = [str(color).split(",") for color in colors]
    if any(len(set(parts)) > 1 or len(parts) != 3 for parts in values):
        return set()
    return {",".join(parts) for parts in values if is_small_id(int(parts[0]))}


def is_small_id(value: object) -> bool:
    """Whether a gray value is rather an id than a color."""
    return isinstance(value, int) and 0 < value <= _LARGEST_ID


def two_codings(colored: Path, gray: Path) -> str:
    """The sentence about a folder of colored labels beside labels of ids."""
    return (
        f"Some labels hold colors, such as {colored}, and others ids as gray values, such as {gray}: save all labels "
        "of a folder in one coding."
    )
