"""Oxford RobotCar as annotated for domain adaptation: train without labels, val with RGBA label PNGs."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import ROBOTCAR_9, ROBOTCAR_IDS
from hiast.data.decode import read_first_channel
from hiast.data.listing import Listing, Split, make_pairs
from hiast.errors import InputError

VOID = frozenset(range(18)) - set(ROBOTCAR_IDS)
"""Ids that stand for none of the classes."""


def listing(data_root: Path | str, split: Split, *, labelled: bool | None = None) -> Listing:
    """One split of RobotCar.

    Args:
        data_root: Folder that holds ``robotcar/{train,val,anno}``.
        split: "train" or "val".
        labelled: Whether labels are wanted; by default for val, the only split that has any.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or labels of train are wanted.
    """
    labelled = split == "val" if labelled is None else labelled
    if labelled and split == "train":
        raise InputError("RobotCar's training images have no labels: use it as a target, or its val split.")
    root = Path(data_root) / "robotcar"
    dataset = f"RobotCar {split}"
    labels = "anno/{name}.png" if labelled else None
    pairs, orphans = make_pairs(root, f"{split}/{{name}}.png", labels, dataset)
    return Listing(
        *(dataset, pairs, ROBOTCAR_IDS, ROBOTCAR_9, read_first_channel), void=VOID, orphans=orphans
    )
