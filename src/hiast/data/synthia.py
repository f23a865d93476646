"""SYNTHIA-RAND-CITYSCAPES: 16-bit label PNGs of several channels; the class id is the first (red) channel."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import SYNTHIA_19, SYNTHIA_IDS
from hiast.data.decode import read_first_channel
from hiast.data.listing import Listing, make_pairs

ABSENT = frozenset({"terrain", "truck", "train"})
"""Classes that have an id but that no image of this subset contains."""


VOID = frozenset({0, 13, 14, 22})
"""Ids of void, parking slots, road works and lane marks."""


def listing(data_root: Path | str, *, labelled: bool = True) -> Listing:
    """All images of SYNTHIA-RAND-CITYSCAPES, which has one split.

    Args:
        data_root: Folder that holds ``SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/{RGB,GT/LABELS}``.
        labelled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "SYNTHIA_RAND_CITYSCAPES" / "RAND_CITYSCAPES"
    pairs, orphans = make_pairs(
        root, "RGB/{name}.png", "GT/LABELS/{name}.png" if labelled else None, "SYNTHIA"
    )
    return Listing(
        *("SYNTHIA", pairs, SYNTHIA_IDS, SYNTHIA_19, read_first_channel),
        absent=ABSENT,
        void=VOID,
        orphans=orphans,
    )
