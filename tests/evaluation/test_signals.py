from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hiast.errors import InputError
from hiast.evaluation import mean_entropy, overlap


@pytest.mark.parametrize("classes", [2, 9, 19])
def test_entropy_is_zero_when_certain_and_one_when_uniform(classes: int) -> None:
    certain = torch.zeros(2, classes, 3, 4)
    certain[:, 1] = 1
    assert mean_entropy(certain).item() == 0
    assert mean_entropy(torch.full((2, classes, 3, 4), 1 / classes)).item() == pytest.approx(1, abs=1e-6)


def test_entropy_equals_a_loop_over_pixels() -> None:
    probabilities = torch.rand(2, 7, 5, 6, dtype=torch.float64).softmax(1)
    values = [
        -sum(p * math.log(p) for p in probabilities[b, :, y, x].tolist()) / math.log(7)
        for b in range(2)
        for y in range(5)
        for x in range(6)
    ]
    assert mean_entropy(probabilities).item() == pytest.approx(sum(values) / len(values), abs=1e-6)


def test_entropy_of_half_precision_is_finite_and_single() -> None:
    value = mean_entropy((torch.randn(1, 19, 8, 8) * 30).softmax(1).bfloat16())
    assert value.dtype == torch.float32
    assert torch.isfinite(value)


def test_overlap_is_measured_against_what_either_keeps() -> None:
    a = np.array([[0, 1, 2, 255, 255]], np.uint8)
    b = np.array([[0, 1, 1, 2, 255]], np.uint8)
    assert overlap(a, b) == 2 / 4
    assert overlap(a, b) == overlap(b, a)
    assert overlap(a, a) == 1


def test_labels_kept_once_are_changes() -> None:
    a = np.array([0, 255], np.uint8)
    assert overlap(a, a[::-1].copy()) == 0


def test_overlap_is_nan_when_nothing_is_kept() -> None:
    nothing = np.full(3, 255, np.uint8)
    assert math.isnan(overlap(nothing, nothing))


def test_overlap_of_different_shapes_is_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        overlap(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
