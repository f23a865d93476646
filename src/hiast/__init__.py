"""Unsupervised domain adaptation for semantic segmentation by hard-aware instance adaptive self-training."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiast.data import (
        AdaptationDataModule,
        CityscapesDataModule,
        FolderDataModule,
        GTA5DataModule,
        RobotCarDataModule,
        SYNTHIADataModule,
    )
    from hiast.training import HIASTModule, SourceOnlyModule, WarmupModule

__version__ = "0.1.0"

__all__ = [
    "AdaptationDataModule",
    "CityscapesDataModule",
    "FolderDataModule",
    "GTA5DataModule",
    "HIASTModule",
    "RobotCarDataModule",
    "SYNTHIADataModule",
    "SourceOnlyModule",
    "WarmupModule",
]


def __getattr__(name: str) -> Any:
    # torch and Lightning take seconds to import; a command's --help needs neither.
    if name not in __all__:
        raise AttributeError(f"module 'hiast' has no attribute '{name}'")
    home = "hiast.data" if name.endswith("DataModule") else "hiast.training"
    return getattr(importlib.import_module(home), name)
