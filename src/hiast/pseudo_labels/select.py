"""Pseudo-labels from confidences and predictions, group by group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.pseudo_labels.histogram import Histogram, count, smallest_confidence
from hiast.pseudo_labels.policies import Policy, Thresholds


@dataclass(frozen=True)
class Selection:
    """The pseudo-labels of one group.

    Attributes:
        labels: uint8 [B, H, W] on the device of the predictions, 255 = ignored.
        thresholds: The thresholds that selected them, float64 [C]; None: everything was kept.
    """

    labels: Tensor
    thresholds: Thresholds | None


def select(groups: Iterable[tuple[Tensor, Tensor]], policy: Policy) -> Iterator[Selection]:
    """Select pseudo-labels: a pixel keeps its predicted class where confidence >= threshold of that class.

    Args:
        groups: (confidence float [B, H, W] in 0..1, prediction int [B, H, W]) of each group. A policy that
            surveys the whole set first iterates over them twice, and then needs a list or another re-iterable.
            Floating types other than float32 are converted to float32.
        policy: Decides the thresholds; it is not changed.

    Yields:
        One selection per group, in order. Memory does not grow with the number of groups.

    Raises:
        InputError: A group's shapes, types or values do not fit.

    Examples:
        >>> import torch
        >>> from hiast.pseudo_labels import Constant
        >>> confidence = torch.tensor([[[0.95, 0.6]]])
        >>> prediction = torch.tensor([[[1, 0]]])
        >>> [selection] = select([(confidence, prediction)], Constant(num_classes=2, threshold=0.9))
        >>> selection.labels
        tensor([[[  1, 255]]], dtype=torch.uint8)
    """
    thresholds = policy.start(survey(groups, policy) if policy.surveys else None)
    for confidence, prediction in groups:
        if policy.adapts and thresholds is not None:
            thresholds = policy.advance(thresholds, count(confidence, prediction, policy.num_classes))
        else:
            smallest_confidence(confidence, prediction, policy.num_classes)
        yield Selection(
            keep(confidence, prediction, thresholds), None if thresholds is None else thresholds.copy()
        )


def survey(groups: Iterable[tuple[Tensor, Tensor]], policy: Policy) -> Histogram:
    """Histogram of the whole set, for a policy that surveys it first."""
    if iter(groups) is groups:
        raise InputError(
            f"{type(policy).__name__} iterates over the groups twice: give a list, not an iterator."
        )
    total = Histogram.empty(policy.num_classes)
    for confidence, prediction in groups:
        total += count(confidence, prediction, policy.num_classes, policy.sampling)
    return total


def keep(confidence: Tensor, prediction: Tensor, thresholds: Thresholds | None) -> Tensor:
    """Labels uint8 [B, H, W]: the prediction where confidence >= threshold, compared in float64, else 255.

    Args:
        confidence: Floating [B, H, W].
        prediction: Integer [B, H, W].
        thresholds: float64 [C]; None keeps all.
    """
    labels = prediction.to(torch.uint8)
    if thresholds is None:
        return labels.clone() if labels is prediction else labels
    # For a float32 c, c >= t in float64 is c >= (the smallest float32 not below t): exact, half the traffic.
    rounded = thresholds.astype(np.float32)
    rounded = np.where(rounded < thresholds, np.nextafter(rounded, np.float32(2)), rounded)
    limits = torch.from_numpy(rounded).to(confidence.device)
    wide = prediction if prediction.dtype in (torch.int32, torch.int64) else prediction.to(torch.int32)
    limit = limits.index_select(0, wide.flatten()).view(prediction.shape)
    # 255, the label of ignored pixels, has all bits set: or-ing it in is the fastest masked fill on a CPU.
    return (confidence.float() < limit).to(torch.uint8).neg_().bitwise_or_(labels)
