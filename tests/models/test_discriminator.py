from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from published_weights import key_list, published_weights
from torch.nn import functional as F

from hiast.models import Discriminator
from hiast.objectives import adversarial_loss, discriminator_input, normalized_entropy, source_cross_entropy

CASES = [("softmax", "mse"), ("softmax", "bce"), ("entropy", "mse"), ("entropy", "bce")]


def test_keys_and_shapes_are_the_published_ones_in_order(golden: Path):
    state = Discriminator(19).state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == key_list(
        golden / "discriminator_keys.json"
    )


def test_forward_against_plain_convolutions():
    torch.manual_seed(0)
    net = Discriminator(3, width=4).double()
    maps = torch.rand(2, 3, 64, 32, dtype=torch.float64)
    x = maps
    for conv in (net.conv1, net.conv2, net.conv3, net.conv4):
        x = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=1)
        x = torch.where(x > 0, x, 0.2 * x)
    expected = F.conv2d(x, net.classifier.weight, net.classifier.bias, stride=2, padding=1)
    assert expected.shape == (2, 1, 2, 1)
    torch.testing.assert_close(net(maps), expected)


@pytest.mark.parametrize(("kind", "loss"), CASES)
def test_warmup_equals_the_published_numbers(golden: Path, kind: str, loss: str):
    arrays = np.load(golden / f"warmup_{kind}_{loss}.npz")
    net = Discriminator(19)
    net.load_state_dict(published_weights(golden / "discriminator_keys.json", int(arrays["weight_seed"])))
    source = torch.from_numpy(arrays["source_logits"])
    target = torch.from_numpy(arrays["target_logits"]).requires_grad_()

    target_scores = net(discriminator_input(target, kind))
    adversarial = adversarial_loss(target_scores, 0, loss)
    (gradient,) = torch.autograd.grad(adversarial, target)
    source_scores = net(discriminator_input(source, kind))
    both = (adversarial_loss(source_scores, 0, loss) + adversarial_loss(target_scores.detach(), 1, loss)) / 2
    labels = torch.from_numpy(arrays["source_labels"])
    results = {
        "adversarial": adversarial,
        "discriminator": both,
        "discriminator_source_output": source_scores,
        "discriminator_target_output": target_scores,
        "grad_target_adversarial": gradient,
        "source_cross_entropy": source_cross_entropy(source, labels),
        "target_entropy": normalized_entropy(target),
    }
    for name, result in results.items():
        expected = arrays[name]
        difference = np.abs(result.detach().numpy() - expected).max()
        assert difference <= 1e-5 * np.abs(expected).max(), name
