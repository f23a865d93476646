"""The pass over all pixels of self-training by a Triton kernel; see ``hiast.upsampling.triton_support``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hiast.objectives.fused.request import Pass, Request
from hiast.upsampling.triton_cells import (
    blend,
    load_corners,
    locate,
    pixels,
    softmax,
    store_corners,
    to_corners,
)
from hiast.upsampling.triton_support import cell_tables, fold_corners, tile

REGION_CODES = {"ignored": 0, "confident": 1, "all": 2}


def pass_by_triton(request: Request) -> Pass:
    """Go through all pixels: one program for the pixels between four coarse ones."""
    student, teacher = request.student, request.teacher
    batch, classes, height, width = student.shape
    rows, columns = cell_tables(student, request.upsampling)
    count = batch * (height - 1) * (width - 1)
    sums = student.new_empty(count, 5)
    wanted = request.factors is not None
    shape = (batch, height - 1, width - 1, 4, classes)
    first = student.new_empty(shape if wanted else 1)
    second = student.new_empty(shape if wanted and teacher is not None else 1)
    factors = torch.stack(request.factors) if request.factors is not None else student.new_zeros(3)
    class_block, pixel_block, warps = tile(classes)
    _kernel[(count,)](
        _channels_last(student), _channels_last(student if teacher is None else teacher),
        request.labels.contiguous(), factors, first, second, sums,
        rows.first, rows.weight, columns.first, columns.weight,
        classes, height, width, *request.upsampling.size,
        with_teacher=teacher is not None, with_gradient=wanted, region=REGION_CODES[request.region],
        class_block=class_block, pixel_block=pixel_block, num_warps=warps,
    )  # fmt: skip
    return Pass(
        sums.sum(0, dtype=torch.float64),
        fold_corners(first) if wanted else None,
        fold_corners(second) if wanted and teacher is not None else None,
    )


def _channels_last(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).contiguous()


# fmt: off
@triton.jit  # type: ignore[untyped-decorator]
def _kernel(
    student: tl.tensor, teacher: tl.tensor, labels: tl.tensor, factors: tl.tensor,
    first: tl.tensor, second: tl.tensor, sums: tl.tensor,
    rows_first: tl.tensor, rows_weight: tl.tensor, columns_first: tl.tensor, columns_weight: tl.tensor,
    classes: tl.tensor, height: tl.tensor, width: tl.tensor, full_height: tl.tensor, full_width: tl.tensor,
    with_teacher: tl.constexpr, with_gradient: tl.constexpr, region: tl.constexpr,
    class_block: tl.constexpr, pixel_block: tl.constexpr,
) -> None:
    image, cell_row, cell_column, top, left, tall, broad = locate(rows_first, columns_first, height, width)
    c = tl.arange(0, class_block)
    s00, s01, s10, s11 = load_corners(student, image, cell_row, cell_column, height, width, classes, c)
    t00, t01, t10, t11 = load_corners(teacher, image, cell_row, cell_column, height, width, classes, c)
    zero, none = tl.zeros((class_block,), tl.float32), tl.zeros((pixel_block,), tl.float32)
    f00, f01, f10, f11, g00, g01, g10, g11 = zero, zero, zero, zero, zero, zero, zero, zero
    labeled, every, inner, products, nonzero = none, none, none, none, none
    for start in range(0, tall * broad, pixel_block):
        k = start + tl.arange(0, pixel_block)
        live = k < tall * broad
        row, column, v, u = pixels(k, top, left, broad, live, rows_weight, columns_weight)
        y = tl.load(labels + (image * full_height + row) * full_width + column, live, 255).to(tl.int32)
        confident = (live & (y != 255)).to(tl.float32)[:, None]
        ignored = (live & (y == 255)).to(tl.float32)[:, None]
        p, log_p, _ = softmax(blend(s00, s01, s10, s11, v, u), c, classes)
        own = (c[None, :] == y[:, None]).to(tl.float32) * confident
        sum_p = tl.sum(p * log_p, 1)[:, None]
        labeled += tl.sum(own * log_p, 1)
        every += tl.sum(confident * log_p, 1)
        inner += tl.sum(ignored * sum_p, 1)
        if with_gradient:
            d = p * (confident * tl.load(factors + 1) + ignored * tl.load(factors + 2) * (log_p - sum_p))
            d00, d01, d10, d11 = to_corners(d - own * tl.load(factors), v, u)
            f00, f01, f10, f11 = f00 + d00, f01 + d01, f10 + d10, f11 + d11
        if with_teacher:
            mask = ignored if region == 0 else (confident if region == 1 else ignored + confident)
            q, _, _ = softmax(blend(t00, t01, t10, t11, v, u), c, classes)
            product = mask * q * log_p
            products += tl.sum(product, 1)
            nonzero += tl.sum((product != 0).to(tl.float32), 1)
            if with_gradient:
                d00, d01, d10, d11 = to_corners(mask * (q - p), v, u)
                g00, g01, g10, g11 = g00 + d00, g01 + d01, g10 + d10, g11 + d11
    place = sums + tl.program_id(0) * 5
    tl.store(place, tl.sum(labeled, 0))
    tl.store(place + 1, tl.sum(every, 0))
    tl.store(place + 2, tl.sum(inner, 0))
    tl.store(place + 3, tl.sum(products, 0))
    tl.store(place + 4, tl.sum(nonzero, 0))
    if with_gradient:
        store_corners(first, classes, c, f00, f01, f10, f11)
        if with_teacher:
            store_corners(second, classes, c, g00, g01, g10, g11)
