"""Class calibration against the rule in numpy, and that it brings predictions back to the labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.online import ClassCalibration


def test_one_step_by_the_formula():
    labels = np.array([[[0, 0, 0, 1], [1, 2, 255, 255]]], np.uint8)
    predicted = np.array([[[0, 0, 0, 0], [0, 1, 2, 2]]])
    calibration = ClassCalibration(3, rate=0.5, momentum=0.75)
    calibration.start(torch.tensor([50, 30, 20]))
    calibration.update(torch.from_numpy(predicted), torch.from_numpy(labels))
    prior = np.array([0.5, 0.3, 0.2])
    label_share, predicted_share = np.array([3, 2, 1]) / 6, np.array([5, 1, 0]) / 6
    left, right = 0.75 * prior + 0.25 * label_share, 0.75 * prior + 0.25 * predicted_share
    weights = np.clip((left + 1e-4) / (right + 1e-4), 0.5, 2) ** 0.5
    weights = np.clip(weights / (weights * prior).sum(), 0.2, 5)
    np.testing.assert_allclose(calibration.weights.numpy(), weights, rtol=1e-6)
    wanted = np.append(weights, np.zeros(253))[labels]
    np.testing.assert_allclose(calibration(torch.from_numpy(labels)).numpy(), wanted, rtol=1e-6)


def test_a_neglected_class_is_predicted_again():
    """Logistic regression on overlapping classes, 95 to 5: unweighted it hardly ever predicts the rare one."""
    generator = torch.Generator().manual_seed(0)
    rare = torch.rand(4000, generator=generator) < 0.05
    x = torch.randn(4000, generator=generator) + 1.2 * rare
    labels = rare.to(torch.uint8).view(1, 40, 100)

    def predicted_share(rate: float) -> float:
        calibration = ClassCalibration(2, rate=rate)
        calibration.start(torch.bincount(labels.reshape(-1).long()))
        weight = torch.zeros(2, 2, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.5)
        for _ in range(400):
            logits = torch.stack([weight[k, 0] * x + weight[k, 1] for k in range(2)]).view(1, 2, 40, 100)
            values = F.cross_entropy(logits, labels.long(), reduction="none") * calibration(labels)
            optimizer.zero_grad()
            values.mean().backward()
            optimizer.step()
            calibration.update(logits.argmax(1), labels)
        return float(logits.argmax(1).float().mean())

    assert predicted_share(0.0) < 0.01
    assert 0.03 < predicted_share(0.05) < 0.08


def test_no_labeled_pixel_and_no_start_change_nothing():
    calibration = ClassCalibration(3)
    assert not calibration.started
    calibration.start(torch.tensor([1, 1, 1]))
    assert calibration.started
    before = calibration.labeled.clone()
    calibration.update(torch.zeros(1, 2, 2, dtype=torch.long), torch.full((1, 2, 2), 255, dtype=torch.uint8))
    assert torch.equal(calibration.labeled, before)
    assert torch.equal(calibration.weights, torch.ones(3))


def test_settings_out_of_range():
    with pytest.raises(InputError, match="rate is 2"):
        ClassCalibration(3, rate=2)
    with pytest.raises(InputError, match="low 0"):
        ClassCalibration(3, low=0)
