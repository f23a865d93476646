"""Ingredients of online self-training: plain torch, each independent of the others and of any stage.

Random draws come from an explicit generator, state that moves is in buffers, and nothing on the way waits for the
device.
"""

from __future__ import annotations

from hiast.online.blur import GaussianBlur
from hiast.online.border import FoundMargins, find_margins
from hiast.online.calibration import ClassCalibration
from hiast.online.color import ChannelMixing, ColorChain, ColorJitter, ColorStep, Gamma, Grayscale
from hiast.online.draws import generator_at
from hiast.online.ema import ema_decay_at
from hiast.online.feature_distance import FrozenEncoder, ProjectedFeatureDistance, ThingFeatureDistance
from hiast.online.hard_classes import RunningConfidence, draw_donors, hard_classes
from hiast.online.hpla import HPLA
from hiast.online.losses import weighted_cross_entropy
from hiast.online.margins import Margins
from hiast.online.masking import BlockMasking, block_mask, mask_images
from hiast.online.mixing import ClassMix, HardClassPaste, Labeled, Mixed, Mixing, NoMixing
from hiast.online.priors import DistributionAlignment, class_ratio_floor
from hiast.online.style import AmplitudeMixing, ColorTransfer, HistogramMatching, OneStyle, StyleTransfer
from hiast.online.thresholds import ClassBalanced, InstanceAdaptive, MovingThresholds
from hiast.online.trust import PixelConfidence, QualityWeight, Trust, Trusted, confidence_and_prediction

__all__ = [
    "HPLA",
    "AmplitudeMixing",
    "BlockMasking",
    "ChannelMixing",
    "ClassBalanced",
    "ClassCalibration",
    "ClassMix",
    "ColorChain",
    "ColorJitter",
    "ColorStep",
    "ColorTransfer",
    "DistributionAlignment",
    "FoundMargins",
    "FrozenEncoder",
    "Gamma",
    "GaussianBlur",
    "Grayscale",
    "HardClassPaste",
    "HistogramMatching",
    "InstanceAdaptive",
    "Labeled",
    "Margins",
    "Mixed",
    "Mixing",
    "MovingThresholds",
    "NoMixing",
    "OneStyle",
    "PixelConfidence",
    "ProjectedFeatureDistance",
    "QualityWeight",
    "RunningConfidence",
    "StyleTransfer",
    "ThingFeatureDistance",
    "Trust",
    "Trusted",
    "block_mask",
    "class_ratio_floor",
    "confidence_and_prediction",
    "draw_donors",
    "ema_decay_at",
    "find_margins",
    "generator_at",
    "hard_classes",
    "mask_images",
    "weighted_cross_entropy",
]
