from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from selection_reference import miou

from hiast.selection.agreement import PairCounter, pair_matrix, pair_scores


@pytest.mark.parametrize("classes", [2, 5, 19])
def test_equals_sets_of_pixels(classes: int) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, classes, (2, 3, 8, 9))
    counter = PairCounter(classes)
    counter.update(torch.from_numpy(a[:1]), torch.from_numpy(b[:1]))
    counter.update(torch.from_numpy(a[1:]), torch.from_numpy(b[1:]))
    found = counter.compute()
    assert found.agreement == (a == b).mean()
    assert found.miou == pytest.approx(miou(a, b, classes))
    for k in range(classes):
        expected = ((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum()
        assert found.iou[k] == pytest.approx(expected)
    assert (found.matrix == pair_matrix(a, b, classes)).all()
    assert pair_scores(pair_matrix(b, a, classes)).miou == pytest.approx(found.miou)


def test_classes_that_nobody_predicts_do_not_count() -> None:
    ones = np.ones((4, 4), np.uint8)
    found = pair_scores(pair_matrix(ones, ones, 3))
    assert found.agreement == 1
    assert found.miou == 1
    assert np.isnan(found.iou).tolist() == [True, False, True]


def test_constant_predictions_of_different_classes_do_not_agree() -> None:
    found = pair_scores(pair_matrix(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8), 2))
    assert (found.agreement, found.miou) == (0, 0)


def test_nothing_is_known_of_no_pixel() -> None:
    found = pair_scores(np.zeros((3, 3), np.int64))
    assert math.isnan(found.agreement)
    assert math.isnan(found.miou)


def test_uint8_labels_do_not_overflow() -> None:
    a = torch.full((2, 2), 200, dtype=torch.uint8)
    counter = PairCounter(201)
    counter.update(a, a)
    assert counter.compute().matrix[200, 200] == 4


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        PairCounter(2).update(torch.zeros(2, 3), torch.zeros(3, 2))
