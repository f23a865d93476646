"""Weighted cross-entropy from coarse logits against that of upsampled ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_coarse_terms import UP, UPSAMPLINGS, draw
from torch import Tensor
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.objectives import coarse_cross_entropy, source_cross_entropy
from hiast.upsampling import Upsampling
from hiast.upsampling import blocks as module


def plainly(
    logits: Tensor, labels: Tensor, upsampling: Upsampling, weights: Tensor | None, normalization: str
) -> Tensor:
    values = F.cross_entropy(upsampling(logits), labels.long(), ignore_index=255, reduction="none")
    if weights is not None:
        values = values * torch.where(labels != 255, weights, 0)
    count = labels.numel() if normalization == "all" else max(int((labels != 255).sum()), 1)
    return values.sum() / count


def weigh(labels: Tensor) -> Tensor:
    return torch.rand(labels.shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
@pytest.mark.parametrize("elements", [1, 3000, 10**7])
@pytest.mark.parametrize("normalization", ["labeled", "all"])
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_cross_entropy_of_upsampled_logits(
    monkeypatch: pytest.MonkeyPatch, upsampling: Upsampling, elements: int, normalization: Any, weighted: bool
) -> None:
    monkeypatch.setattr(module, "CPU_BLOCK", elements)
    logits, labels, _ = draw(size=upsampling.size)
    weights = weigh(labels) if weighted else None
    logits.requires_grad_()
    found = coarse_cross_entropy(logits, labels, upsampling, weights=weights, normalization=normalization)
    wanted = plainly(logits, labels, upsampling, weights, normalization)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-15)


def test_source_cross_entropy_is_a_case_of_it() -> None:
    logits, labels, _ = draw(19)
    wanted = source_cross_entropy(UP(logits), labels)
    assert coarse_cross_entropy(logits, labels, UP).item() == pytest.approx(wanted.item(), rel=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 150, 255])
def test_any_number_of_classes_in_float32(classes: int) -> None:
    logits, labels, _ = draw(classes)
    values = logits.float().requires_grad_()
    found = coarse_cross_entropy(values, labels, UP, weights=weigh(labels), normalization="all")
    exact = logits.requires_grad_()
    wanted = plainly(exact, labels, UP, weigh(labels), "all")
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    (gradient,), (expected,) = torch.autograd.grad(found, values), torch.autograd.grad(wanted, exact)
    torch.testing.assert_close(
        gradient.double(), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max())
    )


def test_numeric_gradient() -> None:
    logits, labels, _ = draw(3, 2, (2, 3), (5, 7))
    weights = weigh(labels)
    assert torch.autograd.gradcheck(
        lambda values: coarse_cross_entropy(values, labels, Upsampling.to((5, 7)), weights=weights),
        (logits.requires_grad_(),),
    )


@pytest.mark.parametrize("normalization", ["labeled", "all"])
def test_no_label_is_zero_without_gradient(normalization: Any) -> None:
    logits, labels, _ = draw(ignored=1.0)
    logits.requires_grad_()
    weights = torch.full(labels.shape, torch.inf)
    loss = coarse_cross_entropy(logits, labels, UP, weights=weights, normalization=normalization)
    loss.backward()
    assert str(loss.item()) == "0.0" and logits.grad is not None and not logits.grad.any()


def test_half_precision_and_autocast() -> None:
    logits, labels, _ = draw(19)
    half = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = coarse_cross_entropy(half, labels, UP, weights=weigh(labels))
    wanted = coarse_cross_entropy(half.detach().double(), labels, UP, weights=weigh(labels))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted.item(), rel=1e-6)
    assert torch.autograd.grad(found, half)[0].dtype == torch.bfloat16


def test_without_a_gradient() -> None:
    logits, labels, _ = draw()
    assert not coarse_cross_entropy(logits, labels, UP).requires_grad


def test_what_does_not_fit_is_refused() -> None:
    logits, labels, _ = draw()
    with pytest.raises(InputError, match="do not fit"):
        coarse_cross_entropy(logits, labels[:1], UP)
    with pytest.raises(InputError, match="one for each pixel"):
        coarse_cross_entropy(logits, labels, UP, weights=torch.ones(2, 3))
    with pytest.raises(InputError, match="normalization"):
        coarse_cross_entropy(logits, labels, UP, normalization="weights")  # type: ignore[arg-type]
