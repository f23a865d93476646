"""Margins without pseudo-labels: a hood, or the border that rectification leaves.

Margins belong to the whole image as the camera made it. A crop may show none of them, a part, or, when it was
resized, a scaled part, so weights are computed from where the crop lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from hiast.errors import InputError, check_not_negative
from hiast.online.checks import check_choice

Unit = Literal["pixels", "share"]
"""Pixels of the whole image, or shares of its height (top, bottom) and width (left, right)."""


@dataclass(frozen=True)
class Margins:
    """How much of each side of the whole image gives no pseudo-labels.

    DAFormer: 15 rows at the top and 120 at the bottom of Cityscapes at 512 rows. VFM-UDA: shares 0.03 at the top,
    left and right and 0.25 at the bottom.

    Args:
        top: Margin at the top, 0 or more.
        bottom: Margin at the bottom.
        left: Margin on the left.
        right: Margin on the right.
        unit: ``"pixels"`` or ``"share"``.

    Raises:
        InputError: A margin is negative, another unit, or shares that leave nothing of the image.
    """

    top: float = 0
    bottom: float = 0
    left: float = 0
    right: float = 0
    unit: Unit = "pixels"

    def __post_init__(self) -> None:
        check_not_negative("margins", top=self.top, bottom=self.bottom, left=self.left, right=self.right)
        check_choice("margins", "unit", self.unit, get_args(Unit))
        if self.unit == "share" and max(self.top + self.bottom, self.left + self.right) >= 1:
            raise InputError(
                f"margins: top {self.top} and bottom {self.bottom}, left {self.left} and right {self.right} leave "
                "nothing of the image; shares of opposite sides must add up to less than 1."
            )

    def __bool__(self) -> bool:
        """Whether there is any margin."""
        return max(self.top, self.bottom, self.left, self.right) > 0

    def pixels(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Top, bottom, left and right in pixels of a whole image of ``height`` x ``width`` pixels.

        Raises:
            InputError: The margins leave nothing of an image of this size.

        Examples:
            >>> Margins(top=0.03, bottom=0.25, unit="share").pixels(400, 800)
            (12.0, 100.0, 0.0, 0.0)
        """
        rows, columns = (height, width) if self.unit == "share" else (1, 1)
        top, bottom = float(self.top * rows), float(self.bottom * rows)
        left, right = float(self.left * columns), float(self.right * columns)
        if top + bottom >= height or left + right >= width:
            raise InputError(
                f"margins: top {top:g}, bottom {bottom:g}, left {left:g} and right {right:g} pixels leave nothing of "
                f"an image of {height}x{width}; make them smaller."
            )
        return top, bottom, left, right

    def weights(
        self,
        size: tuple[int, int],
        windows: Tensor,
        image_sizes: Tensor,
        flipped: Tensor | None = None,
    ) -> Tensor:
        """Weight of each pixel of crops: 0 where its center lies in a margin of the whole image, else 1.

        Multiply the weights of pseudo-labels by it, or hand ``weights > 0`` to a trust as the valid pixels.

        Args:
            size: Height and width of the crops in pixels.
            windows: Numbers [B,4]: top, left, height and width of the window that each crop shows, in pixels of its
                whole image. It may have been resized to ``size``.
            image_sizes: Numbers [B,2]: height and width of each whole image.
            flipped: Bool [B], crops that were mirrored left to right after they were cut out; None: none was.

        Returns:
            float32 [B,height,width] on the device of ``windows``.

        Raises:
            InputError: Shapes do not fit together.
        """
        if windows.ndim != 2 or windows.shape[1] != 4 or image_sizes.shape != (len(windows), 2):
            raise InputError(
                f"margins: windows {list(windows.shape)} and image sizes {list(image_sizes.shape)} do not fit; give "
                "[B, 4] and [B, 2]."
            )
        window = windows.float()
        whole = image_sizes.to(window)
        rows = _centers(size[0], window[:, 0], window[:, 2])
        columns = _centers(size[1], window[:, 1], window[:, 3])
        if flipped is not None:
            columns = torch.where(flipped.to(columns.device).unsqueeze(1), columns.flip(1), columns)
        inside_rows = self._inside(rows, whole[:, :1], self.top, self.bottom)
        inside_columns = self._inside(columns, whole[:, 1:], self.left, self.right)
        return (inside_rows.unsqueeze(2) & inside_columns.unsqueeze(1)).float()

    def _inside(self, centers: Tensor, length: Tensor, first: float, last: float) -> Tensor:
        scale = length if self.unit == "share" else torch.ones_like(length)
        return (centers >= first * scale) & (centers < length - last * scale)


def _centers(wanted: int, start: Tensor, length: Tensor) -> Tensor:
    """Centers of ``wanted`` pixels over windows [B], in pixels of the whole images: float32 [B,wanted]."""
    steps = (torch.arange(wanted, device=start.device) + 0.5) / wanted
    return start.unsqueeze(1) + steps * length.unsqueeze(1)
