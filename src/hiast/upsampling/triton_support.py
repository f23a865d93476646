"""Whether the Triton kernels can be used, and the tables that they read; needs no Triton itself.

The kernels divide the full size into cells: the pixels between four neighboring coarse ones. One program computes
one cell and writes four gradients for each class, so that nothing is added by two programs: results do not depend on
their order. They were checked in Triton's interpreter, and on an H200 (``benchmarks/loss_head.py``).
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from hiast.upsampling.steps import Upsampling, taps

SMALLEST_CELL = 12
"""Pixels of a cell below which a program would have too little to do; stride 4 has 16."""


class Cells(NamedTuple):
    """Where the cells of one axis lie.

    Attributes:
        first: int32 [coarse], the first full-size row of each cell; the last entry is the number of rows.
        weight: Float32 [full], how much of the second coarse row each row reads.
    """

    first: Tensor
    weight: Tensor


def can_use_triton(logits: Tensor, upsampling: Upsampling) -> bool:
    """Whether the kernels are the choice for these logits: on a CUDA device, and with cells worth a program."""
    if logits.device.type != "cuda" or why_not_triton(logits, upsampling):
        return False
    rows, columns = upsampling.size
    return rows * columns >= SMALLEST_CELL * logits.shape[-2] * logits.shape[-1]


def why_not_triton(logits: Tensor, upsampling: Upsampling) -> str:
    """What keeps the kernels from being used for float [B,C,h,w] ``logits``; empty if nothing does."""
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if logits.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"the logits are on {logits.device.type}"
    if logits.dtype == torch.float64:
        return "the logits are float64"
    if len(upsampling.steps) > 1:
        return "the logits are interpolated more than once"
    if min(logits.shape[-2:]) < 2:
        return "the coarse logits have a single row or column"
    return ""


@lru_cache(maxsize=64)
def cells(coarse: int, full: int, kept: int, align_corners: bool, device: torch.device) -> Cells:
    """Cells of one axis from ``coarse`` elements to ``full``, of which the first ``kept`` are wanted; cached."""
    with torch.inference_mode(False):
        low, weight = taps(coarse, full, align_corners, torch.float32)
        first = torch.searchsorted(low[:kept], torch.arange(coarse))
        return Cells(first.to(device, torch.int32), weight[:kept].to(device))


def cell_tables(logits: Tensor, upsampling: Upsampling) -> tuple[Cells, Cells]:
    """Cells along the height and along the width."""
    step = upsampling.steps[0]
    height, width = logits.shape[-2:]
    return (
        cells(height, step.size[0], step.kept[0], step.align_corners, logits.device),
        cells(width, step.size[1], step.kept[1], step.align_corners, logits.device),
    )


def tile(classes: int) -> tuple[int, int, int]:
    """Classes and pixels of a program's tile, powers of two, and its warps."""
    class_block = max(2, 1 << (classes - 1).bit_length())
    pixel_block = max(8, min(32, 2048 // class_block))
    # Eight numbers of the tile for each thread: then the compiler for sm_90 keeps all in registers.
    return class_block, pixel_block, max(1, class_block * pixel_block // 256)


def fold_corners(corners: Tensor) -> Tensor:
    """Gradients of the corners of each cell, [B,h-1,w-1,4,C], added up for the coarse pixels, [B,C,h,w]."""
    batch, rows, columns, _, classes = corners.shape
    total = corners.new_zeros(batch, rows + 1, columns + 1, classes)
    total[:, :-1, :-1] += corners[..., 0, :]
    total[:, :-1, 1:] += corners[..., 1, :]
    total[:, 1:, :-1] += corners[..., 2, :]
    total[:, 1:, 1:] += corners[..., 3, :]
    return total.permute(0, 3, 1, 2)
