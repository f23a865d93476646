"""Precision of products and sums, whatever the process allows elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

WITHOUT_FLOAT64 = {"mps"}
"""Types of devices that have no float64: Apple's GPUs."""


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
    """The type for sums over all pixels: float64, or float32 on devices that have no float64."""
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def to_double(values: Tensor) -> Tensor:
    """``values`` in float64, or in float32 on devices that have no float64."""
    return values.to(sum_dtype(values.device))


class PortableState(nn.Module):
    """A module whose float64 buffers and states become float32 when it moves to a device that has no float64."""

    def _apply(self, fn: Callable[[Tensor], Tensor], *arguments: Any, **keywords: Any) -> Self:
        if sum_dtype(fn(torch.empty(0)).device) != torch.float64:
            move = fn

            def fn(tensor: Tensor) -> Tensor:
                return move(tensor.float() if tensor.dtype == torch.float64 else tensor)

        applied: Self = super()._apply(fn, *arguments, **keywords)  # type: ignore[no-untyped-call]
        return applied
