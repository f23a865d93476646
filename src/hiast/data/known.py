"""Datamodules of the four known datasets: their names, classes and listings."""

from __future__ import annotations

from hiast.classes import CITYSCAPES_19, ROBOTCAR_9, SYNTHIA_19
from hiast.data import archives, cityscapes, gta5, robotcar, synthia
from hiast.data.datamodule import DatasetDataModule
from hiast.data.listing import Listing, Split


class GTA5DataModule(DatasetDataModule):
    """GTA5: 24,966 rendered images of 1914 x 1052 pixels, one split."""

    title = "GTA5"
    own_classes = CITYSCAPES_19
    one_split = True
    archives = archives.GTA5

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """All files."""
        return gta5.listing(self.data_root, labelled=labelled)


class SYNTHIADataModule(DatasetDataModule):
    """SYNTHIA-RAND-CITYSCAPES: 9,400 rendered images of 1280 x 760 pixels, one split, 16 of 19 classes."""

    title = "SYNTHIA"
    own_classes = SYNTHIA_19
    one_split = True
    archives = archives.SYNTHIA

    @property
    def own_classes_present(self) -> frozenset[str]:
        """All but terrain, truck and train."""
        return frozenset(self.own_classes.names) - synthia.ABSENT

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """All files."""
        return synthia.listing(self.data_root, labelled=labelled)


class CityscapesDataModule(DatasetDataModule):
    """Cityscapes: 2,975 and 500 images of 2048 x 1024 pixels."""

    title = "Cityscapes"
    own_classes = CITYSCAPES_19
    archives = archives.CITYSCAPES

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """The files of a split."""
        return cityscapes.listing(self.data_root, split, labelled=labelled)


class RobotCarDataModule(DatasetDataModule):
    """RobotCar: 894 images without and 271 with labels, of 1280 x 960 pixels."""

    title = "RobotCar"
    own_classes = ROBOTCAR_9

    def listing(self, split: Split, *, labelled: bool) -> Listing:
        """The files of a split."""
        return robotcar.listing(self.data_root, split, labelled=labelled)
