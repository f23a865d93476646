"""The formulas of self-training, pixel by pixel in plain Python floats; written from the definitions alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

IGNORED = 255


def log_softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    log_sum = top + math.log(sum(math.exp(score - top) for score in scores))
    return [score - log_sum for score in scores]


def pixels(logits: Tensor, labels: Tensor, teacher: Tensor) -> Iterator[tuple[list[float], int, list[float]]]:
    """(log p, pseudo-label, q) of every pixel."""
    batch, _, height, width = logits.shape
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                at = (b, slice(None), row, column)
                yield log_softmax(logits[at].tolist()), int(labels[b, row, column]), teacher[at].tolist()


def mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def naive_terms(
    logits: Tensor,
    labels: Tensor,
    teacher: Tensor,
    region: str = "ignored",
    denominator: str = "nonzero",
    divisor: int | None = None,
) -> dict[str, float]:
    """The four terms; ``divisor`` takes the place of C."""
    classes = logits.shape[1]
    divisor = divisor or classes
    seen = list(pixels(logits.detach().double(), labels, teacher.double()))
    confident = [pixel for pixel in seen if pixel[1] != IGNORED]
    ignored = [pixel for pixel in seen if pixel[1] == IGNORED]
    chosen = {"confident": confident, "ignored": ignored, "all": seen}[region]
    products = [-q * log_p for log_ps, _, qs in chosen for q, log_p in zip(qs, log_ps, strict=True)]
    if denominator == "nonzero":
        products = [product for product in products if product != 0]
    return {
        "cross_entropy": mean(-log_ps[label] for log_ps, label, _ in confident),
        "kld_confident": mean(-log_p for log_ps, _, _ in confident for log_p in log_ps)
        * classes
        / divisor**2,
        "entropy_ignored": mean(-math.exp(log_p) * log_p for log_ps, _, _ in ignored for log_p in log_ps)
        * classes
        / divisor,
        "consistency": mean(products) * classes / divisor,
    }


def draw(
    seed: int, classes: int = 5, size: tuple[int, int, int] = (2, 3, 4), ignored: float = 0.4
) -> tuple[Tensor, Tensor, Tensor]:
    """Random float64 logits [B,C,H,W], uint8 pseudo-labels [B,H,W] and teacher probabilities [B,C,H,W]."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = size
    shape = (batch, classes, height, width)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, size, generator=generator).to(torch.uint8)
    labels[torch.rand(size, generator=generator) < ignored] = IGNORED
    teacher = (4 * torch.randn(shape, generator=generator, dtype=torch.float64)).softmax(1)
    return logits, labels, teacher
