"""Weighted cross-entropy and its gradient, straight from coarse logits."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.objectives.fused.backend import Backend, check_coarse, choose_backend
from hiast.objectives.fused.request import LN2
from hiast.objectives.regions import at_least_float32
from hiast.upsampling import Plan, Upsampling, exact_matmul, make_plan, narrow, sum_dtype, widen

Normalization = Literal["labeled", "all"]
"""What the sum is divided by: the number of pixels with a label, or of all pixels."""


@torch.compiler.disable  # type: ignore[untyped-decorator]
def coarse_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    upsampling: Upsampling,
    *,
    weights: Tensor | None = None,
    normalization: Normalization = "labeled",
    backend: Backend = "auto",
) -> Tensor:
    """Sum of -w log p_y over the pixels with a label, divided by the number of labeled or of all pixels.

    Without weights and over labeled pixels it is ``source_cross_entropy``. Online self-training weights the pixels by
    the trust in their pseudo-labels and divides by all of them (DACS, Tranheden et al. 2021; DAFormer, Hoyer et
    al. 2022). Full-size tensors of C channels never exist, see ``self_training_terms``.

    Args:
        logits: Float [B,C,h,w] of any precision and memory format; computed in float32 or float64.
        labels: uint8 [B,H,W], classes below C or 255 = ignored.
        upsampling: From [h,w] to [H,W].
        weights: Float [B,H,W], taken as constants; None is 1 everywhere. Those of ignored pixels do not matter, even
            if they are not finite.
        normalization: ``"labeled"`` or ``"all"`` pixels, whatever they weigh.
        backend: See ``choose_backend``.

    Returns:
        A scalar, natural log; 0 with a zero gradient if there is no label.

    Raises:
        InputError: Shapes, labels, ``normalization`` or the backend do not fit.

    Examples:
        >>> logits = torch.zeros(1, 4, 2, 2, requires_grad=True)
        >>> labels = torch.zeros(1, 8, 8, dtype=torch.uint8)
        >>> float(coarse_cross_entropy(logits, labels, Upsampling.to((8, 8))))  # log 4
        1.38629...
    """
    check_coarse(logits, labels, upsampling)
    if normalization not in get_args(Normalization):
        raise InputError(
            f"normalization is {normalization!r}; choose one of {', '.join(get_args(Normalization))}."
        )
    if weights is not None and weights.shape != labels.shape:
        raise InputError(
            f"Weights {tuple(weights.shape)} and labels {tuple(labels.shape)} differ in shape; give one for each pixel."
        )
    chosen = choose_backend(backend, logits, upsampling)
    loss: Tensor = _CrossEntropy.apply(logits, labels, weights, upsampling, normalization, chosen)
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        weights: Tensor | None,
        upsampling: Upsampling,
        normalization: Normalization,
        backend: Backend,
    ) -> Tensor:
        exact = at_least_float32(logits.detach()).contiguous() / LN2
        sure = labels.ne(IGNORED)
        pull = sure.to(exact.dtype)
        if weights is not None:
            pull = torch.where(sure, weights.detach().to(exact.dtype), 0)
        with exact_matmul(logits.device):
            summed, gradient = _run(exact, labels, pull, upsampling, ctx.needs_input_grad[0], backend)
        count = sure.sum().clamp(min=1) if normalization == "labeled" else max(labels.numel(), 1)
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(count))
        ctx.dtype = logits.dtype
        # Not -LN2 * summed, which is -0.0 where nothing weighs.
        return (LN2 * (0 - summed) / count).to(exact.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, incoming: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * incoming).to(ctx.dtype), None, None, None, None, None


def _run(
    logits: Tensor, labels: Tensor, pull: Tensor, upsampling: Upsampling, wanted: bool, backend: Backend
) -> tuple[Tensor, Tensor | None]:
    """Sum of w log2 p_y, a float64 scalar, and the gradient of -sum of w ln p_y or None."""
    if backend == "triton":
        from hiast.objectives.fused.triton_cross_entropy import cross_entropy_by_triton

        return cross_entropy_by_triton(logits, labels, pull, upsampling, wanted)
    plan = make_plan(logits, upsampling, logits.dtype)
    gradient = torch.empty_like(logits) if wanted else None
    scratch, buffers = plan.scratch(2), plan.wide(2)
    sums: list[Tensor] = []
    for group in plan.groups:
        wide, total = widen(logits[group], plan.columns, buffers[0]), buffers[1].zero_()
        sums += _one_group(plan, group, wide, total, labels, pull, scratch)
        if gradient is not None:
            narrow(total, plan.columns, gradient[group])
    return torch.stack(sums).sum(dtype=sum_dtype(logits.device)), gradient


def _one_group(
    plan: Plan,
    group: slice,
    wide: Tensor,
    total: Tensor,
    labels: Tensor,
    pull: Tensor,
    scratch: list[Tensor],
) -> list[Tensor]:
    """The blocks of some images: their sums; adds their gradients to ``total``."""
    labels, pull = plan.by_rows(labels, group), plan.by_rows(pull, group)
    sums = []
    for block in plan.blocks:
        rows = block.expand(wide, scratch[0])
        exponentials = scratch[1][: len(rows)]
        sums.append(block_cross_entropy(rows, exponentials, labels[block.rows], pull[block.rows]))
        block.fold(exponentials, total)
    return sums


def block_cross_entropy(logits: Tensor, exponentials: Tensor, labels: Tensor, pull: Tensor) -> Tensor:
    """Sum of w log2 p_y over one block, a scalar.

    Args:
        logits: Logits / ln 2, float [r,n,C,W]; overwritten.
        exponentials: Float [r,n,C,W], any content; becomes the gradient of -sum of w ln p_y.
        labels: uint8 [r,n,1,W], classes below C or 255.
        pull: Float [r,n,1,W], the weight of each pixel, 0 where it is ignored.
    """
    logits.sub_(logits.amax(-2, keepdim=True))
    index = labels.mul(labels.ne(IGNORED)).long()
    torch.exp2(logits, out=exponentials)
    norm = exponentials.sum(-2, keepdim=True)
    value = logits.gather(-2, index).sub_(norm.log2()).mul_(pull).sum()
    exponentials.mul_(pull / norm).scatter_add_(-2, index, -pull)
    return value
