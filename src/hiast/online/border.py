"""Finding margins without labels: what stands still at the border while the scene changes.

A bonnet or a mount looks nearly the same in all images of one camera, and a border of rectification is constant.
Being wrong costs more here than finding nothing: a margin takes labels away from every image. So a side counts
only if whole rows (or columns) stand still over many images, the middle of the images does not, and the still part
ends at an edge. Bright sky at the top and the dark around objects under a microscope do not pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.online.margins import Margins

_WHOLE = 0.95
"""Share of a row's pixels that must be still for the row to count as still."""
_MOVING = 0.5
"""Beyond an edge, a row has less than this share of still pixels."""
_EDGE = 0.05
"""The edge is at most this share of the image thick."""
_WHITE = 250
"""Gray levels from here on may be an overexposed sky, whatever else speaks for a margin."""


class FoundMargins(NamedTuple):
    """What was found.

    Attributes:
        margins: In pixels of the images; all 0 where nothing was found.
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
    central half of the image fewer than half of the pixels stand that still, and within 5 % of the image beyond the
    margin a row has less than half still pixels. A margin that is white or larger than ``most`` is not believed.

    Args:
        images: uint8 [H,W,3], all of one size, in any order; different places and times of one camera.
        still: Standard deviation in gray levels (0..255) below which a pixel stands still; above 0.
        most: Largest share of height or width that a margin may take, 0 to 0.5.
        at_least: From fewer images nothing is concluded.

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
    count, one_size, gray, square = _sums(images)
    if not one_size:
        return FoundMargins(
            Margins(), count, "The images differ in size, so no common border was looked for."
        )
    if count < at_least or gray is None or square is None:
        return FoundMargins(Margins(), count, f"{count} images are too few to tell; {at_least} are needed.")
    mean = gray / count
    # Sums of squares of whole numbers are exact, so that a constant pixel has the variance 0.
    is_still = np.maximum(square / count - mean**2, 0) < (3 * still) ** 2
    height, width = is_still.shape
    middle = is_still[height // 4 : height - height // 4, width // 4 : width - width // 4]
    if middle.mean() >= _MOVING:
        return FoundMargins(
            Margins(), count, "The middle of the images hardly changes either, so nothing can be told."
        )
    return _conclude(is_still, mean / 3, most, count)


def _sums(
    images: Iterable[NDArray[np.uint8]],
) -> tuple[int, bool, NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Number of images, whether all have one size, and sums of R + G + B and of its square for each pixel."""
    count, gray, square = 0, None, None
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"margins: an image is {image.dtype} {list(image.shape)}; give uint8 [H, W, 3].")
        total = image.sum(2, dtype=np.int64)
        count += 1
        if gray is None or square is None:
            gray, square = total, total**2
        elif gray.shape != total.shape:
            return count, False, None, None
        else:
            gray += total
            square += total**2
    return count, True, gray, square


def _conclude(
    is_still: NDArray[np.bool_], mean: NDArray[np.float64], most: float, count: int
) -> FoundMargins:
    views = {
        "top": (is_still, mean),
        "bottom": (is_still[::-1], mean[::-1]),
        "left": (is_still.T, mean.T),
        "right": (is_still.T[::-1], mean.T[::-1]),
    }
    depths, notes = {}, []
    for side, (still_rows, gray) in views.items():
        depths[side], doubt = _depth(still_rows, gray, most)
        unit = "rows" if side in ("top", "bottom") else "columns"
        if depths[side]:
            notes.append(f"{depths[side]} {unit} at the {side} stand still.")
        elif doubt:
            notes.append(f"Still {unit} at the {side} are no margin: {doubt}.")
    return FoundMargins(Margins(**depths), count, " ".join(notes) or "No side stands still.")


def _depth(is_still: NDArray[np.bool_], gray: NDArray[np.float64], most: float) -> tuple[int, str]:
    """Rows at the top that are a margin, or 0 and why still rows are none."""
    share = is_still.mean(axis=1)
    moving = np.flatnonzero(share < _WHOLE)
    depth = int(moving[0]) if len(moving) else len(share)
    if depth == 0:
        return 0, ""
    if depth > most * len(share):
        return 0, f"they take {depth / len(share):.0%} of the image"
    edge = share[depth : depth + max(2, round(_EDGE * len(share)))]
    if not (edge < _MOVING).any():
        return 0, "they end without an edge"
    if np.median(gray[:depth]) >= _WHITE:
        return 0, "they are white and may be sky"
    return depth, ""
