"""The read-out of one view by a Triton kernel; see ``hiast.upsampling.triton_support``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hiast.upsampling.steps import Upsampling
from hiast.upsampling.triton_cells import blend, load_corners, locate, pixels, softmax
from hiast.upsampling.triton_support import cell_tables, tile

LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453


def read_out_by_triton(logits: Tensor, upsampling: Upsampling) -> tuple[Tensor, Tensor, Tensor]:
    """Labels uint8 [B,H,W], confidence float32 [B,H,W], and the sum of the entropy of each image, float64 [B]."""
    batch, classes, height, width = logits.shape
    rows, columns = cell_tables(logits, upsampling)
    maps = logits.detach().float().permute(0, 2, 3, 1).contiguous()
    labels = logits.new_empty((batch, *upsampling.size), dtype=torch.uint8)
    confidence = logits.new_empty((batch, *upsampling.size), dtype=torch.float32)
    count = batch * (height - 1) * (width - 1)
    sums = logits.new_empty(count, dtype=torch.float32)
    class_block, pixel_block, warps = tile(classes)
    _kernel[(count,)](
        maps, labels, confidence, sums, rows.first, rows.weight, columns.first, columns.weight,
        classes, height, width, upsampling.size[0], upsampling.size[1], LOG2_E,
        class_block=class_block, pixel_block=pixel_block, num_warps=warps,
    )  # fmt: skip
    return labels, confidence, sums.view(batch, -1).sum(1, dtype=torch.float64) * LN2


# fmt: off
@triton.jit  # type: ignore[untyped-decorator]
def _kernel(
    maps: tl.tensor, labels: tl.tensor, confidence: tl.tensor, sums: tl.tensor,
    rows_first: tl.tensor, rows_weight: tl.tensor, columns_first: tl.tensor, columns_weight: tl.tensor,
    classes: tl.tensor, height: tl.tensor, width: tl.tensor, full_height: tl.tensor, full_width: tl.tensor,
    log2_e: tl.tensor, class_block: tl.constexpr, pixel_block: tl.constexpr,
) -> None:
    image, cell_row, cell_column, top, left, tall, broad = locate(rows_first, columns_first, height, width)
    c = tl.arange(0, class_block)
    known = c[None, :] < classes
    a00, a01, a10, a11 = load_corners(maps, image, cell_row, cell_column, height, width, classes, c)
    bits = tl.zeros((pixel_block,), tl.float32)
    for start in range(0, tall * broad, pixel_block):
        k = start + tl.arange(0, pixel_block)
        live = k < tall * broad
        row, column, v, u = pixels(k, top, left, broad, live, rows_weight, columns_weight)
        z = blend(a00, a01, a10, a11, v, u)
        largest = tl.max(tl.where(known, z, -float("inf")), 1)[:, None]
        found = tl.min(tl.where((z == largest) & known, c[None, :], classes - 1), 1)
        p, log_p, total = softmax((z - largest) * log2_e, c, classes)
        place = (image * full_height + row) * full_width + column
        tl.store(labels + place, found.to(tl.uint8), live)
        tl.store(confidence + place, 1.0 / tl.sum(total, 1), live)
        bits -= tl.where(live, tl.sum(p * log_p, 1), 0.0)
    tl.store(sums + tl.program_id(0), tl.sum(bits, 0))
