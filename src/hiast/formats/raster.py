"""Polygons to pixels, by the rules of the tools that the polygons come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hiast.formats.items import Labels

_STEPS = 5
"""Parts of a pixel in which COCO places the points of a boundary."""

Points = NDArray[np.float64]
"""Corners float64 [N, 2] of a polygon, (x, y); whole numbers are corners of pixels."""


def fill(labels: Labels, points: Points, value: int) -> None:
    """Fill a polygon in a label map as the COCO API does (rleFrPoly in common/maskApi.c).

    The boundary is followed in steps of a fifth of a pixel. Where it passes the middle of a column of pixels, the
    column changes between outside and inside.

    Args:
        labels: Label map uint8 [H, W], which is changed.
        points: At least three corners, closed or not, also beyond the picture.
        value: The label of the pixels inside.
    """
    height, width = labels.shape
    column, row = _turns(points, height, width)
    if not column.size:
        return
    left, top = int(column.min()), int(row.min())
    columns, rows = int(column.max()) - left + 1, int(row.max()) - top
    # One more row takes the turns at the lower end.
    turns = np.bincount((column - left) * (rows + 1) + row - top, minlength=columns * (rows + 1))
    inside = np.cumsum(turns.reshape(columns, rows + 1), axis=1)[:, :rows] % 2 == 1
    labels[top : top + rows, left : left + columns][inside.T] = value


def _turns(points: Points, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Columns, and the rows from which on inside and outside are exchanged in them."""
    x, y = _boundary(points)
    moved = np.flatnonzero(x[1:] != x[:-1])
    # The column between the two places, and the upper one of the two.
    column = (np.minimum(x[moved], x[moved + 1]) + 0.5) / _STEPS - 0.5
    row = (np.minimum(y[moved], y[moved + 1]) + 0.5) / _STEPS - 0.5
    passed = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    return column[passed].astype(np.int64), np.ceil(np.clip(row[passed], 0, height)).astype(np.int64)


def _boundary(points: Points) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places (x, y) in fifths of a pixel along the closed boundary, one for each step of the longer direction."""
    corners = _toward_zero(_STEPS * points + 0.5)
    start, end = corners, np.roll(corners, -1, axis=0)
    span = np.abs(end - start)
    wide = span[:, 0] >= span[:, 1]
    length = np.where(wide, span[:, 0], span[:, 1])
    keep = length > 0
    start, end, wide, length = start[keep], end[keep], wide[keep], length[keep]
    # A side is traversed from its smaller end, whichever way the polygon goes, so that neighbors share their boundary.
    along = np.where(wide, 0, 1)
    each = np.arange(len(along))
    backward = start[each, along] > end[each, along]
    low = np.where(backward[:, None], end, start)
    high = np.where(backward[:, None], start, end)
    slope = (high - low)[each, 1 - along] / length
    side = np.repeat(each, length + 1)
    step = np.arange(len(side)) - np.repeat(np.cumsum(length + 1) - length - 1, length + 1)
    step = np.where(backward[side], length[side] - step, step)
    main = low[each, along][side] + step
    other = _toward_zero(low[each, 1 - along][side] + slope[side] * step + 0.5)
    return np.where(wide[side], main, other), np.where(wide[side], other, main)


def _toward_zero(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.trunc(values).astype(np.int64)
