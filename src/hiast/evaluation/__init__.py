"""Scores, inference, label-free signals, tables and masks."""

from hiast.evaluation.inference import Prediction, predict_probabilities
from hiast.evaluation.masks import mask_path, write_mask
from hiast.evaluation.metrics import Scores, SegmentationMetrics, confusion_matrix, iou
from hiast.evaluation.readout import Evaluation, coarse_views, evaluate
from hiast.evaluation.signals import mean_entropy, overlap
from hiast.evaluation.tables import class_table, markdown_table, stage_table

__all__ = [
    "Evaluation",
    "Prediction",
    "Scores",
    "SegmentationMetrics",
    "class_table",
    "coarse_views",
    "confusion_matrix",
    "evaluate",
    "iou",
    "markdown_table",
    "mask_path",
    "mean_entropy",
    "overlap",
    "predict_probabilities",
    "stage_table",
    "write_mask",
]
