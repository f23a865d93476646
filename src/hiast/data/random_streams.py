"""Streams of random numbers of a run.

Every draw is a function of (seed, round, position, stream). Each purpose has a stream of its own, so that draws at the
same position are independent.
"""

from __future__ import annotations

from enum import IntEnum


class Stream(IntEnum):
    """What random numbers are drawn for."""

    PASTE_DONORS = 1
    """Hard class and donor of a pseudo-labeled sample."""
    PSEUDO_LABELED_CROP = 2
    """Crop and flip of a pseudo-labeled sample."""
    STRONG_VIEW = 3
    """Color augmentation of a pseudo-labeled sample."""
    SINGLE_ORDER = 10
    """Order of the images of a dataset that is trained on alone."""
    SINGLE_CROP = 11
    """Crop and flip of such an image."""
    SOURCE_ORDER = 20
    TARGET_ORDER = 21
    SOURCE_CROP = 22
    TARGET_CROP = 23
    JOINED_SOURCE = 1000
    """Times the stream of joined datasets plus one: the dataset that an image is drawn from. Plus 1, 2, ... (below
    1000): the order within each of them."""
