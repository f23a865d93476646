"""Files to samples: readers, augmentation, pseudo-labelled data, samplers and datamodules."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiast.data.adaptation import AdaptationDataModule
    from hiast.data.cache import CachedReader
    from hiast.data.copy_paste import HardClassAugmentation, hard_class_paste
    from hiast.data.datamodule import DatasetDataModule
    from hiast.data.dataset import SegmentationDataset
    from hiast.data.fourier import FourierAdaptation, FourierTowardsSource
    from hiast.data.joined import JoinedDataModule
    from hiast.data.known import (
        CityscapesDataModule,
        GTA5DataModule,
        RobotCarDataModule,
        SYNTHIADataModule,
    )
    from hiast.data.listing import Listing, Pair
    from hiast.data.own_data import FolderDataModule, VideoDataModule
    from hiast.data.pseudo_labelled import PseudoLabelledDataset
    from hiast.data.strong import SimpleStrong, StrongAugmentation
    from hiast.data.transforms import FixedScaleCrop, RandomSizedCrop, WeakAugmentation

__all__ = [
    "AdaptationDataModule",
    "CachedReader",
    "CityscapesDataModule",
    "DatasetDataModule",
    "FixedScaleCrop",
    "FolderDataModule",
    "FourierAdaptation",
    "FourierTowardsSource",
    "GTA5DataModule",
    "HardClassAugmentation",
    "JoinedDataModule",
    "Listing",
    "Pair",
    "PseudoLabelledDataset",
    "RandomSizedCrop",
    "RobotCarDataModule",
    "SYNTHIADataModule",
    "SegmentationDataset",
    "SimpleStrong",
    "StrongAugmentation",
    "VideoDataModule",
    "WeakAugmentation",
    "hard_class_paste",
]

_HOMES = {
    "AdaptationDataModule": "adaptation",
    "CachedReader": "cache",
    "CityscapesDataModule": "known",
    "DatasetDataModule": "datamodule",
    "FixedScaleCrop": "transforms",
    "FolderDataModule": "own_data",
    "FourierAdaptation": "fourier",
    "FourierTowardsSource": "fourier",
    "GTA5DataModule": "known",
    "HardClassAugmentation": "copy_paste",
    "JoinedDataModule": "joined",
    "Listing": "listing",
    "Pair": "listing",
    "PseudoLabelledDataset": "pseudo_labelled",
    "RandomSizedCrop": "transforms",
    "RobotCarDataModule": "known",
    "SYNTHIADataModule": "known",
    "SegmentationDataset": "dataset",
    "SimpleStrong": "strong",
    "StrongAugmentation": "strong",
    "VideoDataModule": "own_data",
    "WeakAugmentation": "transforms",
    "hard_class_paste": "copy_paste",
}


def __getattr__(name: str) -> Any:
    # Lightning and albumentations take seconds to import; a command's --help needs neither.
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
