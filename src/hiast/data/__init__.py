"""Files to samples: readers, augmentation, pseudo-labelled data, samplers and datamodules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiast.data.adaptation import AdaptationDataModule
    from hiast.data.copy_paste import HardClassAugmentation, hard_class_paste
    from hiast.data.datamodule import (
        CityscapesDataModule,
        DatasetDataModule,
        GTA5DataModule,
        RobotCarDataModule,
        SYNTHIADataModule,
    )
    from hiast.data.dataset import SegmentationDataset
    from hiast.data.joined import JoinedDataModule
    from hiast.data.listing import Listing, Pair
    from hiast.data.own_data import FolderDataModule, VideoDataModule

__all__ = [
    "AdaptationDataModule",
    "CityscapesDataModule",
    "DatasetDataModule",
    "FolderDataModule",
    "GTA5DataModule",
    "HardClassAugmentation",
    "JoinedDataModule",
    "Listing",
    "Pair",
    "RobotCarDataModule",
    "SYNTHIADataModule",
    "SegmentationDataset",
    "VideoDataModule",
    "hard_class_paste",
]

_HOMES = {
    "AdaptationDataModule": "adaptation",
    "FolderDataModule": "own_data",
    "HardClassAugmentation": "copy_paste",
    "JoinedDataModule": "joined",
    "Listing": "listing",
    "Pair": "listing",
    "SegmentationDataset": "dataset",
    "VideoDataModule": "own_data",
    "hard_class_paste": "copy_paste",
}


def __getattr__(name: str) -> Any:
    # Lightning and albumentations take seconds to import; a command's --help needs neither.
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'datamodule')}"), name)
