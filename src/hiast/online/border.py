"""Finding margins without labels: what stands still at the border while the scene changes.

A hood or a mount looks nearly the same in all images of one camera, and a border of rectification is constant.
Being wrong costs more here than finding nothing: a margin takes labels away from every image. So a side counts
only if whole rows (or columns) stand still over many images, the middle of the images does not, and the still part
ends at the same edge in nearly all of them. White or night sky at the top and the dark around objects under a
microscope do not pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.online.margins import Margins

_WHOLE = 0.95
"""Share of a row's pixels that must be still for the row to count as still."""
_MOVING = 0.5
"""The middle of the images, and a row beyond an edge, hold less than this share of still pixels."""
_EDGE = 0.05
"""The edge is at most this share of the image thick."""
_AGREEING = 0.75
"""Share of the images that must show the edge."""
_CONTRAST = 3
"""Beyond the edge the gray level leaves that of the margin by more than this many times what counts as still."""
_STRIPS = 32
"""Pieces of a row whose mean gray levels are kept of each image."""
_WHITE = 250
"""Gray levels from here on may be an overexposed sky, whatever else speaks for a margin."""


class FoundMargins(NamedTuple):
    """What was found.

    Attributes:
        margins: Margins in pixels of the images; all 0 where nothing was found.
        images: Number of images that were looked at.
        explanation: Why, in sentences for the user.
    """

    margins: Margins
    images: int
    explanation: str


def find_margins(
    images: Iterable[NDArray[np.uint8]], still: float = 4.0, most: float = 0.35, at_least: int = 30
) -> FoundMargins:
    """Look for rows and columns at the border that are the same in all images.

    The standard deviation of the gray level over the images says how much a pixel changes. A side has a margin where
    at least 95 % of each row's pixels, from the edge of the image on, change by less than ``still``, while in the
    central half of the image fewer than half of the pixels stand that still. At the edge, within 5 % of the image
    beyond the margin, at least three quarters of the images must leave the margin's gray level by more than three
    times ``still``. A margin that is white or larger than ``most`` is not believed.

    Args:
        images: uint8 [H,W,3], all of one size, in any order; different places and times of one camera. A few hundred
            are enough; 32 bytes are kept for each of their rows and columns.
        still: Standard deviation in gray levels (0..255) below which a pixel stands still; above 0.
        most: Largest share of height or width that a margin may take, 0 to 0.5.
        at_least: Smallest number of images from which margins are concluded.

    Returns:
        Margins in pixels. Nothing is found, and the explanation says so, if the images are too few, differ in size or
        hardly change in the middle.

    Raises:
        InputError: An image is not uint8 [H,W,3] or a setting is out of range.
    """
    if not still > 0 or not 0 <= most <= 0.5:
        raise InputError(
            f"margins: still is {still} and most {most}; give still above 0 and most from 0 to 0.5."
        )
    seen = _Seen()
    for image in images:
        if not seen.add(image):
            return _nothing(seen, "The images differ in size, so no common border was looked for.")
    if seen.count < max(at_least, 1):
        return _nothing(seen, f"{seen.count} images are too few to tell; {at_least} are needed.")
    is_still = seen.deviation() < still
    height, width = is_still.shape
    if is_still[height // 4 : height - height // 4, width // 4 : width - width // 4].mean() >= _MOVING:
        return _nothing(seen, "The middle of the images hardly changes either, so no margin can be found.")
    return _judge(seen, is_still, still, most)


def _nothing(seen: _Seen, explanation: str) -> FoundMargins:
    return FoundMargins(Margins(), seen.count, explanation)


def _judge(seen: _Seen, is_still: NDArray[np.bool_], still: float, most: float) -> FoundMargins:
    """Look at each side by itself."""
    rows, columns = np.stack(seen.rows, 1), np.stack(seen.columns, 1)
    sides = {
        "top": (is_still, rows),
        "bottom": (is_still[::-1], rows[::-1]),
        "left": (is_still.T, columns),
        "right": (is_still.T[::-1], columns[::-1]),
    }
    depths, notes = {}, []
    for side, (still_pixels, strips) in sides.items():
        depths[side], doubt = _depth(still_pixels, strips, still, most)
        unit = "rows" if side in ("top", "bottom") else "columns"
        if depths[side]:
            notes.append(f"{depths[side]} {unit} at the {side} stand still.")
        elif doubt:
            notes.append(f"Still {unit} at the {side} are not a margin: {doubt}.")
    margins = Margins(depths["top"], depths["bottom"], depths["left"], depths["right"])
    return FoundMargins(margins, seen.count, " ".join(notes) or "No side stands still.")


@dataclass
class _Seen:
    """Sums over the images, and the mean gray levels of strips of their rows and columns."""

    count: int = 0
    gray: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    square: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    rows: list[NDArray[np.uint8]] = field(default_factory=list)
    columns: list[NDArray[np.uint8]] = field(default_factory=list)

    def add(self, image: NDArray[np.uint8]) -> bool:
        """Add an image uint8 [H,W,3]; false if its size differs from that of those before."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"margins: an image is {image.dtype} {list(image.shape)}; give uint8 [H, W, 3].")
        total = image.sum(2, dtype=np.int64)
        if not self.count:
            self.gray, self.square = np.zeros_like(total), np.zeros_like(total)
        self.count += 1
        if self.gray.shape != total.shape:
            return False
        self.gray += total
        self.square += total**2
        self.rows.append(_strips(total))
        self.columns.append(_strips(total.T))
        return True

    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each pixel's gray level over the images, float64 [H,W]."""
        # The sums are of whole numbers, hence exact, so that a constant pixel has the deviation 0.
        variance = self.count * self.square - self.gray**2
        deviation: NDArray[np.float64] = np.sqrt(variance.astype(np.float64)) / self.count / 3
        return deviation


def _strips(total: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Mean gray levels uint8 [H,strips] of pieces of each row, from R + G + B, [H,W]."""
    width = total.shape[1]
    starts = np.unique(np.arange(_STRIPS) * width // _STRIPS)
    sizes = np.diff([*starts, width])
    strips: NDArray[np.uint8] = (np.add.reduceat(total, starts, axis=1) / (3 * sizes)).astype(np.uint8)
    return strips


def _depth(
    is_still: NDArray[np.bool_], strips: NDArray[np.uint8], still: float, most: float
) -> tuple[int, str]:
    """Rows at the top that are a margin, or 0 and why still rows are none.

    Args:
        is_still: Bool [rows,pixels].
        strips: uint8 [rows,images,strips].
        still: What counts as still, in gray levels.
        most: Largest share of the rows.
    """
    share = is_still.mean(axis=1)
    moving = np.flatnonzero(share < _WHOLE)
    depth = int(moving[0]) if len(moving) else len(share)
    if depth == 0:
        return 0, ""
    if depth > most * len(share):
        return 0, f"they take {depth / len(share):.0%} of the image"
    if np.median(strips[:depth]) >= _WHITE:
        return 0, "they are white and may be sky"
    border = strips[max(0, depth - 3) : depth].astype(np.float64).mean(axis=(0, 1))
    beyond = strips[depth : depth + max(2, round(_EDGE * len(share)))].astype(np.float64)
    leaves = (np.abs(beyond - border) > _CONTRAST * still).mean(axis=2) >= _MOVING
    if leaves.any(axis=0).mean() < _AGREEING:
        return 0, "they do not end at an edge that most images share"
    return depth, ""
