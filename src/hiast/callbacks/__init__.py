"""What happens around training: pseudo-label rounds, checkpoints, recorded metrics, progress, pictures."""

from hiast.callbacks.checkpoint import AtomicCheckpointIO, StageCheckpoint
from hiast.callbacks.metrics_file import MetricsFile, score_values
from hiast.callbacks.progress import StageProgress
from hiast.callbacks.rounds import LabelRound, LabelSettings

__all__ = [
    "AtomicCheckpointIO",
    "LabelRound",
    "LabelSettings",
    "MetricsFile",
    "StageCheckpoint",
    "StageProgress",
    "score_values",
]
