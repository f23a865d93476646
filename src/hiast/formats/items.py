"""What is exported: one labeled image at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED, LabelSpace
from hiast.errors import InputError

Labels = NDArray[np.uint8]
"""Label map uint8 [H, W]: class indices, 255 for ignored pixels."""
Size = tuple[int, int]
"""(height, width) in pixels."""
Images = Literal["leave", "copy", "link"]
"""What an export does with the images: refer to them where they are, copy them, or link to them."""


@dataclass(frozen=True, eq=False)
class Item:
    """One image with its labels.

    Attributes:
        name: Path of the image below its dataset, with "/" and without suffix; unique in an export.
        labels: Label map uint8 [H, W]; 255 marks ignored pixels.
        image: Image file. It is opened only when it is copied.
        confidence: Confidence of each label, float32 [H, W] from 0 to 1, or None.
    """

    name: str
    labels: Labels
    image: Path
    confidence: NDArray[np.float32] | None = None

    @property
    def size(self) -> Size:
        """(height, width)."""
        height, width = self.labels.shape
        return height, width

    @property
    def file_name(self) -> str:
        """Path of the image within an export: the name with the suffix of the image file."""
        return self.name + self.image.suffix

    def score(self, where: NDArray[np.bool_]) -> float | None:
        """Mean confidence of the pixels in ``where`` (bool [H, W]), rounded to 6 digits.

        None: the item has no confidence, or ``where`` is empty.
        """
        if self.confidence is None or not where.any():
            return None
        return round(float(self.confidence[where].mean(dtype=np.float64)), 6)


def checked(items: Iterable[Item], classes: LabelSpace) -> Iterator[Item]:
    """The items, one by one, each checked before it is given out.

    Raises:
        InputError: A name occurs twice or leads out of the folder, a label map is of another shape or dtype or
            holds a class that does not exist, or a confidence map does not fit.
    """
    seen: set[str] = set()
    for item in items:
        check_name(item.name)
        if item.name in seen:
            raise InputError(f"Two items are called '{item.name}': give each image its own name.")
        seen.add(item.name)
        _check_arrays(item, len(classes))
        yield item


def check_name(name: str, where: str = "") -> None:
    """Refuse a name that does not stay below its folder or that text files cannot hold.

    Raises:
        InputError: The name is empty, absolute, or has "..", a backslash, a line break or outer spaces.
    """
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
    if not inside or "\\" in name or ":" in path.parts[0] or name.strip() != name or not name.isprintable():
        raise InputError(
            f"{where or 'An item'} has the name '{name}', which cannot be used: "
            "give a relative path with '/', without '..', line breaks and outer spaces."
        )


def _check_arrays(item: Item, classes: int) -> None:
    labels, confidence = item.labels, item.confidence
    if labels.ndim != 2 or labels.dtype != np.uint8 or 0 in labels.shape:
        raise InputError(
            f"{item.name}: labels must be uint8 [H, W], not {labels.dtype} {list(labels.shape)}."
        )
    known = np.zeros(256, np.bool_)
    known[:classes] = True
    known[IGNORED] = True
    strange = np.flatnonzero((np.bincount(labels.ravel(), minlength=256) > 0) & ~known)
    if strange.size:
        raise InputError(
            f"{item.name}: label {strange[0]} is none of the {classes} classes (0 to {classes - 1}, or 255)."
        )
    if confidence is None:
        return
    if confidence.shape != labels.shape or not np.issubdtype(confidence.dtype, np.floating):
        raise InputError(
            f"{item.name}: confidence must be float [H, W] of the labels' size {list(labels.shape)}, "
            f"not {confidence.dtype} {list(confidence.shape)}."
        )
    if not (confidence.min() >= 0 and confidence.max() <= 1):
        raise InputError(f"{item.name}: confidence must lie between 0 and 1.")
