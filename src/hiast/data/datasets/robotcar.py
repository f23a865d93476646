"""Oxford RobotCar as annotated for domain adaptation: train without labels, val with RGBA label PNGs."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import ROBOTCAR_9, ROBOTCAR_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.labels import read_first_channel
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs
from hiast.errors import InputError

VOID = frozenset(range(18)) - set(ROBOTCAR_IDS)
"""Ids that stand for none of the classes."""


def list_robotcar(data_root: Path | str, split: Split, *, labeled: bool | None = None) -> Listing:
    """One split of RobotCar.

    Args:
        data_root: Folder that holds ``robotcar/{train,val,anno}``.
        split: "train" or "val".
        labeled: Whether labels are wanted; by default for val, the only split that has any.

    Raises:
        InputError: A folder is missing or empty, an image has no label, or labels of train are wanted.
    """
    labeled = split == "val" if labeled is None else labeled
    if labeled and split == "train":
        raise InputError("RobotCar's training images have no labels: use it as a target, or its val split.")
    root = Path(data_root) / "robotcar"
    dataset = f"RobotCar {split}"
    labels = "anno/{name}.png" if labeled else None
    pairs, orphans = make_pairs(root, f"{split}/{{name}}.png", labels, dataset)
    return Listing(
        name=dataset,
        pairs=pairs,
        ids=ROBOTCAR_IDS,
        classes=ROBOTCAR_9,
        decode=read_first_channel,
        void=VOID,
        orphans=orphans,
    )


class RobotCarDataModule(DatasetDataModule):
    """RobotCar: 894 images without and 271 with labels, of 1280 x 960 pixels.

    Examples:
        >>> from hiast.scenes import write_robotcar
        >>> _ = write_robotcar("data", 2, 1, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = RobotCarDataModule("data")
        >>> len(data.train_dataset(labeled=False))
        2
    """

    title = "RobotCar"
    own_classes = ROBOTCAR_9
    reads_only = True

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """The files of a split."""
        return list_robotcar(self.data_root, split, labeled=labeled)
