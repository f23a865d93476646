"""UrbanSyn: rgb/rgb_NNNN.png with ss/ss_NNNN.png, which holds train ids and 19 for the own car."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import CITYSCAPES_19
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.label_files import TRAIN_IDS, TRAIN_VOID
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs

VOID = TRAIN_VOID | {19}
"""Ids that stand for none of the classes."""


def list_urbansyn(data_root: Path | str, *, labeled: bool = True) -> Listing:
    """All images of UrbanSyn, which has one split.

    Args:
        data_root: Folder that holds ``urbansyn/rgb`` and ``urbansyn/ss``.
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    labels = "ss/ss_{name}.png" if labeled else None
    pairs, orphans = make_pairs(Path(data_root) / "urbansyn", "rgb/rgb_{name}.png", labels, "UrbanSyn")
    return Listing(
        name="UrbanSyn",
        pairs=pairs,
        ids=TRAIN_IDS,
        classes=CITYSCAPES_19,
        decode=read_ids,
        void=VOID,
        orphans=orphans,
    )


class UrbanSynDataModule(DatasetDataModule):
    """UrbanSyn: 7,539 rendered images of 2048 x 1024 pixels, one split.

    Examples:
        >>> from hiast.scenes import write_urbansyn
        >>> _ = write_urbansyn("data", 2, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = UrbanSynDataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "UrbanSyn"
    own_classes = CITYSCAPES_19
    one_split = True
    archives = Archives(
        "urbansyn",
        advice="Unpack rgb.zip and ss.zip of UrbanSyn by hand so that DATA_ROOT/urbansyn/rgb/rgb_0001.png is there.",
    )

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All files."""
        return list_urbansyn(self.data_root, labeled=labeled)
