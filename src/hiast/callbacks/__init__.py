"""What happens around training: pseudo-label rounds, checkpoints, recorded metrics, progress, pictures."""

from hiast.callbacks.bn_statistics import TargetStatistics
from hiast.callbacks.candidates import CandidateKeeper, SelectionSettings
from hiast.callbacks.checkpoint import AtomicCheckpointIO, StageCheckpoint
from hiast.callbacks.equal_statistics import EqualStatistics
from hiast.callbacks.find_margins import FindMargins
from hiast.callbacks.find_plain_share import FindPlainShare
from hiast.callbacks.mask_writer import MaskWriter
from hiast.callbacks.metrics_file import MetricsFile, score_values
from hiast.callbacks.picture_sheet import PictureSheet
from hiast.callbacks.progress import StageProgress
from hiast.callbacks.rounds import LabelRound, LabelSettings
from hiast.callbacks.schedule import ValidationSchedule
from hiast.callbacks.source_pixels import SourcePixels
from hiast.callbacks.stop import GracefulShutdown

__all__ = [
    "AtomicCheckpointIO",
    "CandidateKeeper",
    "EqualStatistics",
    "FindMargins",
    "FindPlainShare",
    "GracefulShutdown",
    "LabelRound",
    "LabelSettings",
    "MaskWriter",
    "MetricsFile",
    "PictureSheet",
    "SelectionSettings",
    "SourcePixels",
    "StageCheckpoint",
    "StageProgress",
    "TargetStatistics",
    "ValidationSchedule",
    "score_values",
]
