"""The most probable class of each pixel, its probability and the entropy, straight from coarse logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.upsampling.blocks import Plan, RowBlock, make_plan, widen
from hiast.upsampling.precision import exact_matmul, sum_dtype
from hiast.upsampling.steps import Upsampling
from hiast.upsampling.triton_support import can_use_triton

LN2 = math.log(2)


class View(NamedTuple):
    """Coarse logits of some images as they were seen once: at one scale, mirrored or not.

    Attributes:
        logits: Float [B,C,h,w] of any precision and memory format.
        upsampling: Steps from coarse maps to the full size.
        mirrored: The image was mirrored left to right; so are the upsampled logits.
    """

    logits: Tensor
    upsampling: Upsampling
    mirrored: bool = False


class ReadOut(NamedTuple):
    """What logits say of each pixel.

    Attributes:
        labels: uint8 [B,H,W], the most probable class; the first of equal ones.
        confidence: Float32 [B,H,W] (float64 for float64 logits), its probability in 0..1.
        entropy: Float64 [B], the mean over an image's pixels of -sum of p log p / log C, in 0..1; None if not asked
            for. 0 for one class.
        share: Float32 scalar, the share of all pixels with a confidence of at least the threshold; None without one.
    """

    labels: Tensor
    confidence: Tensor
    entropy: Tensor | None
    share: Tensor | None


@torch.no_grad()
@torch.compiler.disable  # type: ignore[untyped-decorator]
def read_out(views: Sequence[View], *, entropy: bool = False, threshold: float | None = None) -> ReadOut:
    """Read the classes of some images off their coarse logits; softmax maps of several views are averaged.

    Neither logits nor probabilities exist at full size, but for a few rows at a time. For one view no
    softmax is computed: the probability of the largest logit is 1 / sum of exp(z - largest).

    Args:
        views: One or more views; all of the same images, classes and full size.
        entropy: Also compute the entropy.
        threshold: Also compute the share of confident pixels (the weight of online pseudo-labels in DACS and
            DAFormer, with 0.968).

    Raises:
        InputError: There is no view, they do not fit each other, or there are more than 255 classes.

    Examples:
        >>> logits = torch.tensor([[[[8.0, 0.0]], [[0.0, 8.0]]]])  # two classes, 1 x 2 coarse pixels
        >>> read_out([View(logits, Upsampling.to((1, 4)))]).labels
        tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    """
    _check(views)
    logits, upsampling, mirrored = views[0]
    if len(views) == 1 and not mirrored and can_use_triton(logits, upsampling):
        from hiast.upsampling.triton_readout import read_out_by_triton

        labels, confidence, sums = read_out_by_triton(logits, upsampling)
    else:
        with exact_matmul(logits.device):
            labels, confidence, sums = _by_blocks(views, entropy)
    share = None if threshold is None else confidence.ge(threshold).float().mean()
    pixels = upsampling.size[0] * upsampling.size[1]
    # The entropy of one class is 0, and so is the logarithm of their number.
    return ReadOut(
        labels, confidence, sums.div(pixels * max(math.log(logits.shape[1]), LN2)) if entropy else None, share
    )


def _check(views: Sequence[View]) -> None:
    if not views:
        raise InputError("There is nothing to read out: give at least one view.")
    first = views[0]
    for view in views:
        logits = view.logits
        if logits.ndim != 4 or not 1 <= logits.shape[1] <= 255 or not logits.numel():
            raise InputError(f"Coarse logits are {tuple(logits.shape)}; give [B,C,h,w] of 1 to 255 classes.")
        if logits.shape[:2] != first.logits.shape[:2] or view.upsampling.size != first.upsampling.size:
            raise InputError(
                f"Views {tuple(logits.shape)} to {view.upsampling.size} and {tuple(first.logits.shape)} to "
                f"{first.upsampling.size} differ in images, classes or size; they must be of the same images."
            )


def _by_blocks(views: Sequence[View], entropy: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, confidence and the sum of the entropy of each image (zeros if not asked for)."""
    first = views[0].logits
    dtype = first.dtype if first.dtype == torch.float64 else torch.float32
    plans = [make_plan(first, views[0].upsampling, dtype)]
    plans += [make_plan(view.logits, view.upsampling, dtype, like=plans[0]) for view in views[1:]]
    shape = (len(first), *views[0].upsampling.size)
    labels = first.new_empty(shape, dtype=torch.uint8)
    confidence = first.new_empty(shape, dtype=dtype)
    sums = first.new_zeros(len(first), dtype=sum_dtype(first.device))
    scratch = plans[0].scratch(2 if len(views) == 1 else 3)
    wide = [plan.wide(1)[0] for plan in plans]
    for group in plans[0].groups:
        maps = [_widen(view, group, plan, out) for view, plan, out in zip(views, plans, wide, strict=True)]
        outputs = plans[0].by_rows(labels, group), plans[0].by_rows(confidence, group)
        for blocks in zip(*(plan.blocks for plan in plans), strict=True):
            spare = [out[: blocks[0].end - blocks[0].top] for out in scratch]
            if len(views) == 1:
                found = _one_view(blocks[0].expand(maps[0], spare[0]), spare[1], entropy)
            else:
                found = _mean_of_views(blocks, maps, spare, entropy)
            for output, values in zip(outputs, found, strict=False):
                output[blocks[0].rows] = values
            if entropy:
                sums[group] += found[2].sum((0, 2, 3), dtype=sums.dtype)
    return labels, confidence, sums


def _widen(view: View, group: slice, plan: Plan, out: Tensor) -> Tensor:
    wide = widen(view.logits[group].to(out.dtype), plan.columns, out)
    return wide.flip(-1) if view.mirrored else wide


def _one_view(logits: Tensor, spare: Tensor, entropy: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, confidence and entropy of a block, [r,n,1,W]; overwrites ``logits`` and ``spare``, both [r,n,C,W]."""
    logits.sub_(logits.amax(-2, keepdim=True))
    torch.mul(logits, 1 / LN2, out=spare)
    labels = _first_zero(logits)
    exponentials = torch.exp2(spare, out=logits)
    total = exponentials.sum(-2, keepdim=True)
    nats = total
    if entropy:
        inner = exponentials.mul_(spare).sum(-2, keepdim=True)
        nats = total.log2().sub_(inner.div_(total)).mul_(LN2)
    return labels, total.reciprocal(), nats


def _mean_of_views(
    blocks: Sequence[RowBlock], maps: Sequence[Tensor], spare: Sequence[Tensor], entropy: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same of the mean of softmax maps; ``spare`` are three tensors [r,n,C,W]."""
    mean = spare[2].zero_()
    for block, wide in zip(blocks, maps, strict=True):
        logits = block.expand(wide, spare[0])
        logits.sub_(logits.amax(-2, keepdim=True)).mul_(1 / LN2)
        exponentials = torch.exp2(logits, out=logits)
        mean.addcdiv_(exponentials, exponentials.sum(-2, keepdim=True), value=1 / len(blocks))
    confidence = mean.amax(-2, keepdim=True)
    labels = _first_zero(torch.sub(mean, confidence, out=spare[0]))
    nats = confidence
    if entropy:
        smallest = torch.finfo(mean.dtype).tiny
        bits = torch.clamp(mean, min=smallest, out=spare[0]).log2_().mul_(mean)
        nats = bits.sum(-2, keepdim=True).mul_(-LN2)
    return labels, confidence, nats


def _first_zero(values: Tensor) -> Tensor:
    """The first class whose value is 0 in [r,n,C,W], as [r,n,1,W]; overwrites the values.

    Ten times as fast on a CPU as ``argmax``, which does not take several pixels at a time.
    """
    classes = values.shape[-2]
    codes = torch.arange(classes, 0, -1, dtype=values.dtype, device=values.device).unsqueeze(1)
    highest = torch.eq(values, 0, out=values).mul_(codes).amax(-2, keepdim=True)
    # A pixel whose logits are not numbers has no such class, and gets the last one.
    return (classes - highest).clamp_(max=classes - 1)
