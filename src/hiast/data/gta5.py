"""GTA5 ("Playing for Data"): GTA5/images/NNNNN.png with GTA5/labels/NNNNN.png, palette PNGs that hold ids."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.decode import read_ids
from hiast.data.listing import Listing, make_pairs

VOID = frozenset(range(35)) - set(CITYSCAPES_IDS)
"""Ids that stand for none of the classes."""


def listing(data_root: Path | str, *, labelled: bool = True) -> Listing:
    """All images of GTA5; the dataset as used in domain adaptation has one split.

    Image and label of a few genuine pairs differ in size: the label is then resized when it is read, and a
    warning names the pair.

    Args:
        data_root: Folder that holds the folder ``GTA5``.
        labelled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "GTA5"
    pairs, orphans = make_pairs(root, "images/{name}.png", "labels/{name}.png" if labelled else None, "GTA5")
    return Listing(
        *("GTA5", pairs, CITYSCAPES_IDS, CITYSCAPES_19, read_ids),
        size_mismatch="resize",
        void=VOID,
        orphans=orphans,
    )
