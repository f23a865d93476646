"""Measuring a network: one pass over a fixed sample of target images, one over held-out source images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.classes import LabelSpace
from hiast.evaluation.metrics import SegmentationMetrics
from hiast.selection.agreement import PairCounter, most_probable
from hiast.selection.candidates import Candidate, CandidateScores
from hiast.selection.ensemble import PredictionStore, compare, ensemble_agreement
from hiast.selection.scores import TargetScores
from hiast.selection.views import VIEWS, ConsistencyView, Predict, ViewConsistency, resized

TargetBatch = tuple[Sequence[int], Tensor]
"""Indices of B images in the set, and the images uint8 [B, 3, H, W] on the device of the network."""


@torch.no_grad()
def measure_target(
    predict: Predict,
    batches: Iterable[TargetBatch],
    classes: LabelSpace,
    *,
    seed: int = 0,
    views: Sequence[ConsistencyView] = VIEWS,
    teacher: Predict | None = None,
    store: PredictionStore | None = None,
    candidate: str = "",
    device: torch.device | str = "cpu",
) -> CandidateScores:
    """Scores of a network on target images, without labels.

    With several processes all must call it, each with its own share of the images; all get the scores of all images.

    Args:
        predict: The network in eval mode: images uint8 [B, 3, H, W] -> probabilities [B, C, h, w].
        batches: The sample, the same for every candidate.
        classes: The label space.
        seed: Decides which pixels the soft neighborhood density looks at.
        views: The views; empty: consistency is not measured.
        teacher: The teacher, if there is one, to be compared with the network.
        store: Where predictions are kept for the ensemble, after ``store.begin(candidate, ...)``; None: nowhere.
        candidate: The name under which they are kept.
        device: Where to count.

    Returns:
        All scores of the target but those that ``with_ensemble`` adds, and ``labels``.
    """
    target = TargetScores(len(classes), seed=seed).to(device)
    consistency = ViewConsistency(len(classes), views, device)
    pair = PairCounter(len(classes)).to(device)
    for indices, images in batches:
        probabilities = predict(images)
        prediction = most_probable(probabilities)
        target.update(probabilities, indices)
        consistency.update(predict, images, prediction)
        if teacher is not None:
            size = (prediction.shape[-2], prediction.shape[-1])
            pair.update(most_probable(resized(teacher(images), size)), prediction)
        if store is not None:
            for index, maps in zip(indices, probabilities, strict=True):
                store.write(candidate, index, maps)
    summary = target.compute()
    agreed = {name: scores.miou for name, scores in consistency.compute().items()}
    return CandidateScores(
        entropy=summary.entropy,
        infomax=summary.infomax,
        snd=summary.snd,
        consistency=float(np.mean(list(agreed.values()))) if agreed else math.nan,
        views=agreed,
        teacher_miou=math.nan if teacher is None else pair.compute().miou,
        predicted=_named(classes, summary.predicted) if summary.images else {},
        mean_probabilities=_named(classes, summary.mean_probabilities) if summary.images else {},
    )


@torch.no_grad()
def measure_source(
    predict: Predict,
    batches: Iterable[tuple[Tensor, Tensor]],
    classes: LabelSpace,
    *,
    device: torch.device | str = "cpu",
) -> tuple[float, Mapping[str, float]]:
    """The mIoU of a network on labeled source images that it did not train on, and the classes of these.

    It is necessary and not sufficient for a good score on the target (Musgrave et al., arXiv 2208.07360): a network
    that forgets the source has usually lost its classes.

    Args:
        predict: The network in eval mode: images uint8 [B, 3, H, W] -> probabilities [B, C, h, w].
        batches: Images and their labels uint8 [B, H, W], 255 = not counted.
        classes: The label space; the first of its means is reported.
        device: Where to count.

    Returns:
        The mIoU in 0..1, NaN without labeled pixels; and class -> share of the labeled pixels.
    """
    metrics = SegmentationMetrics(classes).to(device)
    empty = True
    for images, label in batches:
        empty = False
        probabilities = resized(predict(images), (label.shape[-2], label.shape[-1]))
        metrics.update(most_probable(probabilities), label)
    # With several processes all of them have to take part in the sum, those without images too.
    if empty and not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return math.nan, class_shares(classes, np.zeros(len(classes), np.int64), 0)
    scores = metrics.compute()
    labeled = scores.matrix.sum(1)
    return next(iter(scores.means.values())), class_shares(classes, labeled, int(labeled.sum()))


def with_ensemble(
    candidates: Sequence[Candidate],
    store: PredictionStore,
    classes: LabelSpace,
    weights: Mapping[str, int] | None = None,
) -> list[Candidate]:
    """Add to all candidates what depends on the others: agreement with the ensemble, and with the one before.

    Args:
        candidates: Candidates in the order in which they were made. Looks without a checkpoint have no vote and stay as
            they are.
        store: Holds predictions of the same images for each candidate with a checkpoint.
        classes: The label space.
        weights: See ``ensemble_agreement``.

    Returns:
        The candidates with ``ensemble_pixels``, ``ensemble_miou``, ``previous_miou`` and ``previous_iou``.

    Raises:
        InputError: See ``ensemble_agreement``.
    """
    voters = [candidate.name for candidate in candidates if candidate.checkpoint]
    agreed = ensemble_agreement(store, voters, weights)
    result = []
    for candidate in candidates:
        if candidate.checkpoint:
            scores = agreed[candidate.name]
            candidate = candidate.with_scores(ensemble_pixels=scores.agreement, ensemble_miou=scores.miou)
            place = voters.index(candidate.name)
            if place:
                pair = compare(store, voters[place - 1], candidate.name)
                candidate = candidate.with_scores(
                    previous_miou=pair.miou, previous_iou=_named(classes, pair.iou)
                )
        result.append(candidate)
    return result


def class_shares(classes: LabelSpace, pixels: NDArray[np.int64], total: int) -> Mapping[str, float]:
    """Class -> share of ``total`` pixels, of counts int64 [C]; all 0 if there is no pixel.

    It turns counts of pseudo-labels into ``CandidateScores.labels``, and counts of source labels into the shares that
    alarms compare with.
    """
    return _named(classes, pixels / total if total else np.zeros(len(classes)))


def _named(classes: LabelSpace, values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(classes.names, values.tolist(), strict=True))
