"""Do the ids in the label files fit the dataset's id table? A look at a few labels before training starts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hiast.classes import CITYSCAPES_IDS, IGNORED
from hiast.data.io.label_colors import UNKNOWN_COLOR, ColorIds
from hiast.data.io.labels import Ids
from hiast.data.io.listing import Listing, Pair
from hiast.errors import InputError

log = logging.getLogger(__name__)

_LARGEST_TRAIN_ID = 18
_EVIDENCE = 3


def check_label_ids(
    listing: Listing, ids: Mapping[int, int], read: Callable[[Pair], Ids], max_pixels: int, count: int = 4
) -> None:
    """Look at some labels, evenly spread; at every label if these hold no class.

    Args:
        listing: Labeled files.
        ids: Raw id -> class index of the scenario.
        read: Reads the raw ids of a pair's label.
        max_pixels: Larger labels are refused.
        count: Number of labels to look at.

    Raises:
        InputError: No pixel of any label has an id of the table, the labels seem to hold train ids where label ids
            are expected, or a label cannot be read.
    """
    places = np.linspace(0, len(listing.pairs) - 1, min(count, len(listing.pairs))).astype(int).tolist()
    some = [listing.pairs[place] for place in places]
    pixels = Counter[int]()
    for pair in some:
        pixels.update(count_ids(read(pair)))
    if looks_like_train_ids(pixels, listing.ids):
        raise InputError(f"{listing.name}: {TRAIN_IDS}")
    if pixels.keys() & ids.keys():
        return
    log.info("%d labels of %s hold no class; looking at all %d.", len(some), listing.name, len(listing.pairs))
    with ThreadPoolExecutor() as pool:
        # In slices, so that one label with a class ends it soon.
        for start in range(0, len(listing.pairs), 64):
            counts = pool.map(lambda pair: count_ids(read(pair)), listing.pairs[start : start + 64])
            if any(found.keys() & ids.keys() for found in counts):
                return
    raise InputError(_no_class(listing, ids, some, sorted(pixels), max_pixels))


def count_ids(raw: Ids) -> dict[int, int]:
    """Raw id in a label -> number of pixels."""
    counts = np.bincount(raw.ravel())
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


TRAIN_IDS = (
    "the labels seem to hold train ids (0 to 18) where label ids (0 to 33) are expected, so that each would be learned "
    "as a wrong class: use the original label files, or describe the data as hiast.data.FolderDataModule with names "
    "in the order of the train ids."
)


def looks_like_train_ids(pixels: Mapping[int, int], ids: Mapping[int, int]) -> bool:
    """Whether labels of GTA5 or Cityscapes hold train ids instead of label ids.

    Street scenes with label ids hold sky (23), vegetation (21), cars (26) or persons (24). Train ids end at 18, and the
    first of them, the most frequent classes, are void among the label ids.

    Args:
        pixels: Raw id -> number of pixels, of some labels.
        ids: The dataset's id table; False for all but that of label ids.
    """
    if dict(ids) != dict(CITYSCAPES_IDS):
        return False
    seen = {raw: number for raw, number in pixels.items() if raw != IGNORED}
    void = {raw: number for raw, number in seen.items() if raw not in ids and raw != 0}
    return bool(seen) and max(seen) <= _LARGEST_TRAIN_ID and len(void) >= _EVIDENCE


def _no_class(
    listing: Listing, ids: Mapping[int, int], pairs: Sequence[Pair], raw: Sequence[int], max_pixels: int
) -> str:
    """What some labels hold and what was looked for, where no label holds a class."""
    decode = listing.decode
    ignored = sorted({listing.classes.names[index] for value, index in listing.ids.items() if value in raw})
    if ignored:
        return (
            f"The labels of {listing.name} hold the classes {_some(ignored, ', ')}, none of which the scenario uses: "
            "map some of them to classes of the scenario (class_map), or name them as the scenario does (names)."
        )
    if not isinstance(decode, ColorIds):
        return (
            f"The labels of {listing.name} hold the ids {_some(raw, ', ')}, none of which is in its id table "
            f"({_some(sorted(ids), ', ')}): use the label files that hold ids, or correct the table (ids)."
        )
    colors = decode.named(raw)
    if UNKNOWN_COLOR in raw:
        labels = [pair.label for pair in pairs if pair.label is not None]
        colors += sorted({color for label in labels for color in decode.unknown(label, max_pixels)})
    return (
        f"The labels of {listing.name} hold the colors {_some(colors, '; ')}, none of which stands for a "
        f"class in its color table ({_some(decode.named(ids), '; ')}): use the label files that hold these, "
        "or correct the table (label_colors)."
    )


def _some(values: Sequence[object], separator: str) -> str:
    return separator.join(map(str, values[:12])) + (f"{separator}..." if len(values) > 12 else "")
