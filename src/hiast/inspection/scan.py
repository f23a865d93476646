"""Every file of a listing, read by the readers that training uses and counted, several at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import cast

from hiast.data.checks.label_ids import count_ids
from hiast.data.io.images import MAX_PIXELS, ImageReader, ValueRangeError
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Pair
from hiast.data.io.palettes import palette_colors
from hiast.errors import InputError
from hiast.inspection.deep_images import DeepValues
from hiast.inspection.values import Value, color_values


@dataclass(frozen=True)
class FileFacts:
    """What was found out about a file.

    Attributes:
        path: The file.
        bytes: Its length; 0 where it cannot be read.
        size: (height, width) in pixels; None where it cannot be read.
        digest: Hash of its content; None where it was not asked for or cannot be read.
        error: Why training cannot read it, or None.
        deep: Values of an image of more than 8 bits; None for others.
    """

    path: Path
    bytes: int = 0
    size: tuple[int, int] | None = None
    digest: str | None = None
    error: str | None = None
    deep: DeepValues | None = None


@dataclass(frozen=True)
class PairFacts:
    """What was found out about an image and its label.

    Attributes:
        name: Name of the pair.
        image: The image's file.
        label: The label's file; None where there is none.
        ids: Raw id in the label -> number of pixels.
        colors: Colors of the label that its color table does not name, "red,green,blue" -> number of pixels.
        found: All values of the label: ids, or colors as "red,green,blue" -> number of pixels. Also of a label that is
            refused because it holds colors instead of ids.
        of_colors: Whether ``found`` holds colors.
        palette: Index -> color in the palette of a label that is read by its indices.
    """

    name: str
    image: FileFacts
    label: FileFacts | None = None
    ids: dict[int, int] = field(default_factory=dict)
    colors: dict[str, int] = field(default_factory=dict)
    found: dict[Value, int] = field(default_factory=dict)
    of_colors: bool = False
    palette: dict[int, str] = field(default_factory=dict)


def scan(
    listing: Listing, *, threads: int | None = None, max_pixels: int = MAX_PIXELS
) -> Iterator[PairFacts]:
    """Read every file.

    Args:
        listing: Files.
        threads: Files at a time; None: as many as there are processors.
        max_pixels: Larger images and labels are refused.

    Yields:
        The facts of each pair, in order.
    """
    threads = threads or os.cpu_count() or 1
    look = partial(_look, listing=listing, max_pixels=max_pixels)
    with ThreadPoolExecutor(threads) as pool:
        # In slices, so that an interruption is heard soon.
        for start in range(0, len(listing.pairs), 8 * threads):
            yield from pool.map(look, listing.pairs[start : start + 8 * threads])


def _look(pair: Pair, listing: Listing, max_pixels: int) -> PairFacts:
    image = _image(pair.image, listing.images, max_pixels)
    if pair.label is None:
        return PairFacts(pair.name, image)
    try:
        pixels = listing.decode(pair.label, max_pixels)
        length = pair.label.stat().st_size
    except (InputError, OSError) as error:
        found = _colors_instead(pair.label, listing, max_pixels)
        return PairFacts(
            pair.name, image, FileFacts(pair.label, error=str(error)), found=found, of_colors=bool(found)
        )
    height, width = pixels.shape
    ids = count_ids(pixels)
    facts = FileFacts(pair.label, length, (height, width))
    if not isinstance(listing.decode, ColorIds):
        palette = palette_colors(pair.label, ids) if listing.decode is read_ids else {}
        return PairFacts(
            pair.name, image, facts, ids, found=cast(dict[Value, int], dict(ids)), palette=palette
        )
    colors = listing.decode.unknown(pair.label, max_pixels) if UNKNOWN_COLOR in ids else {}
    named = {listing.decode.named([raw])[0]: count for raw, count in ids.items() if raw != UNKNOWN_COLOR}
    values = cast(dict[Value, int], {**named, **colors})
    return PairFacts(pair.name, image, facts, ids, colors, values, of_colors=True)


def _colors_instead(label: Path, listing: Listing, max_pixels: int) -> dict[Value, int]:
    """The colors of a label that was refused; none if it holds no colors either."""
    if listing.decode is not read_ids:
        return {}
    try:
        return color_values(label, max_pixels)
    except (InputError, OSError):
        return {}


def _image(path: Path, reader: ImageReader, max_pixels: int) -> FileFacts:
    try:
        facts = reader.check(path, max_pixels)
        content = path.read_bytes()
    except ValueRangeError as error:
        return FileFacts(path, error=str(error), deep=DeepValues.of(error))
    except (InputError, OSError) as error:
        return FileFacts(path, error=str(error))
    digest = blake2b(content, digest_size=16).hexdigest()
    return FileFacts(path, len(content), facts.size, digest, deep=DeepValues.of(facts))
