"""sRGB to CIE Lab and back, on batches."""

from __future__ import annotations

import torch
from torch import Tensor

_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Linear sRGB to XYZ, ITU-R BT.709 primaries and the white point D65."""
_WHITE = (0.950456, 1.0, 1.088754)
_TO_RGB = (
    (3.240479, -1.53715, -0.498535),
    (-0.969256, 1.875991, 0.041556),
    (0.055648, -0.204043, 1.057311),
)
_KNEE = 6 / 29


def rgb_to_lab(images: Tensor) -> Tensor:
    """CIE Lab (D65; L in 0..100) of sRGB images, float32 [B,3,H,W] in 0..1."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055) ** 2.4)
    x, y, z = (
        _curve(row / white) for row, white in zip(_combine(linear, _TO_XYZ).unbind(1), _WHITE, strict=True)
    )
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(images: Tensor) -> Tensor:
    """The sRGB images float32 [B,3,H,W] of CIE Lab images, clipped to 0..1."""
    lightness, a, b = images.unbind(1)
    y = (lightness + 16) / 116
    rows = [_inverse(t) * white for t, white in zip((y + a / 500, y, y - b / 200), _WHITE, strict=True)]
    linear = _combine(torch.stack(rows, 1), _TO_RGB).clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).clamp(0, 1)


def _combine(images: Tensor, matrix: tuple[tuple[float, float, float], ...]) -> Tensor:
    # Plain sums and not a matrix product, whose precision a GPU may lower.
    one, two, three = images.unbind(1)
    return torch.stack([row[0] * one + row[1] * two + row[2] * three for row in matrix], 1)


def _curve(t: Tensor) -> Tensor:
    return torch.where(t > _KNEE**3, t.clamp(min=_KNEE**3) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)


def _inverse(t: Tensor) -> Tensor:
    return torch.where(t > _KNEE, t**3, 3 * _KNEE**2 * (t - 4 / 29))
