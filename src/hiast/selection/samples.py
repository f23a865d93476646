"""Which images and pixels the scores look at: functions of counts and seeds, never of batches or processes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError


def evenly_spaced(count: int, most: int) -> list[int]:
    """Indices of at most ``most`` images of ``count``, evenly spaced, from the first on.

    The same images are looked at for every candidate, so that scores can be compared.

    Args:
        count: Number of images.
        most: Upper bound of the result's length, at least 1.

    Raises:
        InputError: ``most`` is not positive.

    Examples:
        >>> evenly_spaced(10, 4)
        [0, 3, 6, 9]
        >>> evenly_spaced(3, 100)
        [0, 1, 2]
    """
    if most < 1:
        raise InputError(f"The number of images to look at is {most}: give at least 1.")
    return list(range(0, count, max(1, -(-count // most))))


def held_out(count: int, share: float, seed: int) -> list[int]:
    """Indices of the images that are held out of training, in ascending order.

    Args:
        count: Number of images.
        share: Share of them to hold out, in 0..1. The number is rounded up; at least one image is left to train on.
        seed: Decides which.

    Returns:
        Indices; empty if ``share`` is 0 or there is only one image.

    Raises:
        InputError: ``share`` is not in 0..1.

    Examples:
        >>> held_out(10, 0.25, seed=1) == held_out(10, 0.25, seed=1)
        True
        >>> len(held_out(10, 0.25, seed=1))
        3
    """
    if not 0 <= share < 1:
        raise InputError(f"The held-out share of the source is {share}: give a number from 0 to below 1.")
    number = min(math.ceil(share * count), count - 1)
    if number < 1:
        return []
    order = np.random.default_rng([seed, 0]).permutation(count)
    return sorted(order[:number].tolist())


def pixel_positions(pixels: int, most: int, seed: int, index: int) -> NDArray[np.int64]:
    """Positions of random pixels of one image, drawn without replacement.

    Args:
        pixels: Number of pixels of the image, height times width.
        most: Number of positions to draw; an image with fewer pixels gives all of them.
        seed: Seed of all draws.
        index: Index of the image; together with ``seed`` it decides the draw.

    Returns:
        int64 [min(pixels, most)] of positions in the flattened image, ascending.
    """
    rng = np.random.default_rng([seed, 1, index])
    return np.sort(rng.choice(pixels, size=min(pixels, most), replace=False, shuffle=False))
