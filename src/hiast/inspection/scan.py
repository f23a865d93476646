"""Every file of a listing, opened and counted, several at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path

import numpy as np

from hiast.data.io import images
from hiast.data.io.images import MAX_PIXELS, UNKNOWN_COLOR, ColorIds
from hiast.data.io.listing import Listing, Pair
from hiast.errors import InputError


@dataclass(frozen=True)
class FileFacts:
    """What was found out about a file.

    Attributes:
        path: The file.
        bytes: Its length; 0 where it cannot be read.
        size: (height, width) in pixels; None where it cannot be read.
        digest: Hash of its content; None where it was not asked for or cannot be read.
        error: Why training cannot read it, or None.
    """

    path: Path
    bytes: int = 0
    size: tuple[int, int] | None = None
    digest: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class PairFacts:
    """What was found out about an image and its label.

    Attributes:
        name: Of the pair.
        image: The image's file.
        label: The label's file; None where there is none.
        ids: Raw id in the label -> number of pixels.
        colors: Colors of the label that its color table does not name, "red,green,blue" -> number of pixels.
    """

    name: str
    image: FileFacts
    label: FileFacts | None = None
    ids: dict[int, int] = field(default_factory=dict)
    colors: dict[str, int] = field(default_factory=dict)


def scan(
    listing: Listing, *, threads: int | None = None, thorough: bool = False, max_pixels: int = MAX_PIXELS
) -> Iterator[PairFacts]:
    """Open every file: PNGs are checked by their checksums, JPEGs and labels are decoded.

    Args:
        listing: Files.
        threads: Files at a time; None: as many as there are processors.
        thorough: Decode PNG images too, which finds files that were written wrongly with right checksums.
        max_pixels: Larger pictures are refused.

    Yields:
        The facts of each pair, in order.
    """
    threads = threads or os.cpu_count() or 1
    look = partial(_look, listing=listing, thorough=thorough, max_pixels=max_pixels)
    with ThreadPoolExecutor(threads) as pool:
        # In slices, so that an interruption is heard soon.
        for start in range(0, len(listing.pairs), 8 * threads):
            yield from pool.map(look, listing.pairs[start : start + 8 * threads])


def _look(pair: Pair, listing: Listing, thorough: bool, max_pixels: int) -> PairFacts:
    image = _image(pair.image, thorough, max_pixels)
    if pair.label is None:
        return PairFacts(pair.name, image)
    try:
        pixels = listing.decode(pair.label, max_pixels)
        length = pair.label.stat().st_size
    except (InputError, OSError) as error:
        return PairFacts(pair.name, image, FileFacts(pair.label, error=str(error)))
    height, width = pixels.shape
    counts = np.bincount(pixels.ravel())
    ids = {int(raw): int(counts[raw]) for raw in np.flatnonzero(counts)}
    colors = {}
    if isinstance(listing.decode, ColorIds) and UNKNOWN_COLOR in ids:
        colors = listing.decode.unknown(pair.label, max_pixels)
    return PairFacts(pair.name, image, FileFacts(pair.label, length, (height, width)), ids, colors)


def _image(path: Path, thorough: bool, max_pixels: int) -> FileFacts:
    try:
        if thorough:
            images.read_image(path, max_pixels)
        else:
            images.verify(path, max_pixels)
        content = path.read_bytes()
        size = images.image_size(path, max_pixels)
    except (InputError, OSError) as error:
        return FileFacts(path, error=str(error))
    return FileFacts(path, len(content), size, blake2b(content, digest_size=16).hexdigest())
