"""Connected regions of a label map, and their exact outlines.

A region is a set of pixels of one class; connected pixels touch by their sides. Coordinates are (x, y) in pixels. There
are two kinds of outline: along the edges of the pixels (whole numbers are corners of pixels, as COCO counts), and
through the centers of the outermost pixels (whole numbers are pixels, as Cityscapes and Pillow count).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.formats.items import Labels

Ring = NDArray[np.int64]
"""A closed polygon, int64 [N, 2], (x, y); the first point is not repeated at the end."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """Pixels of one class: connected ones, or all of them.

    Attributes:
        label: Class index, or 255.
        top: First row of its bounding box.
        left: First column of its bounding box.
        mask: Its pixels within the bounding box, bool [h, w].
    """

    label: int
    top: int
    left: int
    mask: Mask

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounding box (left, top, width, height) in pixels, as COCO gives it."""
        height, width = self.mask.shape
        return self.left, self.top, width, height

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def rows(self) -> slice:
        """Rows of the picture that the bounding box takes."""
        return slice(self.top, self.top + self.mask.shape[0])

    @property
    def columns(self) -> slice:
        """Columns of the picture that the bounding box takes."""
        return slice(self.left, self.left + self.mask.shape[1])


def regions(labels: Labels, *, ignored: bool = False) -> Iterator[Region]:
    """The regions of a label map uint8 [H, W], ordered by class, then from the top.

    Args:
        labels: Label map.
        ignored: Give the regions of ignored pixels too, at the end.
    """
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    for label in present.tolist():
        if label != IGNORED or ignored:
            yield from (Region(label, *part) for part in _parts(labels == label))


def whole_classes(labels: Labels) -> Iterator[Region]:
    """All pixels of each class of a label map uint8 [H, W], ignored ones left out, ordered by class."""
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[:IGNORED]).tolist():
        mask = labels == label
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, left = int(rows[0]), int(columns[0])
        yield Region(label, top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1])


def _parts(mask: Mask) -> Iterator[tuple[int, int, Mask]]:
    """(top, left, pixels of its bounding box) of each part of a mask that is connected by sides."""
    count, numbers, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    for number in range(1, count):
        left, top, width, height = boxes[number, :4].tolist()
        yield top, left, numbers[top : top + height, left : left + width] == number


def polygons(region: Region) -> list[Ring]:
    """Polygons along the edges of the pixels that together are exactly the region, connected or not.

    A polygon of COCO has no holes, so a part with holes is cut through them into parts without holes. The parts do
    not overlap, and no polygon touches itself.
    """
    return [
        _moved(ring, region.left + left, region.top + top)
        for top, left, part in _parts(region.mask)
        for ring in _without_holes(part)
    ]


def _without_holes(mask: Mask) -> Iterator[Ring]:
    ring, holes = _edges(mask)
    if not holes:
        yield ring
        return
    # Cut through the middle hole, so that each side has about half of the others.
    holes.sort(key=lambda hole: int(hole[:, 0].min() + hole[:, 0].max()))
    middle = holes[len(holes) // 2][:, 0]
    cut = int(middle.min() + middle.max()) // 2
    for start, side in ((0, mask[:, :cut]), (cut, mask[:, cut:])):
        for top, left, part in _parts(side):
            yield from (_moved(ring, start + left, top) for ring in _without_holes(part))


def _moved(ring: Ring, x: int, y: int) -> Ring:
    moved: Ring = ring + np.array([x, y])
    return moved


def _edges(mask: Mask) -> tuple[Ring, list[Ring]]:
    """Outer ring and holes along the edges of the pixels, of a mask of one part."""
    # In a picture of twice the size, the pixels 2 i and 2 i - 1 lie on both sides of edge i.
    doubled = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    found, levels = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = []
    for contour in found:
        points = (contour[:, 0, :].astype(np.int64) + 1) // 2
        rings.append(points[np.any(points != np.roll(points, 1, axis=0), axis=1)])
    outer = [number for number, level in enumerate(levels[0]) if level[3] < 0]
    return rings[outer[0]], [ring for number, ring in enumerate(rings) if number not in outer]


def outline(region: Region) -> Ring:
    """The outer boundary of a connected region through the centers of its outermost pixels; at least three points.

    Filled with its boundary it covers the region and everything that the region surrounds.
    """
    found, _ = cv2.findContours(region.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ring = _moved(found[0][:, 0, :].astype(np.int64), region.left, region.top)
    return ring if len(ring) >= 3 else np.resize(ring, (3, 2))


def outer_first(found: list[Region]) -> list[Region]:
    """The regions in an order in which filled outlines can be drawn: a region before those that it surrounds."""
    return sorted(found, key=lambda region: -region.mask.shape[0] * region.mask.shape[1])
