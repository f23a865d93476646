"""Hard classes and their donors: against the statistics of rounds, and the law of the draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from naive_online import predictions

from hiast.data.augmentation.copy_paste import HardClassAugmentation
from hiast.errors import InputError
from hiast.online import RunningConfidence, draw_donors, generator_at, hard_classes
from hiast.pseudo_labels import RoundStatistics


def test_running_confidence_is_that_of_the_rounds():
    running, statistics = RunningConfidence(6, momentum=0.99), RoundStatistics(6, 0.99)
    for step in range(5):
        confidence, prediction = predictions(step, 5, (2, 8, 9))
        labels = prediction.to(torch.uint8).masked_fill(confidence < 0.7, 255)
        if step == 2:
            labels[labels == 1] = 255
        running.update(confidence, labels)
        statistics.update(confidence, labels)
    wanted = statistics.class_mean_confidence
    assert np.isnan(wanted[5])
    np.testing.assert_allclose(running.mean.numpy(), wanted, rtol=1e-7, equal_nan=True)


def test_running_confidence_without_labels_stays_and_its_state_resumes():
    running = RunningConfidence(3)
    confidence, prediction = predictions(0, 3, (1, 6, 6))
    running.update(confidence, torch.full((1, 6, 6), 255, dtype=torch.uint8))
    assert running.mean.isnan().all()
    running.update(confidence, prediction.to(torch.uint8))
    other = RunningConfidence(3)
    other.load_state_dict(running.state_dict())
    for each in (running, other):
        each.update(confidence * 0.5, prediction.to(torch.uint8))
    assert torch.equal(running.mean, other.mean)


@pytest.mark.parametrize("hardest", [1, 2, 14, None])
def test_hard_classes_are_those_of_the_rounds(hardest):
    v = torch.tensor([0.9, torch.nan, 0.5, 0.7, 0.5, 0.2], dtype=torch.float64)
    excluded = torch.tensor([False, False, False, False, False, True])
    hard, weights = hard_classes(v, hardest, excluded)
    pixels = np.array([[5, 0, 5, 5, 5, 5]])
    wanted = HardClassAugmentation(hardest).hard_classes(v.numpy(), pixels, ["a"], excluded=[5])
    assert set(hard.nonzero().flatten().tolist()) == set(wanted.hard_classes)
    np.testing.assert_allclose((weights / weights.sum()).numpy(), wanted.probabilities, rtol=1e-12)


def test_certain_classes_are_equally_hard_and_none_may_be():
    hard, weights = hard_classes(torch.ones(3, dtype=torch.float64), 2)
    assert hard.tolist() == [True, True, False]
    assert weights.tolist() == [1, 1, 0]
    hard, weights = hard_classes(torch.full((3,), torch.nan, dtype=torch.float64))
    assert not hard.any()
    assert not weights.any()


def test_donors_are_drawn_by_class_and_then_uniformly_among_the_holders():
    labels = torch.full((4, 2, 2), 255, dtype=torch.uint8)
    labels[0, 0, 0] = 0
    labels[1, 0, 0] = 0
    labels[1, 0, 1] = 1
    labels[2, 0, 0] = 2
    weights = torch.tensor([3.0, 1.0, 0.0, 100.0])  # nobody holds class 3
    draws = torch.stack([draw_donors(labels, weights, generator_at(n)) for n in range(3000)])
    assert draws.shape == (3000, 4)
    share = [float((draws == image).float().mean()) for image in range(4)]
    # Class 0 with 3/4, shared by images 0 and 1; class 1 with 1/4, of image 1.
    assert share == pytest.approx([0.375, 0.625, 0, 0], abs=0.02)
    assert torch.equal(draws[5], draw_donors(labels, weights, generator_at(5)))


def test_without_a_hard_class_every_image_is_its_own_donor():
    labels = torch.zeros(3, 2, 2, dtype=torch.uint8)
    assert draw_donors(labels, torch.tensor([0.0, 1.0]), generator_at(0)).tolist() == [0, 1, 2]
    assert draw_donors(labels, torch.zeros(2), generator_at(0)).tolist() == [0, 1, 2]
    assert draw_donors(torch.full_like(labels, 255), torch.ones(2), generator_at(0)).tolist() == [0, 1, 2]


def test_what_is_out_of_range_is_refused():
    with pytest.raises(InputError, match="momentum"):
        RunningConfidence(3, momentum=2)
    with pytest.raises(InputError, match="hardest"):
        hard_classes(torch.ones(3), 0)
    with pytest.raises(InputError, match="weights"):
        draw_donors(torch.zeros(1, 2, 2, dtype=torch.uint8), torch.ones(256), generator_at(0))
