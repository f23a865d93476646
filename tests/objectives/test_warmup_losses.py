"""The warm-up's losses and its discriminator against published values, loops and the edges of their domain."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from naive_losses import IGNORED, draw, log_softmax
from torch import Tensor

from hiast.errors import InputError
from hiast.models import Discriminator
from hiast.objectives import adversarial_loss, discriminator_input, normalized_entropy, source_cross_entropy

SOURCE, TARGET = 0, 1
VARIANTS = [(maps, kind) for maps in ("softmax", "entropy") for kind in ("mse", "bce")]


def load(golden: Path, maps: str, kind: str) -> dict[str, Tensor]:
    with np.load(golden / f"warmup_{maps}_{kind}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def discriminator_by_recipe(golden: Path, seed: int) -> Discriminator:
    """Weights as tests/golden/README.md draws them."""
    names = list(json.loads((golden / "discriminator_keys.json").read_text()))
    discriminator = Discriminator(19)
    state = discriminator.state_dict()
    assert list(state) == [name for name, _ in names]
    for index, (name, shape) in enumerate(names):
        rng = np.random.default_rng([seed, index])
        values = rng.standard_normal(shape)
        values *= math.sqrt(2 / (shape[1] * shape[2] * shape[3])) if len(shape) == 4 else 0.1
        state[name].copy_(torch.from_numpy(values.astype(np.float32)))
    return discriminator


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(("maps", "kind"), VARIANTS)
def test_equals_published(golden: Path, maps: str, kind: str) -> None:
    arrays = load(golden, maps, kind)
    discriminator = discriminator_by_recipe(golden, int(arrays["weight_seed"]))
    target_logits = arrays["target_logits"].requires_grad_()
    of_source = discriminator(discriminator_input(arrays["source_logits"], maps))
    of_target = discriminator(discriminator_input(target_logits, maps))
    close(of_source, arrays["discriminator_source_output"])
    close(of_target, arrays["discriminator_target_output"])

    adversarial = adversarial_loss(of_target, SOURCE, kind)
    (gradient,) = torch.autograd.grad(adversarial, target_logits, retain_graph=True)
    both = (adversarial_loss(of_source, SOURCE, kind) + adversarial_loss(of_target, TARGET, kind)) / 2
    found = {
        "adversarial": adversarial,
        "discriminator": both,
        "target_entropy": normalized_entropy(target_logits),
        "source_cross_entropy": source_cross_entropy(arrays["source_logits"], arrays["source_labels"]),
    }
    for name, value in found.items():
        assert value.item() == pytest.approx(float(arrays[name]), rel=1e-5), name
    close(gradient, arrays["grad_target_adversarial"])


def test_maps_and_entropy_equal_loops() -> None:
    logits, _, _ = draw(1, 7, (2, 3, 2))
    softmax, entropy = (discriminator_input(logits, kind) for kind in ("softmax", "entropy"))
    pixel_sums = []
    for b, row, column in np.ndindex(2, 3, 2):
        log_p = log_softmax(logits[b, :, row, column].tolist())
        maps = [-math.exp(value) * value / math.log(7) for value in log_p]
        assert softmax[b, :, row, column].tolist() == pytest.approx([math.exp(value) for value in log_p])
        assert entropy[b, :, row, column].tolist() == pytest.approx(maps, rel=1e-12)
        pixel_sums.append(sum(maps))
    assert normalized_entropy(logits).item() == pytest.approx(sum(pixel_sums) / len(pixel_sums), rel=1e-12)


def test_entropy_spans_zero_to_one() -> None:
    even = torch.zeros(1, 9, 2, 2)
    sure = even.clone()
    sure[:, 4] = 1e4
    assert normalized_entropy(even).item() == pytest.approx(1, rel=1e-6)
    assert normalized_entropy(sure).item() == pytest.approx(0, abs=1e-6)


def test_losses_of_the_answers_equal_loops() -> None:
    outputs = draw(2, 1, (2, 3, 3))[0]
    for label in (SOURCE, TARGET):
        squared = [(value - label) ** 2 for value in outputs.flatten().tolist()]
        chances = [1 / (1 + math.exp(-value)) for value in outputs.flatten().tolist()]
        crossed = [-math.log(chance if label else 1 - chance) for chance in chances]
        assert adversarial_loss(outputs, label, "mse").item() == pytest.approx(sum(squared) / 18, rel=1e-12)
        assert adversarial_loss(outputs, label, "bce").item() == pytest.approx(sum(crossed) / 18, rel=1e-12)


def test_source_cross_entropy_equals_a_loop() -> None:
    logits, labels, _ = draw(3, 6)
    values = [
        -log_softmax(logits[b, :, row, column].tolist())[int(labels[b, row, column])]
        for b, row, column in np.ndindex(*labels.shape)
        if labels[b, row, column] != IGNORED
    ]
    assert source_cross_entropy(logits, labels).item() == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_gradients_in_float64() -> None:
    logits, labels, _ = draw(4, 3, (1, 2, 3))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(normalized_entropy, (logits,))
    assert torch.autograd.gradcheck(lambda values: source_cross_entropy(values, labels), (logits,))
    for maps, kind in VARIANTS:
        assert torch.autograd.gradcheck(
            lambda values, maps=maps, kind=kind: adversarial_loss(discriminator_input(values, maps), 1, kind),
            (logits,),
        )


def test_all_ignored_is_zero_without_gradient() -> None:
    logits, labels, _ = draw(5, ignored=1.0)
    loss = source_cross_entropy(logits.requires_grad_(), labels)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    logits, labels, _ = draw(6, 19, (2, 4, 4))
    exact = (logits / logits.abs().max() * 1e4).to(dtype)
    half = exact.clone().requires_grad_()
    losses = {
        "cross": source_cross_entropy(half, labels),
        "entropy": normalized_entropy(half),
        "softmax": discriminator_input(half, "softmax").square().mean(),
        "maps": discriminator_input(half, "entropy").square().mean(),
        "mse": adversarial_loss(half, TARGET, "mse"),
        "bce": adversarial_loss(half, SOURCE, "bce"),
    }
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, half, retain_graph=True)
        assert loss.dtype == torch.float32, name
        assert torch.isfinite(loss) and torch.isfinite(gradient).all(), name
    wanted = source_cross_entropy(exact.double(), labels).item()
    assert losses["cross"].item() == pytest.approx(wanted, rel=1e-5)


def test_autocast_changes_nothing() -> None:
    logits, labels, _ = draw(7, 19, (1, 8, 8))
    logits = logits.float()

    def values() -> list[float]:
        answers = [adversarial_loss(discriminator_input(logits, maps), 1, kind) for maps, kind in VARIANTS]
        return [
            loss.item()
            for loss in (*answers, normalized_entropy(logits), source_cross_entropy(logits, labels))
        ]

    wanted = values()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert values() == wanted


def test_input_that_means_nothing() -> None:
    logits, labels, _ = draw(8)
    with pytest.raises(InputError, match="softmax or entropy"):
        discriminator_input(logits, "probabilities")
    with pytest.raises(InputError, match="mse or bce"):
        adversarial_loss(logits, SOURCE, "hinge")
    with pytest.raises(InputError, match="domain label"):
        adversarial_loss(logits, 2)
    with pytest.raises(InputError, match="two classes"):
        normalized_entropy(logits[:, :1])
    labels[0, 0, 0] = 77
    with pytest.raises(InputError, match="class 77"):
        source_cross_entropy(logits, labels)
