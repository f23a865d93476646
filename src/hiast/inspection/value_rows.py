"""The table of all ids and colors in the labels of a part: share, class, a piece of an image, and YAML to copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.classes import Color
from hiast.data.datasets.label_tables import parse_color
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import MINUS_ONE
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.inspection.class_names import street_colors
from hiast.inspection.file_set import Part, Summary
from hiast.inspection.proposal import dumped
from hiast.inspection.values import MAX_VALUES, Value, ValueTable

THUMBNAIL = (60, 90)
"""(height, width) of a thumbnail in pixels."""
_PICTURES = 60
"""Values that get a thumbnail, the most frequent ones; each is a label and an image to read."""
_CLOSE = 24
"""Height in pixels below which a region is shown with what is around it."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class ValueRow:
    """One value.

    Attributes:
        value: Id as the dataset file writes it (-1 for 65535), or color as "red,green,blue".
        share: Share of the pixels of all labels, 0 to 1.
        images: Images that hold it.
        meaning: Name of its class in the dataset; None: it is ignored.
        named: Whether the dataset file says so.
        color: The color itself, or of an id that of its class in the scenario; None for ids of no such class.
        thumbnail: Where most of it is, uint8 [H, W, 3], RGB, the rest of the picture darkened; None: without.
    """

    value: int | str
    share: float
    images: int
    meaning: str | None
    named: bool
    color: Color | None
    thumbnail: Picture | None = None


def value_rows(part: Part, summary: Summary, *, thumbnails: bool = True) -> list[ValueRow]:
    """The rows of a part, by id, or colors the most frequent first; at most ``values.MAX_VALUES``.

    Args:
        part: Files.
        summary: What they add up to.
        thumbnails: Whether to read images again to show where the values are.
    """
    table = summary.found
    meaning = _meaning(part, table)
    pictured = sorted(table.values, key=lambda value: -table.values[value].pixels)[:_PICTURES]
    pairs = {pair.image: pair for pair in part.listing.pairs}
    rows = []
    for value in table.frequent:
        name = meaning.get(value)
        pair = pairs.get(table.values[value].example or Path())
        small = (
            _thumbnail(part, pair, value) if thumbnails and pair is not None and value in pictured else None
        )
        rows.append(
            ValueRow(
                value=-1 if value == MINUS_ONE else value,
                share=table.share(value),
                images=table.values[value].images,
                meaning=name,
                named=value in meaning,
                color=_color(part, value),
                thumbnail=small,
            )
        )
    return rows


def as_yaml(part: Part, summary: Summary) -> str:
    """The values as the dataset file would name them.

    What is named keeps its class. A color that is not gets the class that it stands for in Cityscapes, if the dataset
    has that class; the rest is null.
    """
    table = summary.found
    usual = street_colors() if table.colors else {}
    lines = []
    for row in value_rows(part, summary, thumbnails=False):
        value = f'"{row.value}"' if table.colors else str(row.value)
        likely = usual.get(row.value)
        name = likely if not row.named and likely in part.listing.classes.names else row.meaning
        note = "" if row.named else ", not named yet"
        lines.append(f"  {value}: {dumped(name)}   # {100 * row.share:.2f} %{note}")
    more = len(table.values) - MAX_VALUES
    if more > 0:
        lines.append(f"  # and {more:,} more, which are rarer")
    return "\n".join(["label_colors:" if table.colors else "ids:", *lines])


def _meaning(part: Part, table: ValueTable) -> Mapping[Value, str | None]:
    """Value -> class of the dataset, or None to ignore it; values that the dataset file does not name are left out."""
    listing = part.listing
    names = {raw: listing.classes.names[index] for raw, index in listing.ids.items()}
    named: dict[int, str | None] = {**dict.fromkeys(listing.void - listing.assumed), **names}
    decode = listing.decode
    if not table.colors:
        return cast(dict[Value, str | None], named)
    if not isinstance(decode, ColorIds):  # labels that hold colors where ids are expected
        return {}
    return {decode.named([raw])[0]: name for raw, name in named.items()}


def _color(part: Part, value: Value) -> Color | None:
    if isinstance(value, str):
        return parse_color(value)
    index = part.ids.get(value)
    return None if index is None else part.classes.colors[index]


def _thumbnail(part: Part, pair: Pair, value: Value) -> Picture | None:
    """The part of an image where a value is, the rest of it darkened; None: a file cannot be read any more."""
    if pair.label is None:
        return None
    try:
        where = _where(part, pair.label, value)
        image = part.listing.images.read(pair.image, part.max_pixels)
    except InputError:
        return None
    if where.shape != image.shape[:2] or not where.any():
        return None
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    top, bottom = _span(int(rows[0]), int(rows[-1]), where.shape[0])
    left, right = _span(int(columns[0]), int(columns[-1]), where.shape[1])
    piece = image[top:bottom, left:right].copy()
    outside = ~where[top:bottom, left:right]
    piece[outside] //= 3
    height, width = piece.shape[:2]
    scale = min(THUMBNAIL[0] / height, THUMBNAIL[1] / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: Picture = cv2.resize(piece, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small


def _where(part: Part, label: Path, value: Value) -> NDArray[np.bool_]:
    """Pixels of a label that hold a value, bool [H, W]."""
    if isinstance(value, str):
        colored: NDArray[np.bool_] = ColorIds({parse_color(value): 1})(label, part.max_pixels) == 1
        return colored
    found: NDArray[np.bool_] = part.listing.decode(label, part.max_pixels) == value
    return found


def _span(first: int, last: int, length: int) -> tuple[int, int]:
    """Rows or columns to show: those that hold the value, and some around."""
    around = max(_CLOSE // 2, (last - first) // 5)
    return max(0, first - around), min(length, last + 1 + around)
