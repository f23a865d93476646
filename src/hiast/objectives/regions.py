"""Which pixels a term is about, and the mean over them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError

Region = Literal["ignored", "confident", "all"]
"""Pixels without a pseudo-label, pixels with one, or every pixel."""

REGIONS: tuple[Region, ...] = ("ignored", "confident", "all")


def region_mask(labels: Tensor, region: Region) -> Tensor:
    """Bool [B,H,W], true where the integer ``labels`` [B,H,W] put a pixel into ``region`` (255 = ignored).

    Raises:
        InputError: ``region`` is not one of ``REGIONS``.
    """
    if region not in REGIONS:
        raise InputError(f"region is {region!r}; choose one of {', '.join(REGIONS)}.")
    if region == "all":
        return torch.ones_like(labels, dtype=torch.bool)
    return labels.eq(IGNORED) if region == "ignored" else labels.ne(IGNORED)


def region_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [B,H,W] where ``mask`` [B,H,W] is true; 0 with a zero gradient where none is.

    Values outside the mask do not count even when they are not finite.
    """
    return region_sum(values, mask) / mask.sum().clamp(min=1)


def region_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of ``values`` [B,H,W] where ``mask`` [B,H,W] is true."""
    return torch.where(mask, values, 0).sum()


def at_least_float32(values: Tensor) -> Tensor:
    """``values`` in float32, or unchanged in float64: half precision is too coarse to sum many pixels."""
    return values if values.dtype == torch.float64 else values.float()
