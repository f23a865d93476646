"""GTA5 ("Playing for Data"): GTA5/images/NNNNN.png with GTA5/labels/NNNNN.png, palette PNGs that hold ids."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import CITYSCAPES_19, CITYSCAPES_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs

VOID = frozenset(range(35)) - set(CITYSCAPES_IDS)
"""Ids that stand for none of the classes."""


def list_gta5(data_root: Path | str, *, labeled: bool = True) -> Listing:
    """All images of GTA5; the dataset as used in domain adaptation has one split.

    Image and label of a few genuine pairs differ in size: the label is then resized when it is read, and a
    warning names the pair.

    Args:
        data_root: Folder that holds the folder ``GTA5``.
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "GTA5"
    pairs, orphans = make_pairs(root, "images/{name}.png", "labels/{name}.png" if labeled else None, "GTA5")
    return Listing(
        name="GTA5",
        pairs=pairs,
        ids=CITYSCAPES_IDS,
        classes=CITYSCAPES_19,
        decode=read_ids,
        size_mismatch="resize",
        void=VOID,
        orphans=orphans,
    )


class GTA5DataModule(DatasetDataModule):
    """GTA5: 24,966 rendered images of 1914 x 1052 pixels, one split.

    Examples:
        >>> from hiast.scenes import write_gta5
        >>> _ = write_gta5("data", 2, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = GTA5DataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "GTA5"
    own_classes = CITYSCAPES_19
    one_split = True
    reads_only = True
    archives = Archives("GTA5", ("*_images.zip", "*_labels.zip"), ("images/", "labels/"))

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All files."""
        return list_gta5(self.data_root, labeled=labeled)
