"""Weighted cross-entropy by a Triton kernel; see ``hiast.upsampling.triton_support``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hiast.upsampling import Upsampling
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


def cross_entropy_by_triton(
    logits: Tensor, labels: Tensor, pull: Tensor, upsampling: Upsampling, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Sum of w log2 p_y, a float64 scalar, and the gradient of -sum of w ln p_y, [B,C,h,w], if ``wanted``.

    Args:
        logits: Logits / ln 2, float32 [B,C,h,w].
        labels: uint8 [B,H,W], classes below C or 255.
        pull: Float32 [B,H,W], the weight of each pixel, 0 where it is ignored.
        upsampling: From [h,w] to [H,W], in one step.
        wanted: Whether the gradient is.
    """
    batch, classes, height, width = logits.shape
    rows, columns = cell_tables(logits, upsampling)
    count = batch * (height - 1) * (width - 1)
    sums = logits.new_empty(count)
    corners = logits.new_empty((batch, height - 1, width - 1, 4, classes) if wanted else 1)
    class_block, pixel_block, warps = tile(classes)
    _kernel[(count,)](
        logits.permute(0, 2, 3, 1).contiguous(), labels.contiguous(), pull.contiguous(), corners, sums,
        rows.first, rows.weight, columns.first, columns.weight,
        classes, height, width, *upsampling.size,
        with_gradient=wanted, class_block=class_block, pixel_block=pixel_block, num_warps=warps,
    )  # fmt: skip
    return sums.sum(dtype=torch.float64), fold_corners(corners) if wanted else None


# fmt: off
@triton.jit  # type: ignore[untyped-decorator]
def _kernel(
    logits: tl.tensor, labels: tl.tensor, pull: tl.tensor, corners: tl.tensor, sums: tl.tensor,
    rows_first: tl.tensor, rows_weight: tl.tensor, columns_first: tl.tensor, columns_weight: tl.tensor,
    classes: tl.tensor, height: tl.tensor, width: tl.tensor, full_height: tl.tensor, full_width: tl.tensor,
    with_gradient: tl.constexpr, class_block: tl.constexpr, pixel_block: tl.constexpr,
) -> None:
    image, cell_row, cell_column, top, left, tall, broad = locate(rows_first, columns_first, height, width)
    c = tl.arange(0, class_block)
    a00, a01, a10, a11 = load_corners(logits, image, cell_row, cell_column, height, width, classes, c)
    zero = tl.zeros((class_block,), tl.float32)
    g00, g01, g10, g11 = zero, zero, zero, zero
    total = tl.zeros((pixel_block,), tl.float32)
    for start in range(0, tall * broad, pixel_block):
        k = start + tl.arange(0, pixel_block)
        live = k < tall * broad
        row, column, v, u = pixels(k, top, left, broad, live, rows_weight, columns_weight)
        place = (image * full_height + row) * full_width + column
        y = tl.load(labels + place, live, 255).to(tl.int32)
        weight = tl.load(pull + place, live, 0.0)[:, None]
        p, log_p, _ = softmax(blend(a00, a01, a10, a11, v, u), c, classes)
        own = (c[None, :] == y[:, None]).to(tl.float32) * weight
        total += tl.sum(own * log_p, 1)
        if with_gradient:
            d00, d01, d10, d11 = to_corners(weight * p - own, v, u)
            g00, g01, g10, g11 = g00 + d00, g01 + d01, g10 + d10, g11 + d11
    tl.store(sums + tl.program_id(0), tl.sum(total, 0))
    if with_gradient:
        store_corners(corners, classes, c, g00, g01, g10, g11)
