"""SYNTHIA-RAND-CITYSCAPES: 16-bit label PNGs of several channels; the class id is the first (red) channel."""

from __future__ import annotations

from pathlib import Path

from hiast.classes import SYNTHIA_19, SYNTHIA_IDS
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.archives import Archives
from hiast.data.io.labels import read_first_channel
from hiast.data.io.listing import Listing, Split
from hiast.data.io.pairing import make_pairs

ABSENT = frozenset({"terrain", "truck", "train"})
"""Classes that have an id but that no image of this subset contains."""


VOID = frozenset({0, 13, 14, 22})
"""Ids of void, parking slots, road works and lane marks."""


def list_synthia(data_root: Path | str, *, labeled: bool = True) -> Listing:
    """All images of SYNTHIA-RAND-CITYSCAPES, which has one split.

    Args:
        data_root: Folder that holds ``SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/{RGB,GT/LABELS}``.
        labeled: False: no label file is looked for.

    Raises:
        InputError: A folder is missing or empty, or an image has no label.
    """
    root = Path(data_root) / "SYNTHIA_RAND_CITYSCAPES" / "RAND_CITYSCAPES"
    pairs, orphans = make_pairs(
        root, "RGB/{name}.png", "GT/LABELS/{name}.png" if labeled else None, "SYNTHIA"
    )
    return Listing(
        name="SYNTHIA",
        pairs=pairs,
        ids=SYNTHIA_IDS,
        classes=SYNTHIA_19,
        decode=read_first_channel,
        absent=ABSENT,
        void=VOID,
        orphans=orphans,
    )


class SYNTHIADataModule(DatasetDataModule):
    """SYNTHIA-RAND-CITYSCAPES: 9,400 rendered images of 1280 x 760 pixels, one split, 16 of 19 classes.

    Examples:
        >>> from hiast.scenes import write_synthia
        >>> _ = write_synthia("data", 2, (64, 128))  # drawn scenes in the layout of the dataset
        >>> data = SYNTHIADataModule("data")
        >>> len(data.train_dataset(labeled=True))
        2
    """

    title = "SYNTHIA"
    own_classes = SYNTHIA_19
    one_split = True
    reads_only = True
    archives = Archives(
        "SYNTHIA_RAND_CITYSCAPES",
        advice="SYNTHIA is downloaded as a .rar file, which only programs such as unrar, 7z or bsdtar unpack: "
        "unpack it by hand so that DATA_ROOT/SYNTHIA_RAND_CITYSCAPES/RAND_CITYSCAPES/RGB is there.",
    )

    @property
    def own_classes_present(self) -> frozenset[str]:
        """All but terrain, truck and train."""
        return frozenset(self.own_classes.names) - ABSENT

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All files."""
        return list_synthia(self.data_root, labeled=labeled)
