"""Color changes of a batch on the device, each image by its own draw.

Images are uint8, or floating in 0..255 as the networks' normalization takes them; what comes back has the same type
and range. A chain computes in floats and rounds once at its end. Geometry never changes, so labels stay valid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hiast.errors import InputError, check_not_negative
from hiast.online.checks import check_images, check_shares
from hiast.online.draws import between, uniform


@dataclass(frozen=True, kw_only=True)
class ColorStep(ABC):
    """A change that each image of a batch undergoes with a probability.

    The number of draws depends on the size of the batch alone. With a generator on the CPU no step waits for the
    device.

    Args:
        probability: Probability that an image is changed, 0 to 1.
        shared: One coin decides for all images of the batch, as in DAFormer, instead of one for each. How an image is
            changed is drawn for each in any case.

    Raises:
        InputError: A setting is out of range.
    """

    probability: float = 1.0
    shared: bool = False
    draws: ClassVar[int]
    """How many uniform numbers one image needs."""

    def __post_init__(self) -> None:
        check_shares(type(self).__name__, probability=self.probability)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images of the same shape and type.

        Args:
            images: uint8, or floating in 0..255: [B,3,H,W].
            generator: Decides all draws.

        Raises:
            InputError: ``images`` are of another shape or type.
        """
        return from_unit(self.apply(to_unit(images), generator), images.dtype)

    def apply(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The step on float32 images [B,3,H,W] in 0..1."""
        batch = len(images)
        numbers = uniform(generator, batch, 1 + self.draws)
        coins = numbers[:1, 0] if self.shared else numbers[:, 0]
        tossed = coins < self.probability
        if tossed.device.type == "cpu" and not bool(tossed.any()):
            return images
        changed = self.change(images, numbers[:, 1:])
        return torch.where(tossed.to(images.device, non_blocking=True).view(-1, 1, 1, 1), changed, images)

    @abstractmethod
    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Change every image.

        Args:
            images: float32 [B,3,H,W] in 0..1.
            numbers: Uniform numbers float32 [B,draws] in [0, 1), on the generator's device.

        Returns:
            float32 [B,3,H,W] in 0..1.
        """


@dataclass(frozen=True)
class ColorChain:
    """Steps one after the other.

    Args:
        steps: The steps, each with its own probability.
    """

    steps: Sequence[ColorStep]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changed images of the same shape and type, see :class:`ColorStep`."""
        changed = to_unit(images)
        for step in self.steps:
            changed = step.apply(changed, generator)
        return from_unit(changed, images.dtype)


@dataclass(frozen=True)
class ColorJitter(ColorStep):
    """Brightness, contrast, saturation and hue by random amounts, in an order that is drawn for the batch.

    Factors are uniform in 1 - strength..1 + strength, the hue is shifted by -hue..hue of the color circle; each
    operation is that of torchvision.

    Args:
        brightness: Strength, 0 or more (DAFormer 0.2); 0 leaves the operation out.
        contrast: Strength.
        saturation: Strength.
        hue: Strength, 0 to 0.5.

    Raises:
        InputError: A setting is out of range.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.2
    draws: ClassVar[int] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        strengths = {
            "brightness": self.brightness,
            "contrast": self.contrast,
            "saturation": self.saturation,
            "hue": self.hue,
        }
        check_not_negative("ColorJitter", **strengths)
        if self.hue > 0.5:
            raise InputError(f"ColorJitter: hue is {self.hue}; it must lie between 0 and 0.5.")

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Apply all four operations, see :meth:`ColorStep.change`."""
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        operations = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
        for kind in numbers[0, 4:].argsort(stable=True).tolist():
            strength = strengths[kind]
            if not strength:
                continue
            low = -strength if kind == 3 else max(0.0, 1 - strength)
            high = strength if kind == 3 else 1 + strength
            images = operations[kind](
                images, between(numbers[:, kind], low, high).to(images.device, non_blocking=True)
            )
        return images


@dataclass(frozen=True)
class Grayscale(ColorStep):
    """The gray image, in all three channels."""

    draws: ClassVar[int] = 0

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Gray images, see :meth:`ColorStep.change`."""
        return luma(images).expand_as(images)


@dataclass(frozen=True)
class Gamma(ColorStep):
    """Values to the power of a random gamma, log-uniform in 1 / (1 + strength)..1 + strength.

    Args:
        strength: 0 or more.

    Raises:
        InputError: A setting is out of range.
    """

    strength: float = 0.5
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("Gamma", strength=self.strength)

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Images with another gamma, see :meth:`ColorStep.change`."""
        gamma = (1 + self.strength) ** between(numbers, -1.0, 1.0)
        return images.pow(gamma.to(images.device, non_blocking=True).view(-1, 1, 1, 1))


@dataclass(frozen=True)
class ChannelMixing(ColorStep):
    """Each channel becomes a blend of the three: other filters before the sensor, in the crudest form.

    The matrix is (1 - strength) * identity + strength * R; the rows of R are drawn uniformly among the weights that
    add up to 1, so gray stays gray and the range is kept.

    Args:
        strength: 0 (nothing) to 1.

    Raises:
        InputError: A setting is out of range.
    """

    strength: float = 0.3
    draws: ClassVar[int] = 9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares("ChannelMixing", strength=self.strength)

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Images with blended channels, see :meth:`ColorStep.change`."""
        # Exponential numbers divided by their sum are uniform on the simplex.
        rows = -torch.log1p(-numbers.view(-1, 3, 3)) + 1e-12
        random = rows / rows.sum(2, keepdim=True)
        matrix = (1 - self.strength) * torch.eye(3, device=numbers.device) + self.strength * random
        # Plain sums and not a matrix product, whose precision a GPU may lower.
        weights = matrix.to(images.device, non_blocking=True).view(-1, 3, 3, 1, 1)
        return (weights * images.unsqueeze(1)).sum(2).clamp(0, 1)


def to_unit(images: Tensor) -> Tensor:
    """float32 images in 0..1 from uint8, or floating in 0..255.

    Raises:
        InputError: They are not uint8 or floating [B,3,H,W].
    """
    check_images("A batch to change in color", images)
    return images.float() / 255


def from_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images of ``dtype`` in 0..255 from float32 in 0..1; uint8 is rounded."""
    scaled = images.clamp(0, 1) * 255
    return scaled.round().to(dtype) if dtype == torch.uint8 else scaled.to(dtype)


def luma(images: Tensor) -> Tensor:
    """Gray [B,1,H,W] of images [B,3,H,W]: 0.2989 R + 0.587 G + 0.114 B."""
    red, green, blue = images.unbind(1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def adjust_brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Images [B,3,H,W] in 0..1 times ``factors`` [B], clipped."""
    return (images * _of_images(factors)).clamp(0, 1)


def adjust_contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Images [B,3,H,W] in 0..1, moved from their mean gray by ``factors`` [B], clipped."""
    return _blend(images, luma(images).mean((1, 2, 3), keepdim=True), factors)


def adjust_saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Images [B,3,H,W] in 0..1, moved from their gray by ``factors`` [B], clipped."""
    return _blend(images, luma(images), factors)


def adjust_hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Images [B,3,H,W] in 0..1 with their hue shifted by ``shifts`` [B], in turns of the color circle."""
    red, green, blue = images.unbind(1)
    value, darkest = images.amax(1), images.amin(1)
    chroma = value - darkest
    safe = torch.where(chroma > 0, chroma, 1)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue + 6 * shifts.view(-1, 1, 1)
    # A channel is the value less what the distance of its hue from the pixel's takes away.
    channels = []
    for start in (5, 3, 1):
        place = (start + hue).remainder(6)
        channels.append(value - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1).clamp(0, 1)


def _blend(images: Tensor, other: Tensor, factors: Tensor) -> Tensor:
    ratio = _of_images(factors)
    return (ratio * images + (1 - ratio) * other).clamp(0, 1)


def _of_images(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
