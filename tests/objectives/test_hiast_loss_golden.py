"""The published values and gradients of the self-training terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hiast.objectives import HIASTLoss

INPUTS = ["mixed", "peaked", "nine_classes", "one_image_ignored", "no_ignored", "all_ignored"]
TERMS = [
    ("cross_entropy", "ignored", "cross_entropy"),
    ("kld_confident", "ignored", "kld_confident"),
    ("entropy_ignored", "ignored", "entropy_ignored"),
    ("consistency", "ignored", "consistency_ignored"),
    ("consistency", "confident", "consistency_confident"),
    ("consistency", "all", "consistency_all"),
    ("total", "ignored", "total"),
]
EMPTY = {
    "all_ignored": {"cross_entropy", "kld_confident", "consistency_confident"},
    "no_ignored": {"entropy_ignored", "consistency_ignored"},
}


def load(golden: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(golden / f"loss_{name}.npz") as arrays:
        return dict(arrays)


def value_and_gradient(arrays: dict[str, np.ndarray], term: str, region: str) -> tuple[float, np.ndarray]:
    logits = torch.from_numpy(arrays["logits"]).requires_grad_()
    labels, teacher = (torch.from_numpy(arrays[key]) for key in ("pseudo_labels", "teacher_probabilities"))
    value = HIASTLoss(region=region)(logits, labels, teacher)[term]
    (gradient,) = torch.autograd.grad(value, logits)
    return value.item(), gradient.numpy()


def test_every_golden_input_is_used(golden: Path) -> None:
    assert {path.stem.removeprefix("loss_") for path in golden.glob("loss_*.npz")} == set(INPUTS)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("term", "region", "key"), TERMS)
def test_equals_published(golden: Path, name: str, term: str, region: str, key: str) -> None:
    arrays = load(golden, name)
    if name in EMPTY and (key in EMPTY[name] or key == "total"):
        assert np.isnan(arrays[key])
        return
    value, gradient = value_and_gradient(arrays, term, region)
    assert value == pytest.approx(float(arrays[key]), rel=1e-5)
    largest = np.abs(arrays[f"grad_{key}"]).max()
    assert largest > 0
    np.testing.assert_allclose(gradient, arrays[f"grad_{key}"], rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize(("name", "key"), [(name, key) for name in EMPTY for key in sorted(EMPTY[name])])
def test_published_nan_is_zero_here(golden: Path, name: str, key: str) -> None:
    term, region = next((term, region) for term, region, of in TERMS if of == key)
    value, gradient = value_and_gradient(load(golden, name), term, region)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", sorted(EMPTY))
def test_total_of_what_is_not_empty(golden: Path, name: str) -> None:
    arrays = load(golden, name)
    weights = {
        "cross_entropy": 1.0,
        "kld_confident": 0.1,
        "entropy_ignored": 1.0,
        "consistency_ignored": 0.5,
    }
    kept = [key for key in weights if key not in EMPTY[name]]
    value, gradient = value_and_gradient(arrays, "total", "ignored")
    assert value == pytest.approx(sum(weights[key] * float(arrays[key]) for key in kept), rel=1e-5)
    wanted = sum(weights[key] * arrays[f"grad_{key}"] for key in kept)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
