"""Networks: DeepLab-v2, DAFormer, HRDA, all of segmentation-models-pytorch, the discriminator, the teacher."""

from __future__ import annotations

from hiast.models.batch_norm import (
    batch_statistics,
    freeze_batch_norm,
    frozen_running_stats,
    reestimate_bn_stats,
    synchronize_batch_norm,
)
from hiast.models.daformer import DAFormer
from hiast.models.deeplab import DeepLabV2
from hiast.models.discriminator import Discriminator
from hiast.models.hrda import HRDA
from hiast.models.network import SegmentationNetwork
from hiast.models.normalize import Normalize, normalize
from hiast.models.recipe import build_from_recipe
from hiast.models.smp import SmpNetwork
from hiast.models.teacher import Teacher
from hiast.models.weights import LoadReport, load_published_weights

__all__ = [
    "HRDA",
    "DAFormer",
    "DeepLabV2",
    "Discriminator",
    "LoadReport",
    "Normalize",
    "SegmentationNetwork",
    "SmpNetwork",
    "Teacher",
    "batch_statistics",
    "build_from_recipe",
    "freeze_batch_norm",
    "frozen_running_stats",
    "load_published_weights",
    "normalize",
    "reestimate_bn_stats",
    "synchronize_batch_norm",
]
