"""The stages of a run as Lightning modules."""

from __future__ import annotations

from pathlib import Path

import torch

from hiast.errors import InputError
from hiast.models import SegmentationNetwork
from hiast.training.checkpoint import read_checkpoint
from hiast.training.finite import NonFiniteLossError
from hiast.training.module import AdaptationModule
from hiast.training.online import OnlineModule
from hiast.training.optim import OptimizerSettings, Schedule
from hiast.training.self_training import HIASTModule
from hiast.training.source_only import SourceOnlyModule
from hiast.training.views import Views
from hiast.training.warmup import WarmupModule

__all__ = [
    "AdaptationModule",
    "HIASTModule",
    "NonFiniteLossError",
    "OnlineModule",
    "OptimizerSettings",
    "Schedule",
    "SourceOnlyModule",
    "Views",
    "WarmupModule",
    "load_module",
]

_MODULES: tuple[type[AdaptationModule], ...] = (SourceOnlyModule, WarmupModule, HIASTModule, OnlineModule)


def load_module(
    path: str | Path, map_location: str | torch.device = "cpu", network: SegmentationNetwork | None = None
) -> AdaptationModule:
    """Rebuild the module of any stage from its checkpoint, see ``AdaptationModule.load_from_checkpoint``.

    Raises:
        InputError: The file is missing, damaged, or not a checkpoint of this library.
    """
    stage = read_checkpoint(path, "meta")["hiast"]["stage"]
    kind = next((module for module in _MODULES if module.stage == stage), None)
    if kind is None:
        raise InputError(f"{path} is a checkpoint of a stage '{stage}', which this version does not know.")
    return kind.load_from_checkpoint(path, map_location, network)
