"""A candidate: a checkpoint that may become the result, with its scores as plain values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

SOURCE_ONLY = "source_only"
"""Name of the candidate before any adaptation, which is always there."""
TARGET_STATISTICS = "target_statistics"
"""Name of the same weights with the target's batch-norm statistics, which is always there if there is batch norm."""


@dataclass(frozen=True)
class CandidateScores:
    """Scores of a network that need no target label. NaN or an empty mapping: not measured.

    Attributes:
        entropy: Mean normalized entropy on the target, in 0..1.
        infomax: Normalized InfoMax on the target, in 0..1.
        snd: Soft neighborhood density on the target, in nats.
        consistency: Mean over the views of the mIoU between image and view, in 0..1.
        views: View -> that mIoU.
        source_miou: mIoU on the held-out share of the source, in 0..1.
        colored_miou: mIoU on the same images in colors of the target, in 0..1.
        teacher_miou: mIoU between teacher and student on the target, in 0..1; NaN: there is no other network to compare
            with, or this is the teacher.
        previous_miou: mIoU between this candidate and the one before on the target, in 0..1.
        previous_iou: Class -> IoU between both.
        ensemble_pixels: Share of target pixels with the same class as the ensemble of all candidates, in 0..1.
        ensemble_miou: mIoU with that ensemble, in 0..1.
        predicted: Class -> share of the target pixels that are predicted so.
        mean_probabilities: Class -> mean probability on the target.
        labels: Class -> share of the target pixels that have it as pseudo-label.
        source_labels: Class -> share of the labeled pixels of the held-out source images.
        extra: Further scores by name.
    """

    entropy: float = math.nan
    infomax: float = math.nan
    snd: float = math.nan
    consistency: float = math.nan
    views: Mapping[str, float] = field(default_factory=dict)
    source_miou: float = math.nan
    colored_miou: float = math.nan
    teacher_miou: float = math.nan
    previous_miou: float = math.nan
    previous_iou: Mapping[str, float] = field(default_factory=dict)
    ensemble_pixels: float = math.nan
    ensemble_miou: float = math.nan
    predicted: Mapping[str, float] = field(default_factory=dict)
    mean_probabilities: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    source_labels: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return {
            name: _plain_mapping(value) if isinstance(value, Mapping) else _plain(value)
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            TypeError: A score has no such name, or a value is not a number.
        """
        return cls(**{name: _read(value) for name, value in values.items()})


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may become the result.

    Attributes:
        name: Its name, also that of a folder: ``source_only``, ``self_training-2``, ...
        checkpoint: Path of the checkpoint, relative to the run directory; empty: a look in training of which no
            checkpoint was kept, which alarms may use and which cannot be chosen.
        step: Optimizer steps in all stages until then; fewer steps mean less adapted.
        scores: What was measured.
        network: Identifies its weights, such as their hash.
        source_trained: Whether its weights were last trained on the source alone, with the source's batch-norm
            statistics.
    """

    name: str
    checkpoint: str
    step: int
    scores: CandidateScores = field(default_factory=CandidateScores)
    network: str = ""
    source_trained: bool = False

    def with_scores(self, **scores: Any) -> Candidate:
        """The same candidate with some scores replaced.

        Raises:
            TypeError: A score has no such name.
        """
        return dataclasses.replace(self, scores=dataclasses.replace(self.scores, **scores))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes None."""
        return {**vars(self), "scores": self.scores.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            KeyError: There are no scores.
            TypeError: Another key is missing or not known.
        """
        return cls(**{**values, "scores": CandidateScores.from_dict(values["scores"])})


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _plain_mapping(values: Mapping[str, float]) -> dict[str, float | None]:
    return {str(name): _plain(value) for name, value in values.items()}


def _read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _read(item) for name, item in value.items()}
    return math.nan if value is None else float(value)
