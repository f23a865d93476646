"""Weighted cross-entropy against pixel loops, with gradients, half precision and nothing to learn from."""

from __future__ import annotations

import pytest
import torch
from naive_online import weighted_cross_entropy as naive

from hiast.errors import InputError
from hiast.online import weighted_cross_entropy


def drawn(seed, classes=4, kind=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(2, classes, 3, 5, generator=generator) * 3).to(kind)
    labels = torch.randint(0, classes + 1, (2, 3, 5), generator=generator).to(torch.uint8)
    labels[labels == classes] = 255
    return logits, labels, torch.rand(2, 3, 5, generator=generator)


@pytest.mark.parametrize("normalization", ["all", "labeled"])
@pytest.mark.parametrize("classes", [1, 2, 19])
def test_equals_pixel_loops(normalization, classes):
    logits, labels, weights = drawn(classes, classes)
    found = weighted_cross_entropy(logits, labels, weights, normalization)
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(naive(logits, labels, weights, normalization), rel=1e-12)
    alone = weighted_cross_entropy(logits, labels, None, normalization)
    assert float(alone) == pytest.approx(
        naive(logits, labels, torch.ones_like(weights), normalization), rel=1e-12
    )


@pytest.mark.parametrize("normalization", ["all", "labeled"])
def test_gradients_are_right_and_do_not_reach_the_weights(normalization):
    logits, labels, weights = drawn(7)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: weighted_cross_entropy(x, labels, weights.double(), normalization), (logits,)
    )
    weights.requires_grad_()
    weighted_cross_entropy(logits, labels, weights, normalization).backward()
    assert weights.grad is None
    assert (logits.grad.abs().sum(1)[labels == 255] == 0).all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_summed_in_float32(kind):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, 200, 200, generator=generator).to(kind)
    labels = torch.randint(0, 3, (1, 200, 200), generator=generator).to(torch.uint8)
    found = weighted_cross_entropy(logits, labels, torch.full((1, 200, 200), 0.5, dtype=kind))
    assert found.dtype == torch.float32
    wanted = weighted_cross_entropy(logits.double(), labels, torch.full((1, 200, 200), 0.5))
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("normalization", ["all", "labeled"])
def test_nothing_labeled_is_0_with_a_zero_gradient(normalization):
    logits, labels, weights = drawn(1)
    logits.requires_grad_()
    labels.fill_(255)
    loss = weighted_cross_entropy(logits, labels, torch.full_like(weights, torch.nan), normalization)
    loss.backward()
    assert float(loss.detach()) == 0
    assert (logits.grad == 0).all()


def test_half_the_labels_pull_half_as_much_unless_normalized():
    logits = torch.zeros(1, 2, 2, 2)
    labels = torch.tensor([[[0, 255], [0, 255]]], dtype=torch.uint8)
    log2 = 0.6931472
    assert float(weighted_cross_entropy(logits, labels)) == pytest.approx(log2 / 2)
    assert float(weighted_cross_entropy(logits, labels, None, "labeled")) == pytest.approx(log2)
    no_weight = torch.zeros(1, 2, 2)
    no_weight[0, 0] = 1
    assert float(weighted_cross_entropy(logits, labels, no_weight, "labeled")) == pytest.approx(log2 / 2)


def test_what_does_not_fit_is_refused():
    logits, labels, weights = drawn(1)
    with pytest.raises(InputError, match="normalization"):
        weighted_cross_entropy(logits, labels, weights, "weights")
    with pytest.raises(InputError, match="Labels"):
        weighted_cross_entropy(logits, labels[:1], weights)
    with pytest.raises(InputError, match="Weights"):
        weighted_cross_entropy(logits, labels, weights[:1])
    with pytest.raises(InputError, match="class 4"):
        weighted_cross_entropy(logits, labels.masked_fill(labels == 0, 4), weights)
