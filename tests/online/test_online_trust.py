"""Weights of pseudo-labels against counts in plain Python."""

from __future__ import annotations

import pytest
import torch
from naive_online import predictions

from hiast.errors import InputError
from hiast.online import PixelConfidence, QualityWeight, confidence_and_prediction


@pytest.mark.parametrize("per", ["batch", "image"])
@pytest.mark.parametrize("with_valid", [False, True])
@pytest.mark.parametrize("of", ["all", "valid"])
def test_quality_weight_is_the_share_of_sure_pixels(per, with_valid, of):
    confidence, prediction = predictions(0, 4, (3, 7, 9))
    valid = torch.rand(3, 7, 9, generator=torch.Generator().manual_seed(1)) < 0.7 if with_valid else None
    labels, weights = QualityWeight(0.9, per, of)(confidence, prediction, valid)
    counted = torch.ones_like(prediction, dtype=torch.bool) if valid is None else valid
    for b in range(3):
        images = range(3) if per == "batch" else [b]
        values = [float(v) for i in images for v in confidence[i][counted[i] | (of == "all")]]
        share = sum(value >= 0.9 for value in values) / len(values)
        assert 0 < share < 1
        assert torch.equal(weights[b], torch.where(counted[b], torch.tensor(share).float(), 0.0))
    assert torch.equal(labels, prediction.to(torch.uint8).masked_fill(~counted, 255))
    assert (labels.dtype, weights.dtype) == (torch.uint8, torch.float32)


def test_quality_weight_without_valid_pixels_is_0():
    confidence, prediction = predictions(0, 4, (2, 3, 3))
    valid = torch.zeros_like(prediction, dtype=torch.bool)
    valid[1] = True
    for per in ("batch", "image"):
        labels, weights = QualityWeight(0.0, per)(confidence, prediction, valid)
        assert (labels[0] == 255).all()
        assert (weights[0] == 0).all()
        assert (weights[1] == 1).all()
        nothing = QualityWeight(0.0, per)(confidence, prediction, torch.zeros_like(valid))
        assert (nothing.labels == 255).all()
        assert (nothing.weights == 0).all()


def test_a_confidence_equal_to_the_threshold_counts():
    confidence, prediction = torch.full((1, 2, 2), 0.5), torch.zeros(1, 2, 2, dtype=torch.int64)
    assert (QualityWeight(0.5)(confidence, prediction).weights == 1).all()
    assert (PixelConfidence(0.5)(confidence, prediction).weights == 1).all()
    assert (PixelConfidence(0.5000001)(confidence, prediction).labels == 255).all()


@pytest.mark.parametrize("threshold", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("soft", [True, False])
def test_pixel_confidence(threshold, soft):
    confidence, prediction = predictions(2, 5, (2, 5, 4))
    valid = torch.ones_like(prediction, dtype=torch.bool)
    valid[0, 0] = False
    labels, weights = PixelConfidence(threshold, soft)(confidence, prediction, valid)
    for b in range(2):
        for row in range(5):
            for column in range(4):
                own = float(confidence[b, row, column])
                kept = own >= threshold and bool(valid[b, row, column])
                assert int(labels[b, row, column]) == (int(prediction[b, row, column]) if kept else 255)
                assert float(weights[b, row, column]) == ((own if soft else 1.0) if kept else 0.0)


def test_confidence_and_prediction_cut_gradients_and_take_any_precision():
    probabilities = torch.randn(2, 3, 4, 5, requires_grad=True).softmax(1)
    confidence, prediction = confidence_and_prediction(probabilities.half())
    assert not confidence.requires_grad
    assert confidence.dtype == torch.float32
    assert torch.equal(prediction, probabilities.half().argmax(1))
    equal = torch.full((1, 4, 1, 1), 0.25)
    assert int(confidence_and_prediction(equal)[1]) == 0
    with pytest.raises(InputError, match=r"\[B, C, H, W\]"):
        confidence_and_prediction(torch.zeros(3, 4, 5))


def test_what_does_not_fit_is_refused():
    confidence, prediction = predictions(0, 4, (2, 3, 3))
    trust = QualityWeight()
    with pytest.raises(InputError, match="threshold"):
        QualityWeight(1.5)
    with pytest.raises(InputError, match="per"):
        QualityWeight(per="pixel")
    with pytest.raises(InputError, match="threshold"):
        PixelConfidence(-0.1)
    with pytest.raises(InputError, match="valid"):
        trust(confidence, prediction, torch.ones(2, 3, 3))
    with pytest.raises(InputError, match="integer"):
        trust(confidence, prediction.float())
    with pytest.raises(InputError, match="between 0 and 1"):
        trust(confidence * 2, prediction)
    with pytest.raises(InputError, match="between 0 and 1"):
        trust(torch.where(confidence > 0.5, torch.nan, confidence), prediction)
    with pytest.raises(InputError, match="class indices"):
        trust(confidence, prediction - 1)
    with pytest.raises(InputError, match=r"\[B, H, W\]"):
        trust(confidence[0], prediction[0])
