"""Masked images: the student has to tell from the context what dropped blocks hold.

Source: MIC, Hoyer et al. 2023, section 3.2. The caller keeps batch-norm statistics from moving on such images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.online.checks import check_shares
from hiast.online.draws import uniform


def block_mask(
    generator: torch.Generator, batch: int, height: int, width: int, ratio: float = 0.7, block: int = 64
) -> Tensor:
    """Draw which pixels are dropped: every block of a grid independently, with probability ``ratio``.

    The grid has round(height / block) x round(width / block) cells, at least one each way, stretched over the
    image, so that blocks have about the wanted size wherever it does not divide the image.

    Args:
        generator: Decides the draw.
        batch: B.
        height: H in pixels.
        width: W in pixels.
        ratio: Probability that a block is dropped, 0 to 1.
        block: Side of a block in pixels, 1 or more.

    Returns:
        Bool [B,H,W] on the generator's device, true = dropped.

    Raises:
        InputError: ``ratio`` or ``block`` is out of range.
    """
    check_shares("masking", ratio=ratio)
    if block < 1:
        raise InputError(f"masking: block is {block}; give a side of 1 pixel or more.")
    rows, columns = max(1, round(height / block)), max(1, round(width / block))
    dropped = uniform(generator, batch, rows, columns) < ratio
    row = torch.arange(height, device=generator.device) * rows // height
    column = torch.arange(width, device=generator.device) * columns // width
    return dropped[:, row][:, :, column]


def mask_images(images: Tensor, dropped: Tensor) -> Tensor:
    """Set dropped pixels of normalized images to 0, which is the mean color.

    Args:
        images: Floating [B,3,H,W], normalized: mean subtracted, divided by the standard deviation.
        dropped: Bool [B,H,W].

    Returns:
        New images of the same shape and type.

    Raises:
        InputError: Images that are not floating (the mean color is 0 only after normalization), or the shapes
            do not fit.
    """
    if not images.is_floating_point():
        raise InputError(
            f"masking: images are {images.dtype}; normalize them first, so that 0 is their mean."
        )
    if images.ndim != 4 or dropped.shape != images.shape[:1] + images.shape[2:]:
        raise InputError(f"masking: a mask {list(dropped.shape)} does not fit images {list(images.shape)}.")
    return images.masked_fill(dropped.unsqueeze(1), 0)


@dataclass(frozen=True)
class BlockMasking:
    """Drops blocks of normalized images.

    Args:
        ratio: Probability that a block is dropped, 0 to 1 (published 0.7).
        block: Side of a block in pixels (published 64 for crops of 1024, 32 for crops of 512). None: a sixteenth of the
            shorter side of the images, which is the published share.

    Raises:
        InputError: A setting is out of range.
    """

    ratio: float = 0.7
    block: int | None = None

    def __post_init__(self) -> None:
        check_shares("masking", ratio=self.ratio)
        if self.block is not None and self.block < 1:
            raise InputError(f"masking: block is {self.block}; give a side of 1 pixel or more.")

    def __call__(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Masked images of the same shape and type, and what was dropped: bool [B,H,W], on the images' device.

        Args:
            images: Floating [B,3,H,W], normalized.
            generator: Decides the draw.
        """
        batch, _, height, width = images.shape
        block = max(1, round(min(height, width) / 16)) if self.block is None else self.block
        dropped = block_mask(generator, batch, height, width, self.ratio, block).to(
            images.device, non_blocking=True
        )
        return mask_images(images, dropped), dropped
