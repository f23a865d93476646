"""From the pixels of a loader to what a network reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Scaling of images to 0..1, minus a mean and divided by a standard deviation, per channel.

    The constants are buffers that move with the module and are in no checkpoint: a training step copies nothing
    from the host.

    Args:
        mean: Three means for images in 0..1.
        std: Three divisors for images in 0..1.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("shift", mean), ("scale", std)):
            constants = torch.tensor(tuple(values), dtype=torch.float32).mul_(255.0).view(1, 3, 1, 1)
            self.register_buffer(name, constants, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize images.

        Args:
            images: uint8 [B,3,H,W] RGB, or float in 0..255; on the module's device.

        Returns:
            float32 [B,3,H,W] in the same memory format.
        """
        if images.dtype == torch.uint8:
            return images.float().sub_(self.shift).div_(self.scale)
        return (images.float() - self.shift) / self.scale


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The same once, without keeping the constants: on a GPU they are copied there, which waits for it.

    Args:
        images: uint8 [B,3,H,W] RGB, or float in 0..255.
        mean: Three means for images in 0..1.
        std: Three divisors for images in 0..1.

    Returns:
        float32 [B,3,H,W] on the same device and in the same memory format.
    """
    normalized: Tensor = Normalize(mean, std).to(images.device)(images)
    return normalized
