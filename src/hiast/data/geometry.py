"""Windows of images, and resizing of images and label maps."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Window(NamedTuple):
    """A rectangle of an image, in pixels; all of it lies inside the image."""

    top: int
    left: int
    height: int
    width: int

    def of(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The rectangle of ``array`` [H, W, ...], as a view."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]


def nearest_indices(source: int, wanted: int) -> NDArray[np.intp]:
    """Index in ``source`` pixels of each of ``wanted`` pixels, by the rule of OpenCV's ``INTER_NEAREST``.

    The index depends on the pixel's place in the whole image only, so reading a window equals reading all
    and cropping. Float64 with a rounded reciprocal, as OpenCV computes it: the results are equal.
    """
    step = 1 / (wanted / source)
    indices: NDArray[np.intp] = np.minimum(np.floor(np.arange(wanted) * step), source - 1).astype(np.intp)
    return indices


def take_grid(
    labels: NDArray[np.uint8], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """``labels[rows][:, columns]`` of uint8 [H, W] for ascending indices, contiguous."""
    # Whole rows are copied fast, single bytes are not: two transpositions turn columns into rows.
    block = np.ascontiguousarray(labels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    chosen = cv2.transpose(cv2.transpose(block).take(columns - columns[0], axis=0))
    grid: NDArray[np.uint8] = chosen.take(rows - rows[0], axis=0)
    return grid


def resize_labels(labels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Label map uint8 [H, W] at another size, by nearest neighbor."""
    if labels.shape == (height, width):
        return labels
    resized: NDArray[np.uint8] = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
    return resized


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Image uint8 [H, W, 3] at another size, bilinear (OpenCV's, as published)."""
    if image.shape[:2] == (height, width):
        return image
    resized: NDArray[np.uint8] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized
