"""Precision of products and sums, whatever the process allows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_matmul(device: torch.device) -> Iterator[None]:
    """Within this context autocast is off on ``device``, and float32 products are not rounded to TF32 or bfloat16.

    Loss heads and read-outs interpolate by small products. In TF32 or bfloat16 (three decimal digits) their values
    would be wrong by 1e-3. The settings of the process, which Lightning and users change, are restored.
    """
    places = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place, precision in zip(places, before, strict=True):
            if precision != "ieee":
                place.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, precision in zip(places, before, strict=True):
            if precision != "ieee":
                place.fp32_precision = precision


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type for sums over all pixels: float64, or float32 on Apple's GPUs, which have no other."""
    return torch.float32 if device.type == "mps" else torch.float64
