"""The pass over all pixels by blocks of rows, in plain torch operations: for every device and number of classes."""

from __future__ import annotations

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.objectives.fused.request import Factors, Pass, Request
from hiast.objectives.regions import Region
from hiast.upsampling import Plan, make_plan, narrow, sum_dtype, widen


def pass_by_blocks(request: Request) -> Pass:
    """Go through all pixels."""
    plan = make_plan(request.student, request.upsampling, request.student.dtype)
    sources = [maps for maps in (request.student, request.teacher) if maps is not None]
    gradients = [torch.empty_like(maps) for maps in sources] if request.factors is not None else []
    buffers = plan.scratch(4), plan.wide(2 * len(sources))
    sums: list[Tensor] = []
    for group in plan.groups:
        wide = [widen(maps[group], plan.columns, out) for maps, out in zip(sources, buffers[1], strict=False)]
        totals = [total.zero_() for total in buffers[1][len(sources) :]][: len(gradients)]
        sums += _one_group(request, plan, group, wide, totals, buffers[0])
        for total, gradient in zip(totals, gradients, strict=True):
            narrow(total, plan.columns, gradient[group])
    both: list[Tensor | None] = [*gradients, None, None]
    return Pass(torch.stack(sums).sum(0, dtype=sum_dtype(request.student.device)), both[0], both[1])


def _one_group(
    request: Request,
    plan: Plan,
    group: slice,
    wide: list[Tensor],
    totals: list[Tensor],
    scratch: list[Tensor],
) -> list[Tensor]:
    """The blocks of some images: their sums; adds their gradients to ``totals``."""
    labels = plan.by_rows(request.labels, group)
    sums = []
    for block in plan.blocks:
        rows = [out[: block.end - block.top] for out in scratch]
        student = block.expand(wide[0], rows[0])
        teacher = block.expand(wide[1], rows[1]) if len(wide) > 1 else None
        sums.append(
            block_terms(
                student,
                teacher,
                rows[2],
                rows[3],
                labels[block.rows],
                request.factors,
                request.region,
                request.teacher_in_range,
            )
        )
        for gradient, total in zip((rows[3], rows[1]), totals, strict=False):
            block.fold(gradient, total)
    return sums


def block_terms(
    student: Tensor,
    teacher: Tensor | None,
    exponentials: Tensor,
    gradient: Tensor,
    labels: Tensor,
    factors: Factors | None,
    region: Region,
    teacher_in_range: bool,
) -> Tensor:
    """Sums of one block, [5] as in ``Pass``. All its tensors are overwritten; two then hold gradients.

    Args:
        student: Logits / ln 2, float [r,n,C,W].
        teacher: Logits / ln 2 like ``student``, or None. With factors it becomes the gradient of the sum of q ln p.
        exponentials: Float [r,n,C,W], any content.
        gradient: Float [r,n,C,W], any content. With factors it becomes the gradient of the terms but consistency.
        labels: uint8 [r,n,1,W], classes below C or 255.
        factors: See ``Request``.
        region: See ``Request``.
        teacher_in_range: See ``Request``.
    """
    sure = labels.ne(IGNORED)
    confident = sure.to(student.dtype)
    ignored = 1 - confident
    index = labels.mul(sure).long()

    student.sub_(student.amax(-2, keepdim=True))
    torch.exp2(student, out=exponentials)
    scale = exponentials.sum(-2, keepdim=True)
    log_p = student.sub_(scale.log2())
    scale.reciprocal_()

    torch.mul(exponentials, log_p, out=gradient)
    inner = gradient.sum(-2, keepdim=True).mul_(scale)
    sums = [
        log_p.gather(-2, index).mul_(confident).sum(),
        log_p.sum(-2, keepdim=True).mul_(confident).sum(),
        (inner * ignored).sum(),
    ]
    if factors is not None:
        weight = ignored * factors.ignored
        pull = (confident * factors.confident).addcmul_(weight, inner, value=-1).mul_(scale)
        gradient.mul_(weight.mul_(scale)).addcmul_(exponentials, pull)
        gradient.scatter_add_(-2, index, confident * -factors.target)
    if teacher is None:
        return torch.stack([*sums, torch.zeros_like(sums[0]), torch.zeros_like(sums[0])])

    mask = {"ignored": ignored, "confident": confident}.get(region)
    if not teacher_in_range:
        teacher.sub_(teacher.amax(-2, keepdim=True))
    torch.exp2(teacher, out=teacher)
    norm = teacher.sum(-2, keepdim=True).reciprocal_()
    teacher.mul_(norm if mask is None else norm.mul_(mask))
    products = log_p.mul_(teacher)
    sums += [products.sum(), torch.ne(products, 0, out=products).sum()]
    if factors is not None:
        teacher.addcmul_(exponentials, scale if mask is None else scale.mul_(mask), value=-1)
    return torch.stack(sums)
