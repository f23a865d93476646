"""The scores written once more with numpy and loops, from their formulas."""

from __future__ import annotations

import math

import numpy as np


def softmax(logits: np.ndarray, axis: int = 0) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis, keepdims=True))
    return shifted / shifted.sum(axis, keepdims=True)


def entropy(p: np.ndarray) -> float:
    return -sum(float(v) * math.log(v) for v in p if v > 0)


def mean_entropy(images: list[np.ndarray]) -> float:
    """Of images [C, H, W], each of its own size; normalized by log C."""
    values = [entropy(image[:, y, x]) for image in images for y, x in np.ndindex(image.shape[1:])]
    return float(np.mean(values)) / math.log(len(images[0]))


def mean_probabilities(images: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([image.reshape(len(image), -1) for image in images], 1).mean(1)


def infomax(images: list[np.ndarray]) -> float:
    return entropy(mean_probabilities(images)) / math.log(len(images[0])) - mean_entropy(images)


def density(vectors: np.ndarray, temperature: float = 0.05) -> float:
    """Soft neighborhood density of vectors [N, C]."""
    rows = []
    for i, a in enumerate(vectors):
        similarities = []
        for j, b in enumerate(vectors):
            cosine = float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
            similarities.append(-1 / temperature if i == j else cosine / temperature)
        rows.append(entropy(softmax(np.array(similarities))))
    return float(np.mean(rows))


def miou(a: np.ndarray, b: np.ndarray, num_classes: int) -> float:
    values = []
    for k in range(num_classes):
        union = ((a == k) | (b == k)).sum()
        if union:
            values.append(((a == k) & (b == k)).sum() / union)
    return float(np.mean(values)) if values else math.nan
