"""The rules of online self-training with loops and lists; written from the definitions alone."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def predictions(seed: int, classes: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Confidence and prediction of drawn probabilities, some of them certain."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = shape
    logits = torch.randn(batch, classes, height, width, generator=generator) * 4
    confidence, prediction = logits.softmax(1).max(1)
    return confidence, prediction


def instance_adaptive(groups, thresholds, alpha=0.5, beta=0.9, gamma=8.0, valid=None):
    """Yields labels and thresholds of each group (confidence [B,H,W], prediction [B,H,W]), numpy arrays."""
    thresholds = thresholds.copy()
    for place, (confidence, prediction) in enumerate(groups):
        counted = np.ones(prediction.shape, bool) if valid is None else valid[place]
        for k in range(len(thresholds)):
            own = confidence[(prediction == k) & counted].astype(np.float16).astype(np.float64)
            if len(own):
                values = np.append(own, thresholds[k])
                x = np.float32(np.quantile(values, 1 - alpha * thresholds[k] ** gamma))
                moved = beta * thresholds[k] + np.float64(np.float32(1 - beta) * x)
                thresholds[k] = 0.999 if moved >= 1 else moved
        labels = np.full(prediction.shape, 255, np.uint8)
        for at in np.ndindex(prediction.shape):
            if counted[at] and float(confidence[at]) >= thresholds[prediction[at]]:
                labels[at] = prediction[at]
        yield labels, thresholds.copy()


def class_balanced_threshold(batches, k, proportion, decay):
    """The highest confidence that a share of the faded pixels of class k reach, from lists of (value, weight)."""
    weighted: list[tuple[float, float]] = []
    for confidence, prediction in batches:
        weighted = [(value, weight * decay) for value, weight in weighted]
        own = confidence[prediction == k].astype(np.float16).astype(np.float64)
        weighted += [(float(value), 1.0) for value in own]
    if not weighted:
        return 1.0
    total = math.fsum(weight for _, weight in weighted)
    reached = 0.0
    for value in sorted({value for value, _ in weighted}, reverse=True):
        reached = math.fsum(weight for other, weight in weighted if other >= value)
        if reached >= proportion * total - 1e-4:
            return value
    return 0.0


def log_softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    log_sum = top + math.log(math.fsum(math.exp(score - top) for score in scores))
    return [score - log_sum for score in scores]


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, normalization: str) -> float:
    total, labeled = [], 0
    for at in np.ndindex(tuple(labels.shape)):
        label = int(labels[at])
        if label != 255:
            b, row, column = at
            labeled += 1
            total.append(-float(weights[at]) * log_softmax(logits[b, :, row, column].tolist())[label])
    pixels = labels.numel() if normalization == "all" else max(labeled, 1)
    return math.fsum(total) / pixels
