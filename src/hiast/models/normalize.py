"""From the pixels of a loader to what a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale ``images`` to 0..1, subtract ``mean`` and divide by ``std`` per channel.

    Args:
        images: uint8 [B,3,H,W] RGB, or float in 0..255.
        mean: Three means for images in 0..1.
        std: Three divisors for images in 0..1.

    Returns:
        float32 [B,3,H,W] on the same device and in the same memory format.
    """
    shift = torch.tensor(mean, dtype=torch.float32).mul(255.0).view(1, 3, 1, 1).to(images.device)
    scale = torch.tensor(std, dtype=torch.float32).mul(255.0).view(1, 3, 1, 1).to(images.device)
    return (
        images.float().sub_(shift).div_(scale)
        if images.dtype == torch.uint8
        else (images.float() - shift) / scale
    )
