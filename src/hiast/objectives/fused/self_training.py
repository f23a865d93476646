"""The four terms of self-training and their gradient, straight from coarse logits."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.objectives.consistency import Denominator
from hiast.objectives.fused.backend import Backend, check_coarse, choose_backend
from hiast.objectives.fused.block_terms import pass_by_blocks
from hiast.objectives.fused.request import LN2, Factors, Request
from hiast.objectives.regions import Region, at_least_float32
from hiast.upsampling import Upsampling, exact_matmul, sum_dtype

SMALLEST_EXPONENT = -100.0
"""A teacher's logits to base 2 above this need no maximum of their own at full size: exp2 keeps all its digits."""


class TermSettings(NamedTuple):
    """What the four terms are; see ``hiast.objectives.HIASTLoss``.

    Attributes:
        kld: Weight of kld_confident.
        entropy: Weight of entropy_ignored.
        consistency: Weight of consistency.
        region: Pixels of consistency.
        denominator: What consistency is divided by.
        divisor: The number that takes the place of C in the divisors.
    """

    kld: float
    entropy: float
    consistency: float
    region: Region
    denominator: Denominator
    divisor: int


class Counts(NamedTuple):
    """Numbers of pixels, float64 scalars of at least 1.

    Attributes:
        confident: Number of pixels with a pseudo-label.
        ignored: Number of pixels without one.
        region: Number of pixels in the region of consistency.
    """

    confident: Tensor
    ignored: Tensor
    region: Tensor


@torch.compiler.disable  # type: ignore[untyped-decorator]
def self_training_terms(
    student: Tensor,
    labels: Tensor,
    teacher: Tensor | None,
    upsampling: Upsampling,
    settings: TermSettings,
    backend: Backend = "auto",
) -> dict[str, Tensor]:
    """The terms and their weighted sum, as ``HIASTLoss.from_coarse`` describes them.

    Full-size logits, probabilities and gradients exist for a few rows at a time. The gradient is computed together
    with the value, and a backward pass multiplies it by one number. Logits of half precision are upsampled and
    summed in float32; float64 stays.

    Args:
        student: Float [B,C,h,w] of any precision and memory format.
        labels: uint8 [B,H,W], classes below C or 255.
        teacher: Like ``student``, taken as constants; or None.
        upsampling: From [h,w] to [H,W], for both.
        settings: Weights and options.
        backend: See ``choose_backend``.

    Raises:
        InputError: Shapes, labels or the backend do not fit.
    """
    check_coarse(student, labels, upsampling)
    if teacher is not None and teacher.shape != student.shape:
        raise InputError(
            f"Coarse logits of the teacher {tuple(teacher.shape)} and of the student {tuple(student.shape)} differ "
            "in shape; both see the same window."
        )
    chosen = choose_backend(backend, student, upsampling)
    values = _Terms.apply(student, teacher, labels, upsampling, settings, chosen)
    names = ("cross_entropy", "kld_confident", "entropy_ignored", "consistency", "total")
    return dict(zip(names, values, strict=True))


class _Terms(torch.autograd.Function):
    """The four terms, which are for reading, and their weighted sum, which has a gradient to the student."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor | None,
        labels: Tensor,
        upsampling: Upsampling,
        settings: TermSettings,
        backend: Backend,
    ) -> tuple[Tensor, ...]:
        counts = _counts(labels, settings.region)
        with exact_matmul(student.device):
            factors = _factors(counts, settings, student) if ctx.needs_input_grad[0] else None
            request = _request(student, teacher, labels, upsampling, settings, factors)
            if backend == "triton":
                from hiast.objectives.fused.triton_terms import pass_by_triton

                done = pass_by_triton(request)
            else:
                done = pass_by_blocks(request)
        values, share = _values(done.sums, counts, settings, student)
        if done.first is not None:
            gradient = done.first.sub_(done.first.mean(1, keepdim=True))
            if done.second is not None and settings.consistency:
                gradient.sub_(done.second.mul_(share * settings.consistency))
            ctx.save_for_backward(gradient)
        ctx.dtype = student.dtype
        ctx.mark_non_differentiable(*values[:4])
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # The scale of mixed precision is multiplied in before the rounding to half precision.
        return (gradient * gradients[4]).to(ctx.dtype), None, None, None, None, None


def _counts(labels: Tensor, region: Region) -> Counts:
    confident = labels.ne(IGNORED).sum().to(sum_dtype(labels.device))
    ignored = labels.numel() - confident
    chosen = {"confident": confident, "ignored": ignored}.get(region, confident + ignored)
    return Counts(*(count.clamp(min=1) for count in (confident, ignored, chosen)))


def _factors(counts: Counts, settings: TermSettings, logits: Tensor) -> Factors:
    dtype, divisor = at_least_float32(logits).dtype, settings.divisor
    return Factors(
        (1 / counts.confident).to(dtype),
        ((1 + settings.kld * logits.shape[1] / divisor**2) / counts.confident).to(dtype),
        (-settings.entropy * LN2 / (counts.ignored * divisor)).to(dtype),
    )


def _request(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    upsampling: Upsampling,
    settings: TermSettings,
    factors: Factors | None,
) -> Request:
    def to_base_2(logits: Tensor) -> Tensor:
        exact = at_least_float32(logits.detach()).contiguous()
        return exact / LN2

    shifted, in_range = None, False
    if teacher is not None:
        shifted = to_base_2(teacher)
        shifted -= shifted.amax(1, keepdim=True)
        # Elsewhere the answer would have to be waited for.
        in_range = shifted.device.type == "cpu" and bool(shifted.amin() > SMALLEST_EXPONENT)
    return Request(to_base_2(student), shifted, in_range, labels, upsampling, settings.region, factors)


def _values(
    sums: Tensor, counts: Counts, settings: TermSettings, logits: Tensor
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Terms and total, and the factor of consistency's products; scalars in the type that is computed in."""
    dtype, classes, divisor = at_least_float32(logits).dtype, logits.shape[1], settings.divisor
    labeled, every, entropy, products, nonzero = (-LN2 * sums).unbind()
    count = nonzero / -LN2 if settings.denominator == "nonzero" else counts.region * classes
    share = classes / divisor / count.clamp(min=1)
    terms = (
        labeled / counts.confident,
        every / (counts.confident * divisor**2),
        entropy / (counts.ignored * divisor),
        products * share,
    )
    total = terms[0] + settings.kld * terms[1] + settings.entropy * terms[2] + settings.consistency * terms[3]
    return tuple(value.to(dtype) for value in (*terms, total)), share.to(dtype)
