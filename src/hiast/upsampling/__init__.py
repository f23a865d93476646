"""Bilinear upsampling of coarse logits, as a whole and in blocks of rows that never exist at full size together."""

from __future__ import annotations

from hiast.upsampling.blocks import Plan, RowBlock, make_plan, narrow, widen
from hiast.upsampling.precision import PortableState, exact_matmul, sum_dtype, to_double
from hiast.upsampling.readout import ReadOut, View, read_out
from hiast.upsampling.steps import Axis, Size, Step, Upsampling

__all__ = [
    "Axis",
    "Plan",
    "PortableState",
    "ReadOut",
    "RowBlock",
    "Size",
    "Step",
    "Upsampling",
    "View",
    "exact_matmul",
    "make_plan",
    "narrow",
    "read_out",
    "sum_dtype",
    "to_double",
    "widen",
]
